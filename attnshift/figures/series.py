"""Curves over the steps with their bands, on panels that share the step axis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go
import xarray as xr
from jaxtyping import Float, Num
from plotly.subplots import make_subplots

from attnshift.errors import AttnshiftError
from attnshift.figures.noise import add_noise, noise_points
from attnshift.figures.phases import Mark, phase_marks
from attnshift.figures.theme import COLOURS, LEGEND, SYMBOLS, TEMPLATE, WIDTH, tint, titled
from attnshift.figures.ticks import decade_ticks, step_ticks
from attnshift.stats.intervals import Interval

LINE, BAND, RAW = "line", "band", "raw"
"""What a plotly trace's ``meta`` says that it is; a line's ``customdata`` holds step, low and high. ``raw`` are the
points behind a smoothed line, with theirs."""

_TOP, _BOTTOM, _PANEL, _GAP = 92, 62, 212, 58  # pixels
_CLOSE = 0.08  # of the axis: marks between which there is no room for a name


@dataclass(frozen=True)
class Series:
    """One curve: a number per step, with 95 % bounds where it has any."""

    name: str
    """what the legend calls it"""
    meaning: str
    """key of its colour and marker; anything else is neutral, ``faint`` is drawn in the background"""
    values: Interval
    """step: what is drawn; NaN where it wasn't measured"""
    unit: str = ""
    """written behind the number in the hover text"""
    noise: float = float("nan")
    """how far a checkpoint's number strays from its neighbours' by chance alone (95 %): a band of its own"""
    limits: tuple[float, float] = (-math.inf, math.inf)
    """the least and the greatest that the number can be; the band of noise ends there"""


@dataclass(frozen=True)
class StepAxis:
    """Where the steps lie on the x axis."""

    steps: Num[np.ndarray, "step"]
    log: bool
    """at log10(step + 1), which has a place for step 0, labelled with the steps themselves"""
    smooth: int = 1
    """lines are centred means over so many checkpoints, with the numbers themselves faint behind"""
    marks: tuple[Mark, ...] = ()
    """steps with a line across all panels"""

    def places(self, steps: Num[np.ndarray, "step"] | Sequence[float]) -> Float[np.ndarray, "step"]:
        """x of steps."""
        steps = np.asarray(steps, np.float64)
        return np.log10(steps + 1) if self.log else steps

    def ticks(self) -> dict[str, Any]:
        """Where the axis is labelled, and how."""
        steps = sorted(int(step) for step in self.steps)
        if not self.log and len(steps) > 1:
            return {"tickformat": ",~f"} | ({"dtick": 1} if steps[-1] - steps[0] <= 8 else {})
        labelled = step_ticks(steps) if len(steps) > 1 else steps
        return {"tickvals": self.places(labelled).tolist(), "ticktext": [f"{step:,}" for step in labelled]}


def step_axis(trace: xr.Dataset, log: bool, smooth: int = 1) -> StepAxis:
    """The step axis of a trace, with its peak and the ends of its epochs marked.

    Raises AttnshiftError where ``smooth`` is no odd number of checkpoints.
    """
    if smooth < 1 or smooth % 2 == 0:
        raise AttnshiftError(
            f"smooth={smooth} is no window", expected="an odd number of checkpoints: 1 (as it is), 3, 5"
        )
    return StepAxis(trace["step"].values, log, smooth, phase_marks(trace))


def panels(axis: StepAxis, y_titles: Sequence[str], title: str, subtitle: str) -> go.Figure:
    """Empty panels above each other, each with a legend of its own on top."""
    inner = len(y_titles) * (_PANEL + _GAP) - _GAP
    figure = make_subplots(len(y_titles), 1, shared_xaxes=True, vertical_spacing=_GAP / inner)
    figure.update_layout(template=TEMPLATE, title_text=titled(title, subtitle), width=WIDTH, showlegend=True)
    figure.update_layout(height=_TOP + inner + _BOTTOM, margin={"t": _TOP, "b": _BOTTOM, "l": 84, "r": 26})
    for row, y_title in enumerate(y_titles, 1):
        figure.update_yaxes(title_text=y_title, row=row)
        top = figure.layout[f"yaxis{row}"].domain[1]
        figure.layout[f"legend{row}"] = LEGEND | {"y": top + 4 / inner}
    figure.update_xaxes(axis.ticks())
    figure.update_xaxes(title_text="optimizer step" + " (log scale)" * axis.log, row=len(y_titles))
    _mark_phases(figure, axis, len(y_titles))
    return figure


def _mark_phases(figure: go.Figure, axis: StepAxis, rows: int) -> None:
    """A thin line across every panel, named on top of the uppermost one's inside: on the side away from a close one."""
    names: dict[float, list[str]] = {}
    for mark in sorted(axis.marks, key=lambda mark: mark.step):
        names.setdefault(mark.step, []).append(mark.label)
    places = axis.places(list(names)).tolist()
    room = _CLOSE * float(np.ptp(axis.places(axis.steps)))
    for label, x, following in zip(map(", ".join, names.values()), places, [*places[1:], np.inf], strict=False):
        for row in range(1, rows + 1):
            domain = f"y{row if row > 1 else ''} domain"
            line = {"color": COLOURS["faint"], "width": 1, "dash": "dot"}
            figure.add_shape(
                type="line", name=label, x0=x, x1=x, xref=f"x{row if row > 1 else ''}", y0=0, y1=1, yref=domain,
                line=line, layer="below",
            )  # fmt: skip
        side = "right" if following - x < room else "left"
        figure.add_annotation(
            text=label, x=x, xref="x", y=1, yref="y domain", yanchor="top", xanchor=side, textangle=-90,
            showarrow=False, font={"size": 10.5, "color": COLOURS["faint"]}, name=label,
        )  # fmt: skip


