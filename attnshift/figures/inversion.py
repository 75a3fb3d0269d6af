"""The inversion: which answer is given over the steps, and where attention goes meanwhile."""

from __future__ import annotations

import plotly.graph_objects as go
import xarray as xr

from attnshift.figures.attention import mass_curves
from attnshift.figures.noise import bands_told, noise_over_items
from attnshift.figures.series import Series, draw, panels, step_axis
from attnshift.figures.values import accuracy, item_values, reads


@reads("counterfactual_accuracy", "parametric_accuracy", "attention_mass")
def inversion(trace: xr.Dataset, log_steps: bool = False, smooth: int = 1) -> go.Figure:
    """Accuracy on the context's and the memorised answer over steps; attention to context and question below.

    First row: percent of the items whose greedy text contains the answer; both or neither may be contained.
    Second row: attention mass (probability) of the row that predicts the answer, summed over the context's roles
    and over the question, mean over layers, heads and items. Shaded: 95 % intervals of the mean over items, for what
    other items would say. Dotted, around the context's curves: checkpoint noise, how far a checkpoint strays from the
    trend of its neighbours by chance on these same items (95 %; from 4 checkpoints on).

    Raises AttnshiftError where the trace lacks a measure.
    """
    axis = step_axis(trace, log_steps, smooth)
    titles = ["accuracy (% of items)", "attention mass (probability)"]
    noise = noise_over_items(trace, 100 * item_values(trace, "counterfactual_accuracy"))
    subtitle = f"{trace.sizes['item']} conflict items; {bands_told(noise)}"
    figure = panels(axis, titles, "Context reliance over finetuning", subtitle)
    shares = {kind: accuracy(trace, f"{kind}_accuracy") for kind in ("counterfactual", "parametric")}
    curves = [
        Series("counterfactual accuracy", "context", shares["counterfactual"], "%", noise, (0, 100)),
        Series("parametric accuracy", "parametric", shares["parametric"], "%"),
    ]
    draw(figure, axis, curves)
    draw(figure, axis, mass_curves(trace), row=2)
    for row, whole in enumerate((100, 1), 1):
        figure.update_yaxes(rangemode="tozero", autorangeoptions_clipmax=whole, row=row)
    return figure
