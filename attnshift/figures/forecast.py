"""A run and the one-layer theory fitted to its beginning: how far the rest follows."""

from __future__ import annotations

from typing import Final

import numpy as np
import plotly.graph_objects as go
import xarray as xr

from attnshift.errors import AttnshiftError
from attnshift.figures.phases import Mark, phase_marks
from attnshift.figures.series import Series, StepAxis, draw, panels
from attnshift.figures.values import reads
from attnshift.stats.forecast import Forecast
from attnshift.stats.forecast import forecast as made_of
from attnshift.stats.intervals import Interval
from attnshift.stats.measured import NEEDED, read_measured

_PANELS: Final = (
    ("margin (nats)", {"margin": ("margin", "neutral", "nats")}),
    ("attention to the context<br>(probability)", {"context_mass": ("context mass", "context", "")}),
    (
        "loss (nats per token)",
        {
            "loss_critical": ("critical", "critical", "nats"),
            "loss_non_critical": ("non_critical", "non_critical", "nats"),
        },
    ),
)


@reads(*NEEDED)
def forecast(trace: xr.Dataset, step: int | None = None, log_steps: bool = False) -> go.Figure:
    """The one-layer theory fitted to the checkpoints up to a step, and what came after.

    Points are measured: means over conflict items or training examples. Lines are the theory, solid where it was
    fitted, dashed where it forecasts. ``step`` is the last checkpoint that it sees, by default the middle one.

    Raises AttnshiftError where the trace lacks what the theory is fitted to, or nothing lies after the step.
    """
    steps = trace["step"].values.tolist()
    last = steps[len(steps) // 2] if step is None else step
    if last not in steps:
        raise AttnshiftError(f"there is no checkpoint of step {last}", expected=f"one of {', '.join(map(str, steps))}")
    found = made_of(trace, upto=last)
    axis = StepAxis(
        trace["step"].values, log_steps, marks=(*phase_marks(trace), Mark(float(last), "forecast from here"))
    )
    said = found.peak_step("margin")
    subtitle = (
        f"fitted to {found.seen} checkpoints, up to step {last:,}; says that the margin is highest at step {said:,}"
    )
    figure = panels(axis, [title for title, _ in _PANELS], "The one-layer theory against the run", subtitle)
    measured = read_measured(trace).series
    for row, (_, quantities) in enumerate(_PANELS, 1):
        for quantity, (name, meaning, unit) in quantities.items():
            _draw(figure, axis, row, found, quantity, Series(name, meaning, Interval.bare(measured[quantity]), unit))
    return figure


def _draw(figure: go.Figure, axis: StepAxis, row: int, found: Forecast, quantity: str, points: Series) -> None:
    """A quantity's points and both parts of its course; what is solid and what is dashed is named once."""
    course, place = found.fit.path[quantity], np.arange(len(found.fit.step))
    parts = {
        "fitted": np.where(place < found.seen, course, np.nan),
        "forecast": np.where(place >= found.seen - 1, course, np.nan),
    }
    drawn = [
        Series(f"{points.name}, {part}", points.meaning, Interval.bare(values), points.unit)
        for part, values in parts.items()
    ]
    draw(figure, axis, [points, *drawn], row)
    figure.update_traces(mode="markers", selector={"name": points.name})
    for one, dash in zip(drawn, ("solid", "dash"), strict=True):
        figure.update_traces(mode="lines", line_dash=dash, showlegend=row == 1, selector={"name": one.name})