def draw(figure: go.Figure, axis: StepAxis, series: Sequence[Series], row: int = 1) -> None:
    """Add curves to a panel, all bands beneath all lines; steps without a number are passed over."""
    lines = []
    for one in series:
        values = one.values
        table = np.stack(np.broadcast_arrays(axis.steps, values.estimate, values.low, values.high), -1)
        table = table[np.isfinite(table[:, 1])].astype(np.float64)
        bounded = table[np.isfinite(table).all(-1)]
        lines.append(_line(one, axis, table))
        smooth = _smoothed(table, axis.smooth)
        if np.isfinite(one.noise) and len(table) > 1:
            _draw_noise(figure, axis, one, smooth, row)
        if len(bounded) > 1 and axis.smooth == 1:
            figure.add_trace(_band(one, axis, bounded), row=row, col=1)
        elif len(bounded):  # an area of one step has no width, and one around raw points would hide the smooth line
            bars = {
                "array": (bounded[:, 3] - bounded[:, 1]).tolist(),
                "arrayminus": (bounded[:, 1] - bounded[:, 2]).tolist(),
            }
            lines[-1].error_y = bars | {"thickness": 1.5, "width": 6}
        if axis.smooth > 1:
            raw, lines[-1] = lines[-1], _line(one, axis, smooth)
            figure.add_trace(_faint(raw), row=row, col=1)
    for line in lines:
        line.legend = f"legend{row}".removesuffix("1")
        figure.add_trace(line, row=row, col=1)


def log_axis(figure: go.Figure, values: Float[np.ndarray, "*value"], row: int) -> None:
    """Make a y axis logarithmic with round labels, a decade at least: noise should not fill the panel."""
    known = np.log10(values[np.isfinite(values) & (values > 0)])
    low, high = (known.min(), known.max()) if known.size else (0.0, 0.0)
    spare = max(0.08 * (high - low), (1 - (high - low)) / 2)
    bounds = [float(low - spare), float(high + spare)]
    ticks = decade_ticks(10 ** bounds[0], 10 ** bounds[1])
    figure.update_yaxes(type="log", range=bounds, tickvals=ticks, ticktext=[f"{tick:g}" for tick in ticks], row=row)


def _line(series: Series, axis: StepAxis, table: Float[np.ndarray, "step 4"]) -> go.Scatter:
    """Through every measured step, with a marker at each."""
    faint = series.meaning == "faint"
    size = 4 if faint or len(table) > 25 else 7
    return go.Scatter(
        x=axis.places(table[:, 0]).tolist(),
        y=table[:, 1].tolist(),
        name=series.name,
        legendgroup=series.name,
        meta=LINE,
        mode="lines+markers",
        line={"color": _colour(series), "width": 1.2 if faint else 2},
        marker={"symbol": SYMBOLS.get(series.meaning, "circle"), "size": size},
        cliponaxis=False,
        customdata=[[int(step), low, high] for step, _, low, high in table.tolist()],
        hovertext=[_hover(series, *point) for point in table.tolist()],
        hovertemplate="%{hovertext}<extra></extra>",
    )


def _smoothed(table: Float[np.ndarray, "step 4"], window: int) -> Float[np.ndarray, "step 4"]:
    """Means over the checkpoints around each, fewer at the ends but as many on either side; without bounds."""
    means = table.copy()
    for index in range(len(table)):
        reach = min(window // 2, index, len(table) - 1 - index)
        means[index, 1] = table[index - reach : index + reach + 1, 1].mean()
    means[:, 2:] = np.nan
    return means


def _faint(line: go.Scatter) -> go.Scatter:
    """The numbers themselves, behind their smoothed line."""
    line.update(mode="markers", meta=RAW, showlegend=False, opacity=0.35, marker_size=4)
    if line.error_y.array is not None:
        line.update(error_y={"thickness": 0.8, "width": 0})
    return line


def _draw_noise(
    figure: go.Figure, axis: StepAxis, series: Series, table: Float[np.ndarray, "step 4"], row: int
) -> None:
    """Dotted edges as far from the line as checkpoints stray by chance."""
    points = noise_points(table[:, 0], table[:, 1], series.noise, series.limits)
    x, pen_up = axis.places(table[:, 0]), [np.nan]
    edges = np.concatenate([x, pen_up, x]), np.concatenate([points[:, 2], pen_up, points[:, 3]])
    add_noise(figure, [[int(step), *rest] for step, *rest in points.tolist()], edges, _colour(series), row)


def _band(series: Series, axis: StepAxis, table: Float[np.ndarray, "step 4"]) -> go.Scatter:
    """The area between the bounds: along the lower ones, and back along the upper ones."""
    x = axis.places(table[:, 0])
    return go.Scatter(
        x=[*x.tolist(), *x[::-1].tolist()],
        y=[*table[:, 2].tolist(), *table[::-1, 3].tolist()],
        name=f"{series.name}, 95 % interval",
        legendgroup=series.name,
        meta=BAND,
        showlegend=False,
        mode="lines",
        line_width=0,
        fill="toself",
        fillcolor=tint(_colour(series)),
        hoverinfo="skip",
    )


def _hover(series: Series, step: float, value: float, low: float, high: float) -> str:
    interval = f"<br>95 % interval: {low:.3g} to {high:.3g} {series.unit}" if np.isfinite(high - low) else ""
    noise = f"<br>checkpoint noise: ± {series.noise:.3g} {series.unit}" if np.isfinite(series.noise) else ""
    return f"<b>{series.name}</b><br>step {step:,.0f}<br>{value:.3g} {series.unit}{interval}{noise}"


def _colour(series: Series) -> str:
    return COLOURS.get(series.meaning, COLOURS["neutral"])
