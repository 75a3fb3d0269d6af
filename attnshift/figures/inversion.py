"""The inversion: which answer is given over the steps, and where attention goes meanwhile."""

from __future__ import annotations

import plotly.graph_objects as go
import xarray as xr

from attnshift.data.roles import CONTEXT_ROLES
from attnshift.figures.series import Series, draw, panels, step_axis
from attnshift.figures.values import accuracy, mean_over_items, reads
from attnshift.stats.readings import attention_by_roles

_MEANINGS = {"counterfactual": "context", "parametric": "parametric"}


@reads("counterfactual_accuracy", "parametric_accuracy", "attention_mass")
def inversion(trace: xr.Dataset, log_steps: bool = False, smooth: int = 1) -> go.Figure:
    """Accuracy on the context's and the memorised answer over steps; attention to context and question below.

    First row: percent of the items whose greedy text contains the answer; both or neither may be contained.
    Second row: attention mass (probability) of the row that predicts the answer, summed over the context's roles
    and over the question, mean over layers, heads and items. Bands are 95 % intervals.

    Raises AttnshiftError where the trace lacks a measure.
    """
    axis = step_axis(trace, log_steps, smooth)
    titles = ["accuracy (% of items)", "attention mass (probability)"]
    subtitle = f"{trace.sizes['item']} conflict items; bands are 95 % intervals of the mean over items"
    figure = panels(axis, titles, "Context reliance over finetuning", subtitle)
    shares = {kind: accuracy(trace, f"{kind}_accuracy") for kind in _MEANINGS}
    draw(figure, axis, [Series(f"{kind} accuracy", _MEANINGS[kind], share, "%") for kind, share in shares.items()])
    masses = attention_by_roles(trace, {"context": CONTEXT_ROLES, "question": ("question",)})
    means = {name: mean_over_items(trace, mass) for name, mass in masses.items()}
    draw(figure, axis, [Series(f"{name} mass", name, mean) for name, mean in means.items()], row=2)
    for row, whole in enumerate((100, 1), 1):
        figure.update_yaxes(rangemode="tozero", autorangeoptions_clipmax=whole, row=row)
    return figure
