"""Which way a step of training on each group of examples pushes, and how far the groups agree."""

from __future__ import annotations

from typing import Final

import numpy as np
import plotly.graph_objects as go
import xarray as xr

from attnshift.figures.series import Series, draw, panels, step_axis
from attnshift.figures.theme import REFERENCE
from attnshift.figures.values import reads
from attnshift.stats.intervals import Interval
from attnshift.stats.readings import total_push

_PUSHES: Final = {"margin_push": "nats", "attention_push": "probability"}


@reads("margin_push", "group_share")
def push(trace: xr.Dataset, log_steps: bool = False, smooth: int = 1) -> go.Figure:
    """What a step of SGD on each group of examples changes the mean margin by and, below, the mean context mass.

    First-order, per unit of learning rate, weighted by the groups' shares; ``all`` is their sum. Above 0 the step
    pushes towards the context. It describes one checkpoint and is no forecast of the next.

    Raises AttnshiftError where the trace lacks ``margin_push`` or the groups' shares.
    """
    axis = step_axis(trace, log_steps, smooth)
    names = [name for name in _PUSHES if name in trace]
    titles = [f"push on the {name.split('_')[0]}<br>({_PUSHES[name]} per unit of rate)" for name in names]
    subtitle = "first-order change by one step of SGD, weighted by share; above 0 towards the context"
    figure = panels(axis, titles, "Where training pushes", subtitle)
    for row, name in enumerate(names, 1):
        weighted = (trace[name] * trace["group_share"]).transpose("group", "step").astype(np.float64)
        weighted = weighted.dropna("group", how="all")
        curves = [
            Series(str(group), str(group), Interval.bare(values))
            for group, values in zip(weighted["group"].values, weighted.values, strict=True)
        ]
        if len(curves) > 1:
            curves.append(Series("all", "neutral", Interval.bare(total_push(trace.sel(group=weighted["group"]), name))))
        draw(figure, axis, curves, row=row)
        figure.add_hline(0, row=row, line=REFERENCE)
    if len(names) > 1:  # the same groups again
        figure.update_traces(showlegend=False, row=2, col=1)
    return figure


@reads("gradient_cosine")
def cosine(trace: xr.Dataset, log_steps: bool = False, smooth: int = 1) -> go.Figure:
    """Cosine between the gradients of the critical and the non-critical examples over steps.

    1: a step on either group is a step on both; 0: they don't touch each other; below 0 each undoes the other.

    Raises AttnshiftError where the trace lacks ``gradient_cosine``.
    """
    axis = step_axis(trace, log_steps, smooth)
    subtitle = "of the gradients of the groups' mean losses"
    figure = panels(axis, ["cosine"], "Agreement of critical and non-critical gradients", subtitle)
    values = trace["gradient_cosine"].values.astype(np.float64)
    draw(figure, axis, [Series("critical · non_critical", "neutral", Interval.bare(values))])
    figure.add_hline(0, line=REFERENCE)
    figure.update_yaxes(range=[-1.04, 1.04])
    return figure
