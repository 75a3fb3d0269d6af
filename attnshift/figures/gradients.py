"""How hard each group of examples pulls at the trained parameters."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
import xarray as xr
from jaxtyping import Float

from attnshift.figures.series import Series, draw, log_axis, panels, step_axis
from attnshift.figures.theme import REFERENCE
from attnshift.figures.values import reads
from attnshift.stats.intervals import Interval

_UNIT = "nats per unit of parameter"


@reads("gradient_norm")
def gradients(trace: xr.Dataset, log_steps: bool = False, smooth: int = 1) -> go.Figure:
    """Gradient norm of each group of examples over steps, and the ratio critical / non_critical below.

    The norm of the gradient of the group's mean loss (nats per unit of parameter); the ratio is drawn where the
    trace has both groups. Both value axes are logarithmic.

    Raises AttnshiftError where the trace lacks ``gradient_norm``.
    """
    axis = step_axis(trace, log_steps, smooth)
    norms = _norms(trace)
    ratio = norms.get("critical", np.array(np.nan)) / norms.get("non_critical", np.nan)
    titles = [f"gradient norm<br>({_UNIT})", "critical / non_critical<br>(ratio of norms)"]
    rows = 2 if np.isfinite(ratio).any() else 1
    subtitle = "norm of the gradient of each group's mean loss"
    figure = panels(axis, titles[:rows], "Pull of each group of examples", subtitle)
    curves = {group: Interval.bare(values) for group, values in norms.items()}
    draw(figure, axis, [Series(group, group, values, _UNIT) for group, values in curves.items()])
    log_axis(figure, np.array(list(norms.values())), row=1)
    if rows == 2:
        draw(figure, axis, [Series("critical / non_critical", "neutral", Interval.bare(ratio))], row=2)
        figure.add_hline(1, row=2, line=REFERENCE)
        log_axis(figure, np.append(ratio, 1.0), row=2)
    return figure


def _norms(trace: xr.Dataset) -> dict[str, Float[np.ndarray, "step"]]:
    """Norms by group; those of 0 have no place on a log axis, groups without any number are left out."""
    norms = trace["gradient_norm"].transpose("group", "step").astype(np.float64)
    norms = norms.where(norms > 0).dropna("group", how="all")
    return {str(group): values for group, values in zip(norms["group"].values, norms.values, strict=True)}
