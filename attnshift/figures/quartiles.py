"""Loss by how well the examples were known before finetuning."""

from __future__ import annotations

from typing import Final

import numpy as np
import plotly.graph_objects as go
import xarray as xr
from jaxtyping import Float, Int

from attnshift.errors import AttnshiftError
from attnshift.figures.series import Series, draw, log_axis, panels, step_axis
from attnshift.figures.theme import RUNS
from attnshift.figures.values import reads
from attnshift.stats.intervals import Interval

_NAMES: Final = ("best known quarter", "second quarter", "third quarter", "least known quarter")
_LEAST: Final = 8  # examples, two to a quarter: fewer are no distribution


@reads("loss", "loss_closed_book")
def quartiles(trace: xr.Dataset, log_steps: bool = False, smooth: int = 1) -> go.Figure:
    """Mean loss with and, below, without the context, by quarter of the loss without it at the first step.

    Training examples that have a context, ranked by ``loss_closed_book`` at the first step that has it; nats per answer
    token, on logarithmic axes. The best known quarter is what the paper removes as non-critical.

    Raises AttnshiftError where the trace lacks the losses or has fewer than 8 such examples.
    """
    axis = step_axis(trace, log_steps, smooth)
    quarter = known_quarters(trace)
    titles = [f"loss {kind} context<br>(nats per answer token)" for kind in ("with", "without")]
    counts = np.bincount(quarter[quarter >= 0], minlength=4)
    subtitle = f"{counts.sum()} training examples with a context, by their loss without it at the first step"
    figure = panels(axis, titles, "Loss by what was known", subtitle)
    for row, name in enumerate(("loss", "loss_closed_book"), 1):
        values = trace[name].transpose("step", "example").values.astype(np.float64)
        means = [values[:, quarter == number].mean(-1) for number in range(4)]
        curves = [
            Series(label, colour, Interval.bare(mean), "nats")
            for label, colour, mean in zip(_NAMES, RUNS, means, strict=False)
        ]
        draw(figure, axis, curves, row=row)
        log_axis(figure, np.array(means), row=row)
    figure.update_traces(showlegend=False, row=2, col=1)
    return figure


def known_quarters(trace: xr.Dataset) -> Int[np.ndarray, "example"]:
    """0 for the best known quarter of the training examples that have a context … 3; −1 for all others."""
    closed: Float[np.ndarray, "step example"] = trace["loss_closed_book"].transpose("step", "example").values
    measured = np.flatnonzero(np.isfinite(closed).any(-1))
    chosen = (trace["split"] == "train").values & (trace["group_of_example"] != "no_context").values
    first = closed[measured[0]] if len(measured) else np.full(len(chosen), np.nan)
    places = np.flatnonzero(chosen & np.isfinite(first))
    if len(places) < _LEAST:
        raise AttnshiftError(
            f"the trace has {len(places)} training examples with a context and a loss without it",
            expected=f"{_LEAST} or more",
        )
    found = np.full(len(chosen), -1)
    ranked = places[np.argsort(first[places], kind="stable")]
    found[ranked] = np.arange(len(ranked)) * 4 // len(ranked)
    return found
