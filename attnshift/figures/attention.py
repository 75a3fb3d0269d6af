"""Where the last prompt token looks: over steps, by layer, by head."""

from __future__ import annotations

from typing import Final

import numpy as np
import plotly.graph_objects as go
import xarray as xr
from jaxtyping import Float

from attnshift.data.roles import CONTEXT_ROLES
from attnshift.figures.by_layer import heads_by_step, layers_over_steps
from attnshift.figures.noise import bands_told, noise_over_items
from attnshift.figures.series import Series, draw, panels, step_axis
from attnshift.figures.theme import REFERENCE
from attnshift.figures.values import mean_over_items, reads
from attnshift.stats.readings import attention_by_roles

_UNIT: Final = "attention mass (probability)"
_OVER: Final = "attention of the last prompt token on the context"


@reads("attention_mass")
def attention(trace: xr.Dataset, log_steps: bool = False, smooth: int = 1) -> go.Figure:
    """Attention mass on the context and on the question over steps; below, what the context gets beyond its length.

    First row: probability, mean over layers and heads, with the 95 % interval of the mean over items (cluster
    bootstrap) shaded. Second row, where the trace has ``context_mass_excess``: context mass less the context's share of
    the visible tokens, so that longer contexts don't count as more attention. Dotted, around the context's curves:
    checkpoint noise, how far a checkpoint strays from the trend of its neighbours by chance on these same items (95 %;
    from 4 checkpoints on).

    Raises AttnshiftError where the trace lacks ``attention_mass``.
    """
    axis = step_axis(trace, log_steps, smooth)
    excess = "context_mass_excess" in trace
    titles = [_UNIT.replace(" (", "<br>("), "beyond its share of<br>the tokens (probability)"]
    curves = mass_curves(trace)
    subtitle = f"{trace.sizes['item']} conflict items; {bands_told(curves[0].noise)}"
    figure = panels(axis, titles[: 1 + excess], "Attention to the context", subtitle)
    draw(figure, axis, curves)
    figure.update_yaxes(rangemode="tozero", autorangeoptions_clipmax=1, row=1)
    if excess:
        beyond = trace["context_mass_excess"].astype(np.float64).mean(("layer", "head"))
        values = beyond.transpose("step", "item").values
        mean, noise = mean_over_items(trace, values), noise_over_items(trace, values)
        draw(figure, axis, [Series("context mass beyond its share", "context", mean, "", noise, (-1, 1))], row=2)
        figure.add_hline(0, row=2, line=REFERENCE)
    return figure


def mass_curves(trace: xr.Dataset) -> list[Series]:
    """Attention mass on the context, with its checkpoint noise, and on the question: mean over layers, heads, items."""
    masses = attention_by_roles(trace, {"context": CONTEXT_ROLES, "question": ("question",)})
    noise = noise_over_items(trace, masses["context"])
    return [
        Series("context mass", "context", mean_over_items(trace, masses["context"]), "", noise, (0, 1)),
        Series("question mass", "question", mean_over_items(trace, masses["question"])),
    ]


@reads("attention_mass")
def attention_layers(trace: xr.Dataset) -> go.Figure:
    """Attention mass on the context by layer and step: mean over heads and items, probability.

    Raises AttnshiftError where the trace lacks ``attention_mass``.
    """
    mass = context_mass(trace).mean(-1)
    subtitle = f"{_OVER}; mean over heads and items"
    return layers_over_steps(trace, mass, _UNIT, "Attention to the context by layer", subtitle)


@reads("attention_mass")
def attention_heads(trace: xr.Dataset, step: int | None = None) -> go.Figure:
    """Attention mass on the context by layer and head, a map per step: mean over items, probability.

    ``step`` is shown first (the last one by default); a slider goes through the others.

    Raises AttnshiftError where the trace lacks ``attention_mass`` or the step.
    """
    mass, subtitle = context_mass(trace), f"{_OVER}; mean over items"
    return heads_by_step(trace, mass, _UNIT, "Attention to the context by head", subtitle, step)


def context_mass(trace: xr.Dataset) -> Float[np.ndarray, "step layer head"]:
    """Mean over items of the mass on the context's tokens; reads one step at a time, since all may not fit."""
    steps = []
    for index in range(trace.sizes["step"]):
        mass = trace["attention_mass"].isel(step=index).sel(role=list(CONTEXT_ROLES)).astype(np.float64)
        steps.append(mass.sum("role", skipna=False).mean("item").transpose("layer", "head").values)
    return np.stack(steps)
