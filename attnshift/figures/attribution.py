"""What is brought to the choice between the two answers, and where the lean to one of them is made."""

from __future__ import annotations

from typing import Final

import numpy as np
import plotly.graph_objects as go
import xarray as xr
from jaxtyping import Float

from attnshift.data.roles import CONTEXT_ROLES, KEY_ROLES
from attnshift.figures.by_layer import layers_over_steps
from attnshift.figures.series import Series, draw, panels, step_axis
from attnshift.figures.theme import REFERENCE
from attnshift.figures.values import mean_over_items, reads

_SOURCES: Final = {
    "heads, from the context": ("context", CONTEXT_ROLES),
    "heads, from the question": ("question", ("question",)),
    "heads, from other tokens": (
        "no_context",
        tuple(role for role in KEY_ROLES if role not in (*CONTEXT_ROLES, "question")),
    ),
}
"""Curves with their meaning and the roles of the tokens that heads read."""


@reads("head_attribution", "mlp_attribution")
def attribution(trace: xr.Dataset, log_steps: bool = False, smooth: int = 1) -> go.Figure:
    """What heads bring from each role, and MLPs from themselves, to the context's answer over steps.

    Direct attribution to logit(context answer) - logit(parametric answer) in nats, summed over layers and heads, mean
    over items with its 95 % interval; below 0 it speaks for the memorised answer. With what embeddings and biases bring
    it sums to the margin (before a final softcap).

    Raises AttnshiftError where the trace lacks a measure.
    """
    axis = step_axis(trace, log_steps, smooth)
    subtitle = "direct attribution at the row that predicts the answer; bands are 95 % intervals over items"
    figure = panels(axis, ["towards the context's<br>answer (nats)"], "Who speaks for which answer", subtitle)
    curves = [
        Series(name, meaning, mean_over_items(trace, _from_roles(trace, roles)), "nats")
        for name, (meaning, roles) in _SOURCES.items()
    ]
    mlp = trace["mlp_attribution"].sum("layer", skipna=False).transpose("step", "item").values.astype(np.float64)
    draw(figure, axis, [*curves, Series("MLPs", "parametric", mean_over_items(trace, mlp), "nats")])
    figure.add_hline(0, line=REFERENCE)
    return figure


@reads("lens_margin")
def lens(trace: xr.Dataset) -> go.Figure:
    """Which answer each layer leans to, over steps: the logit lens.

    Mean over items of the margin (nats) that the model would have if it stopped behind a layer; the last row is the
    model's own. A lean of 0 in an early layer needn't mean that it knows nothing.

    Raises AttnshiftError where the trace lacks ``lens_margin``.
    """
    values = trace["lens_margin"].mean("item").transpose("step", "layer").values.astype(np.float64)
    subtitle = f"logit lens, mean over {trace.sizes['item']} items; blue: the context's"
    return layers_over_steps(trace, values, "margin (nats)", "Which answer each layer leans to", subtitle, signed=True)


def _from_roles(trace: xr.Dataset, roles: tuple[str, ...]) -> Float[np.ndarray, "step item"]:
    """Head attribution summed over layers, heads and roles; one step at a time."""
    steps = []
    for index in range(trace.sizes["step"]):
        one = trace["head_attribution"].isel(step=index).load().sel(role=list(roles))
        steps.append(one.sum(("layer", "head", "role"), skipna=False).values.astype(np.float64))
    return np.stack(steps)
