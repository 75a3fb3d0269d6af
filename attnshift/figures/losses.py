"""What each group of examples still has to learn, and whose loss training sees."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
import xarray as xr
from jaxtyping import Float

from attnshift.errors import AttnshiftError
from attnshift.figures.series import Series, draw, log_axis, panels, step_axis
from attnshift.figures.values import reads
from attnshift.stats.intervals import Interval
from attnshift.stats.readings import group_losses, loss_parts


@reads("loss", "group_share")
def losses(trace: xr.Dataset, log_steps: bool = False, smooth: int = 1) -> go.Figure:
    """Mean loss of each group of training examples over steps, and each group's part of the whole loss below.

    First row: nats per answer token, on a logarithmic axis. Second row: share of the group times its mean loss, in
    percent of the sum over groups.

    Raises AttnshiftError where the trace lacks ``loss`` or has no training examples in any group.
    """
    axis = step_axis(trace, log_steps, smooth)
    means = group_losses(trace)
    if not means:
        raise AttnshiftError("the trace has no training examples", expected="examples with a group and split train")
    titles = ["loss<br>(nats per answer token)", "part of the loss<br>(% of all groups)"]
    subtitle = "mean over the training examples of each group; parts are weighted by the groups' shares"
    figure = panels(axis, titles, "Loss of each group of examples", subtitle)
    draw(figure, axis, [_curve(group, mean, "nats") for group, mean in means.items()])
    log_axis(figure, np.array(list(means.values())), row=1)
    parts = loss_parts(trace, means)
    draw(figure, axis, [_curve(group, part, "%") for group, part in parts.items()], row=2)
    figure.update_yaxes(range=[0, 103], row=2)
    return figure


def _curve(group: str, values: Float[np.ndarray, "step"], unit: str) -> Series:
    return Series(group, group, Interval.bare(values), unit)
