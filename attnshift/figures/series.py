"""Curves over the steps with their bands, on panels that share the step axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go
import xarray as xr
from jaxtyping import Float, Num
from plotly.subplots import make_subplots

from attnshift.figures.theme import COLOURS, LEGEND, SYMBOLS, TEMPLATE, WIDTH, tint, titled
from attnshift.figures.ticks import decade_ticks, step_ticks
from attnshift.stats.intervals import Interval

LINE, BAND = "line", "band"
"""What a plotly trace's ``meta`` says that it is; a line's ``customdata`` holds step, low and high."""

_TOP, _BOTTOM, _PANEL, _GAP = 92, 62, 212, 58  # pixels


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


@dataclass(frozen=True)
class StepAxis:
    """Where the steps lie on the x axis."""

    steps: Num[np.ndarray, "step"]
    log: bool
    """at log10(step + 1), which has a place for step 0, labelled with the steps themselves"""

    def places(self, steps: Num[np.ndarray, "step"] | Sequence[int]) -> Float[np.ndarray, "step"]:
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


def step_axis(trace: xr.Dataset, log: bool) -> StepAxis:
    """The step axis of a trace."""
    return StepAxis(trace["step"].values, log)


def panels(axis: StepAxis, y_titles: Sequence[str], title: str, subtitle: str) -> go.Figure:
    """Empty panels above each other, each with a legend of its own on top."""
    inner = len(y_titles) * (_PANEL + _GAP) - _GAP
    figure = make_subplots(len(y_titles), 1, shared_xaxes=True, vertical_spacing=_GAP / inner)
    figure.update_layout(template=TEMPLATE, title_text=titled(title, subtitle), width=WIDTH)
    figure.update_layout(height=_TOP + inner + _BOTTOM, margin={"t": _TOP, "b": _BOTTOM, "l": 84, "r": 26})
    for row, y_title in enumerate(y_titles, 1):
        figure.update_yaxes(title_text=y_title, row=row)
        top = figure.layout[f"yaxis{row}"].domain[1]
        figure.layout[f"legend{row}"] = LEGEND | {"y": top + 4 / inner}
    figure.update_xaxes(axis.ticks())
    figure.update_xaxes(title_text="optimizer step" + " (log scale)" * axis.log, row=len(y_titles))
    return figure


def draw(figure: go.Figure, axis: StepAxis, series: Sequence[Series], row: int = 1) -> None:
    """Add curves to a panel, all bands beneath all lines; steps without a number are passed over."""
    lines = []
    for one in series:
        values = one.values
        table = np.stack(np.broadcast_arrays(axis.steps, values.estimate, values.low, values.high), -1)
        table = table[np.isfinite(table[:, 1])].astype(np.float64)
        bounded = table[np.isfinite(table).all(-1)]
        lines.append(_line(one, axis, table))
        if len(bounded) > 1:
            figure.add_trace(_band(one, axis, bounded), row=row, col=1)
        elif len(bounded) == 1:  # an area of one step has no width
            _, value, low, high = bounded[0].tolist()
            lines[-1].error_y = {"array": [high - value], "arrayminus": [value - low], "thickness": 1.5, "width": 6}
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
        line={"color": _colour(series), "width": 1.2 if faint else 2, "dash": "dot" if faint else "solid"},
        marker={"symbol": SYMBOLS.get(series.meaning, "circle"), "size": size},
        cliponaxis=False,
        customdata=[[int(step), low, high] for step, _, low, high in table.tolist()],
        hovertext=[_hover(series, *point) for point in table.tolist()],
        hovertemplate="%{hovertext}<extra></extra>",
    )


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
    return f"<b>{series.name}</b><br>step {step:,.0f}<br>{value:.3g} {series.unit}{interval}"


def _colour(series: Series) -> str:
    return COLOURS.get(series.meaning, COLOURS["neutral"])
