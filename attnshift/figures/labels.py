"""Whose answer every item gets at every step."""

from __future__ import annotations

from typing import Final

import numpy as np
import plotly.graph_objects as go
import xarray as xr
from jaxtyping import Shaped

from attnshift.errors import AttnshiftError
from attnshift.figures.heatmaps import KEY, MAP
from attnshift.figures.phases import peak_place
from attnshift.figures.theme import COLOURS, LEGEND, TEMPLATE, WIDTH, titled
from attnshift.figures.values import reads
from attnshift.stats.flips import flips
from attnshift.stats.items import answer_labels

_LABELS: Final = ("context", "both", "parametric", "neither")
_TOP, _BOTTOM = 108, 62  # pixels
_ROW, _LOWEST, _TALLEST = 6, 220, 640


@reads("counterfactual_accuracy", "parametric_accuracy")
def labels(trace: xr.Dataset) -> go.Figure:
    """Every item's label at every step, a row each: context, parametric, both or neither.

    Items are in order of the share of steps at which the context wins, then memory. The subtitle counts the flips from
    the peak of counterfactual accuracy to the end. Labels are ``answer_label``, or what containment says where a trace
    has none.

    Raises AttnshiftError where the trace lacks the accuracies or has no items.
    """
    found = answer_labels(trace)
    if not found.size:
        raise AttnshiftError("the trace has no items", expected="conflict items")
    order = _order(found)
    shown = found[:, order]
    height = int(np.clip(_ROW * len(order), _LOWEST, _TALLEST))
    figure = go.Figure()
    for label in _LABELS:
        figure.add_trace(_cells(trace, shown, order, label))
        key = {"size": 11, "symbol": "square", "color": COLOURS[label]}
        figure.add_trace(go.Scatter(x=[None], y=[None], mode="markers", marker=key, name=label, meta=KEY))
    figure.update_layout(template=TEMPLATE, title_text=titled("Whose answer, item by item", _flips_told(trace)))
    figure.update_layout(
        width=WIDTH, height=_TOP + height + _BOTTOM, margin={"t": _TOP, "b": _BOTTOM, "l": 84, "r": 26}
    )
    figure.layout.legend = LEGEND | {"y": 1 + 4 / height}
    columns = [f"{int(step):,}" for step in trace["step"].values]
    plain = {"showgrid": False, "showline": False, "type": "category"}
    figure.update_xaxes(title_text="optimizer step", categoryorder="array", categoryarray=columns, **plain)
    figure.update_yaxes(title_text=f"{len(order)} items", showticklabels=False, ticks="", **plain)
    return figure


def _cells(trace: xr.Dataset, shown: Shaped[np.ndarray, "step item"], order: np.ndarray, label: str) -> go.Heatmap:
    """One label's cells in its colour, all others empty."""
    return go.Heatmap(
        x=[f"{int(step):,}" for step in trace["step"].values],
        y=trace["item"].values.astype(str)[order].tolist(),
        z=[[1 if one == label else None for one in row] for row in shown.T.tolist()],
        name=label,
        meta=MAP,
        colorscale=[[0, COLOURS[label]], [1, COLOURS[label]]],
        showscale=False,
        hovertemplate=f"<b>{label}</b><br>step %{{x}}<br>item %{{y}}<extra></extra>",
    )


def _order(found: Shaped[np.ndarray, "step item"]) -> np.ndarray:
    """From memory (below) to the context (above)."""
    context, parametric = ((found == side).mean(0) for side in ("context", "parametric"))
    return np.lexsort((np.arange(found.shape[1]), -parametric, context))


def _flips_told(trace: xr.Dataset) -> str:
    steps = trace["step"].values
    place = peak_place(trace)
    if place is None:
        return "a row per item, from memory below to the context above"
    peak, end = int(steps[place]), int(steps[-1])
    told = flips(trace, peak, end)
    return (
        f"step {peak:,} (peak) → {end:,}: {len(told.to_memory)} items flip from context to memory, "
        f"{len(told.to_context)} back"
    )
