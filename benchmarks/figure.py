"""The ratios as a figure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import median

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from attnshift.errors import AttnshiftError
from attnshift.figures.export import write_figure
from attnshift.figures.theme import COLOURS, REFERENCE, TEMPLATE, titled
from benchmarks.rows import Kind, Row

WIDTH = 1000
ROW_HEIGHT = 26
LEGEND_GAP = 6
TICKS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
SUFFIXES = (".html", ".svg", ".png")

_PANELS: tuple[tuple[Kind, str], ...] = (("time", "time, ours / other"), ("memory", "peak memory, ours / other"))


def draw(rows: Sequence[Row]) -> go.Figure:
    """Every comparison on a line: time with its range on the left, peak memory on the right, goals as ticks."""
    comparable = (row for row in rows if row.against and not row.note)
    compared = [row for row in comparable if any(row.value(kind) for kind, _ in _PANELS)][::-1]
    figure = make_subplots(1, len(_PANELS), shared_yaxes=True, horizontal_spacing=0.03)
    for column, (kind, title) in enumerate(_PANELS, start=1):
        shown = [row for row in compared if row.value(kind)]
        figure.add_trace(_points(shown, kind, first=column == 1), 1, column)
        figure.add_trace(_goals(shown, kind, first=column == 1), 1, column)
        figure.add_vline(1, line=REFERENCE, row=1, col=column)
        figure.update_xaxes(
            title=title, type="log", tickvals=TICKS, ticktext=[f"{tick:g}" for tick in TICKS], col=column
        )
    figure.update_yaxes(type="category", categoryarray=[row.name for row in compared], automargin=True)
    figure.update_layout(
        template=TEMPLATE,
        title=titled(
            "What attnshift costs", "median and range of pairs measured in turns; left of the line is cheaper"
        ),
        width=WIDTH,
        height=170 + ROW_HEIGHT * len(compared),
        legend={"y": 1 + LEGEND_GAP / (ROW_HEIGHT * len(compared) or 1)},
        margin={"t": 110, "b": 60},
    )
    return figure


def write(rows: Sequence[Row], folder: Path, images: bool) -> list[str]:
    """Write the figure's files; what could not be written, as notes."""
    figure, notes = draw(rows), []
    for suffix in SUFFIXES if images else SUFFIXES[:1]:
        try:
            write_figure(figure, folder / f"ratios{suffix}")
        except AttnshiftError as error:
            notes.append(f"ratios{suffix} was not written: {error}")
    return notes


def _points(rows: Sequence[Row], kind: Kind, first: bool) -> go.Scatter:
    middle = [row.value(kind) for row in rows]
    ranges = [row.ratios(row.clock) if kind == "time" else [row.memory_ratio or 0.0] for row in rows]
    return go.Scatter(
        x=middle,
        y=[row.name for row in rows],
        mode="markers",
        name="measured",
        showlegend=first,
        marker={"color": COLOURS["context"], "size": 9},
        error_x={
            "array": [max(found) - median(found) for found in ranges],
            "arrayminus": [median(found) - min(found) for found in ranges],
            "thickness": 1.5,
            "width": 4,
        },
    )


def _goals(rows: Sequence[Row], kind: Kind, first: bool) -> go.Scatter:
    placed = [(goal.limit, row.name) for row in rows for goal in row.goals if goal.of == kind]
    return go.Scatter(
        x=[limit for limit, _ in placed],
        y=[name for _, name in placed],
        mode="markers",
        name="goal: at most",
        showlegend=first,
        marker={"symbol": "line-ns", "size": 14, "line": {"color": COLOURS["parametric"], "width": 2}},
    )
