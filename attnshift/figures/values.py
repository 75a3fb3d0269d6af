"""What figures read from a trace: numbers per item, and means over items with their intervals."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, Final, ParamSpec

import numpy as np
import plotly.graph_objects as go
import xarray as xr
from jaxtyping import Float

from attnshift.errors import AttnshiftError
from attnshift.stats.intervals import Interval, cluster_mean_interval, cluster_wilson
from attnshift.stats.items import item_clusters

_Options = ParamSpec("_Options")
_Draws = Callable[Concatenate[xr.Dataset, _Options], go.Figure]

_READ: Final[dict[Callable[..., Any], tuple[str, ...]]] = {}

_MADE_BY: Final = {
    "benchmark": "attnshift trace --ckpts RUN --out TRACE --benchmarks TASKS (or --benchmark-csv FILE)",
    "answer_label": "attnshift rescore",
    "group_share": "attnshift trace --ckpts RUN --out TRACE --ift FILE",
}
"""Commands that bring variables which no measure computes."""


_OF_ALL_STEPS: Final = ("group_share",)
"""What a trace says once."""


def reads(*names: str) -> Callable[[_Draws[_Options]], _Draws[_Options]]:
    """Declare the variables that a figure can't do without: seen to before it draws, told by `plot --list`."""

    def declare(figure: _Draws[_Options]) -> _Draws[_Options]:
        @wraps(figure)
        def seen_to(trace: xr.Dataset, /, *args: _Options.args, **options: _Options.kwargs) -> go.Figure:
            need(trace, *names)
            return figure(trace, *args, **options)

        _READ[seen_to] = names
        return seen_to

    return declare


def read_by(figure: Callable[..., Any]) -> tuple[str, ...]:
    """The variables that a figure can't do without."""
    return _READ.get(figure, ())


def need(trace: xr.Dataset, *names: str) -> None:
    """See that a trace holds what a figure draws; raises AttnshiftError naming the measures to trace."""
    if missing := [name for name in names if name not in trace]:
        measured = [name for name in missing if name not in _MADE_BY]
        commands = [f"attnshift trace --ckpts RUN --out TRACE --measures {','.join(measured)}"] * bool(measured)
        commands += [_MADE_BY[name] for name in missing if name in _MADE_BY]
        raise AttnshiftError(
            f"the trace has no {', '.join(missing)}",
            expected=f"a trace with {', '.join(names)}",
            remedy="; ".join(commands),
        )
    for name in names:
        if ("step" not in trace[name].dims and name not in _OF_ALL_STEPS) or "run" in trace[name].dims:
            raise AttnshiftError(
                f"{name} has the dims {', '.join(map(str, trace[name].dims))}",
                expected="one run, with its steps",
                remedy="trace.sel(run=NAME) for one of several runs, trace.isel(step=[i]) for a single step",
            )


def item_values(trace: xr.Dataset, name: str) -> Float[np.ndarray, "step item"]:
    """A variable per step and item."""
    return np.asarray(trace[name].transpose("step", "item").values, np.float64)


def mean_over_items(trace: xr.Dataset, values: Float[np.ndarray, "step item"]) -> Interval:
    """Mean with its 95 % cluster-bootstrap interval, in the unit of the values."""
    return cluster_mean_interval(values, item_clusters(trace))


def accuracy(trace: xr.Dataset, name: str) -> Interval:
    """Percent of the items, with Wilson's 95 % interval, by clusters where items share them."""
    share = cluster_wilson(item_values(trace, name), item_clusters(trace))
    return Interval(100 * share.estimate, 100 * share.low, 100 * share.high)
