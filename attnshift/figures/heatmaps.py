"""Numbers on a plane, a map per step: one colour scale for all steps, a slider to go through them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float

from attnshift.errors import AttnshiftError
from attnshift.figures.theme import AMOUNT, LEAN, TEMPLATE, WIDTH, titled

MAP, KEY = "map", "key"
"""What a plotly trace's ``meta`` says of a map, and of an entry in the legend that draws nothing."""

_TOP, _BOTTOM, _SLIDER, _CELL = 92, 62, 78, 26  # pixels
_LOWEST, _TALLEST = 210, 460  # room for the colour bar's title


@dataclass(frozen=True)
class Heat:
    """A number for every row and column, at every step."""

    values: Float[np.ndarray, "step row column"]
    """NaN where nothing was measured, drawn as a gap"""
    steps: Sequence[int]
    """a map each; none where the map isn't of a step"""
    rows: Sequence[str]
    """labels from bottom to top"""
    columns: Sequence[str]
    """labels from left to right"""
    row_title: str
    column_title: str
    unit: str
    """what the colours say, with its unit: the title of the colour bar"""
    signed: bool = False
    """whether 0 is the middle of the colours: above it the context's, below it memory's"""


def heat_maps(heat: Heat, title: str, subtitle: str, step: int | None = None) -> go.Figure:
    """Maps on one colour scale; with several steps a slider, which stands at ``step`` (the last one) first.

    Raises AttnshiftError for a step that isn't there.
    """
    steps = [int(one) for one in heat.steps]
    shown = len(heat.values) - 1
    if step is not None:
        if step not in steps:
            raise AttnshiftError(f"there is no map of step {step}", expected=f"one of {', '.join(map(str, steps))}")
        shown = steps.index(step)
    height = min(max(_CELL * len(heat.rows), _LOWEST), _TALLEST)
    below = _BOTTOM + _SLIDER * (len(steps) > 1)
    figure = go.Figure([_map(heat, index, visible=index == shown) for index in range(len(heat.values))])
    figure.update_layout(
        template=TEMPLATE, title_text=titled(title, subtitle), width=WIDTH, height=_TOP + height + below
    )
    figure.update_layout(margin={"t": _TOP, "b": below, "l": 84, "r": 26})
    figure.update_layout(coloraxis=_colours(heat), coloraxis_colorbar_title_text=heat.unit)
    plain = {"showgrid": False, "showline": False}
    figure.update_xaxes(title_text=heat.column_title, **plain, **_labels(heat.columns))
    figure.update_yaxes(title_text=heat.row_title, **plain, **_labels(heat.rows))
    if len(steps) > 1:
        figure.update_layout(sliders=[_slider(steps, shown, height)])
    return figure


def without_slider(figure: go.Figure) -> go.Figure:
    """A figure whose map stands still, at any size: without its slider and the room for it."""
    still, below = go.Figure(figure), figure.layout.margin.b
    still.layout.sliders = ()
    kept = round(below * _BOTTOM / (_BOTTOM + _SLIDER), 1)
    return still.update_layout(margin_b=kept, height=figure.layout.height - below + kept)


def _map(heat: Heat, index: int, visible: bool) -> go.Heatmap:
    name = f"step {int(heat.steps[index]):,}" if len(heat.steps) else heat.unit
    cells = f"{heat.row_title} %{{y}}<br>{heat.column_title} %{{x}}<br>%{{z:.4~g}}"
    return go.Heatmap(
        x=list(heat.columns),
        y=list(heat.rows),
        z=[[None if np.isnan(value) else float(value) for value in row] for row in heat.values[index]],
        name=name,
        meta=MAP,
        visible=visible,
        coloraxis="coloraxis",
        xgap=1,
        ygap=1,
        hovertemplate=f"<b>{name}</b><br>{cells}<extra></extra>" if len(heat.steps) else f"{cells}<extra></extra>",
    )


def _colours(heat: Heat) -> dict[str, object]:
    known = heat.values[np.isfinite(heat.values)]
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
    if heat.signed:
        reach = max(abs(low), abs(high)) or 1.0
        return {"colorscale": LEAN, "cmin": -reach, "cmax": reach}
    return {"colorscale": AMOUNT, "cmin": min(low, 0.0), "cmax": high if high > min(low, 0.0) else min(low, 0.0) + 1}


def _labels(labels: Sequence[str]) -> dict[str, object]:
    """As categories in the order given, thinned out where there are many."""
    every = -(-len(labels) // 16)
    shown = list(labels[::every])
    return {"type": "category", "categoryorder": "array", "categoryarray": list(labels), "tickvals": shown}


def _slider(steps: Sequence[int], shown: int, height: float) -> dict[str, object]:
    return {
        "active": shown,
        "currentvalue": {"prefix": "step ", "xanchor": "left", "font": {"size": 13}},
        "pad": {"t": 52},
        "len": 1.0,
        "x": 0,
        "ticklen": 4,
        "font": {"size": 11},
        "steps": [
            {
                "label": f"{step:,}",
                "method": "restyle",
                "args": [{"visible": [index == chosen for index in range(len(steps))]}],
            }
            for chosen, step in enumerate(steps)
        ],
    }
