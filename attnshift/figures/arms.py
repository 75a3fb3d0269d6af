"""Data arms against each other: how far each keeps to the context."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import plotly.graph_objects as go
import xarray as xr

from attnshift.errors import AttnshiftError
from attnshift.figures.series import Series, draw, panels, step_axis
from attnshift.figures.theme import RUNS
from attnshift.stats.intervals import Interval

_KINDS = ("counterfactual", "parametric")


def arms(traces: Mapping[str, xr.Dataset], log_steps: bool = False, smooth: int = 1) -> go.Figure:
    """Counterfactual and, below, parametric accuracy over steps, one curve per arm.

    Each dataset is an arm's trace, or several seeds of it as `open_traces` joins them; curves are means over seeds
    and items, in percent.

    Raises AttnshiftError where there is no arm, more than there are colours, or one lacks the accuracies.
    """
    if not 0 < len(traces) <= len(RUNS):
        raise AttnshiftError(f"{len(traces)} arms can't be overlaid", expected=f"1 to {len(RUNS)}")
    means = {name: _means(name, trace) for name, trace in traces.items()}
    steps = np.unique(np.concatenate([mean["step"].values for mean in means.values()]))
    axis = step_axis(xr.Dataset(coords={"step": steps}), log_steps, smooth)
    titles = [f"{kind} accuracy<br>(% of items)" for kind in _KINDS]
    seeds = max(int(trace.sizes.get("run", 1)) for trace in traces.values())
    figure = panels(
        axis, titles, "Context reliance by data arm", f"mean over items and {seeds} seed{'s' * (seeds > 1)}"
    )
    for row, kind in enumerate(_KINDS, 1):
        curves = []
        for colour, (name, mean) in zip(RUNS, means.items(), strict=False):
            values = mean[kind].reindex(step=steps).values
            curves.append(Series(name, colour, Interval.bare(values), "%"))
        draw(figure, axis, curves, row=row)
        figure.update_yaxes(range=[0, 103], row=row)
    figure.update_traces(showlegend=False, row=2)
    return figure


def _means(name: str, trace: xr.Dataset) -> xr.Dataset:
    """Percent of the items by step, per kind of accuracy."""
    missing = [f"{kind}_accuracy" for kind in _KINDS if f"{kind}_accuracy" not in trace]
    if missing:
        raise AttnshiftError(f"the trace of {name!r} has no {', '.join(missing)}", expected="a trace with both")
    found = {}
    for kind in _KINDS:
        values = trace[f"{kind}_accuracy"].astype(np.float64)
        found[kind] = 100 * values.mean([dim for dim in values.dims if dim != "step"])
    return xr.Dataset(found)
