"""Which weights brought what was lost between two checkpoints: what grafts restore and cost."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Final

import numpy as np
import plotly.graph_objects as go
import xarray as xr
from plotly.subplots import make_subplots

from attnshift.errors import AttnshiftError
from attnshift.figures.heatmaps import Heat, heat_maps
from attnshift.figures.patches import ends
from attnshift.figures.theme import COLOURS, LEGEND, REFERENCE, SYMBOLS, TEMPLATE, WIDTH, titled

_QUANTITIES: Final = {"margin": ("margin", "neutral"), "counterfactual_accuracy": ("answers", "context")}
"""What is restored: its name in the legend, its meaning."""

_LAYERS: Final = {
    "first_layers": ("up to the layer", "context"),
    "last_layers": ("from the layer on", "parametric"),
    "layer": ("the layer alone", "neutral"),
}


def graft_parts(result: xr.Dataset) -> go.Figure:
    """What grafting a part in all layers restores of margin and answers, and what is restored by all but it.

    (grafted - target) / (source - target) of the mean margin and of counterfactual accuracy, in percent with 95 %
    intervals over items. A part can be enough (left) without being needed (right), and the other way round.

    Raises AttnshiftError where grafts weren't made by part.
    """
    alone, without = _of_kind(result, "part"), _of_kind(result, "without_part")
    figure = make_subplots(1, 2, shared_yaxes=True, horizontal_spacing=0.1)
    for column, chosen in enumerate((alone, without), 1):
        for name, (label, meaning) in _QUANTITIES.items():
            curve = _dots(chosen, name, label, meaning, [str(part) for part in chosen["part"].values])
            figure.add_trace(curve.update(showlegend=column == 1), row=1, col=column)
        for at in (0, 100):
            figure.add_vline(at, line=REFERENCE, row=1, col=column)
    height = 154 + 40 * alone.sizes["graft"]
    _dress(figure, f"What each part restores ({ends(result)})", _cost(result), height)
    for column, by in enumerate(("the part", "all but it"), 1):
        figure.update_xaxes(title_text=f"restored by<br>{by} (%)", col=column)
    figure.update_yaxes(type="category", autorange="reversed")
    figure.update_yaxes(title_text="weights of the source", col=1)
    return figure


def graft_map(result: xr.Dataset) -> go.Figure:
    """What grafting one part in one layer restores of the margin, in percent.

    (grafted - target) / (source - target) of the mean margins. What belongs to no layer stands below.

    Raises AttnshiftError where grafts weren't made unit by unit.
    """
    units = _of_kind(result, "unit")
    parts = list(dict.fromkeys(str(part) for part in units["part"].values))
    layers = sorted({int(layer) for layer in units["layer"].values})
    values = np.full((1, len(layers), len(parts)), np.nan)
    for part, layer, share in zip(
        units["part"].values, units["layer"].values, units["restoration_margin"].values, strict=True
    ):
        values[0, layers.index(int(layer)), parts.index(str(part))] = 100 * share
    rows = ["none" if layer < 0 else str(layer) for layer in layers]
    heat = Heat(values, (), rows, parts, "layer", "weights of the source", "% of the margin", signed=True)
    figure = heat_maps(heat, f"What each unit restores ({ends(result)})", _cost(result))
    shown = figure.layout.xaxis.tickvals
    return figure.update_xaxes(ticktext=[part.replace("_", "<br>").replace(".", "<br>") for part in shown])


def graft_layers(result: xr.Dataset) -> go.Figure:
    """What grafting all layers up to one, all from one on, or one alone restores of the margin, in percent.

    Raises AttnshiftError where grafts weren't made by layer.
    """
    figure = go.Figure()
    for kind, (label, meaning) in _LAYERS.items():
        chosen = _of_kind(result, kind)
        low, middle, high = (100 * chosen[f"restoration_margin{bound}"].values for bound in ("_low", "", "_high"))
        figure.add_trace(
            go.Scatter(
                x=chosen["layer"].values.tolist(),
                y=middle.tolist(),
                name=label,
                mode="lines+markers",
                line={"color": COLOURS[meaning], "width": 2},
                marker={"symbol": SYMBOLS.get(meaning, "circle"), "size": 7},
                error_y=_bars(low, middle, high),
                hovertemplate=f"<b>{label}</b> %{{x}}<br>%{{y:.1f}} %<extra></extra>",
            )
        )
    for at in (0, 100):
        figure.add_hline(at, line=REFERENCE)
    _dress(figure, f"Which layers bring it back ({ends(result)})", _cost(result), 400)
    figure.update_xaxes(title_text="layer", dtick=1 if len(set(result["layer"].values.tolist())) <= 13 else None)
    figure.update_yaxes(title_text="restored (% of the margin)")
    return figure


def graft_search(result: xr.Dataset) -> go.Figure:
    """The sets that a search grew: what they restore, and what they cost in loss of held-out examples.

    First row: percent of margin and answers, over all items, with 95 % intervals. Second row: mean loss of the held-out
    examples less the target's, nats per token. The last set is the one found, without what turned out needless.

    Raises AttnshiftError where no search was made.
    """
    path = _of_kind(result, "search", "found")
    labels = _added(path)
    rows = 2 if "loss_change" in path else 1
    figure = make_subplots(rows, 1, shared_xaxes=True, vertical_spacing=0.08)
    for name, (label, meaning) in _QUANTITIES.items():
        curve = _dots(path, name, label, meaning, labels)
        curve.x, curve.y = curve.y, curve.x
        curve.update(error_y=curve.error_x.to_plotly_json(), error_x=None, mode="lines+markers")
        curve.update(hovertemplate=f"<b>{label}</b><br>%{{x}}<br>%{{y:.1f}} %<extra></extra>")
        figure.add_trace(curve, row=1, col=1)
    figure.add_hline(100, line=REFERENCE, row=1)
    figure.update_yaxes(title_text="restored (%)", rangemode="tozero", row=1)
    if rows == 2:
        cost = path["loss_change"].values.tolist()
        figure.add_trace(
            go.Scatter(x=labels, y=cost, name="loss", mode="lines+markers", showlegend=False,
                       line={"color": COLOURS["parametric"], "width": 2},
                       marker={"symbol": "square", "size": 7}), row=2, col=1,
        )  # fmt: skip
        figure.add_hline(0, line=REFERENCE, row=2)
        figure.update_yaxes(title_text="loss, more than the<br>target's (nats)", row=2)
    _dress(figure, f"The smallest set found ({ends(result)})", _cost(result), 260 + 170 * rows)
    figure.update_xaxes(type="category", categoryorder="array", categoryarray=labels)
    figure.update_xaxes(title_text="added, one after the other", row=rows)
    return figure


_ASKED: Final = {"unit": "--by unit", "part": "--by part", "without_part": "--by part", "search": "--search"}
"""Options that make grafts of a kind."""


def _of_kind(result: xr.Dataset, *kinds: str) -> xr.Dataset:
    chosen = result.isel(graft=np.flatnonzero(np.isin(result["kind"].values.astype(str), kinds)))
    if not chosen.sizes["graft"]:
        raise AttnshiftError(
            f"the result has no grafts of the kind {kinds[0]!r}",
            expected=f"attnshift graft {_ASKED.get(kinds[0], '--by layer')}",
        )
    return chosen


def _dots(chosen: xr.Dataset, name: str, label: str, meaning: str, places: list[str]) -> go.Scatter:
    """Restored percent with its interval, one place per graft on the y axis."""
    low, middle, high = (100 * chosen[f"restoration_{name}{bound}"].values for bound in ("_low", "", "_high"))
    return go.Scatter(
        x=middle.tolist(),
        y=places,
        name=label,
        legendgroup=label,
        mode="markers",
        marker={"color": COLOURS[meaning], "symbol": "circle" if meaning == "neutral" else "diamond", "size": 8},
        line={"color": COLOURS[meaning], "width": 2},
        error_x=_bars(low, middle, high),
        hovertemplate=f"<b>{label}</b><br>%{{y}}<br>%{{x:.1f}} %<extra></extra>",
    )


def _bars(low: np.ndarray, middle: np.ndarray, high: np.ndarray) -> dict[str, object]:
    return {"array": (high - middle).tolist(), "arrayminus": (middle - low).tolist(), "thickness": 1.4, "width": 4}


def _added(path: xr.Dataset) -> list[str]:
    """What each set has more than the one before it; the last is what was found."""
    sets = [set(json.loads(str(units))) for units in path["units"].values]
    new = [sorted(sets[0]), *(sorted(b - a) for a, b in pairwise(sets[:-1]))]
    return [*(f"{n}. {', '.join(units)}" for n, units in enumerate(new, 1)), "found"]


def _cost(result: xr.Dataset) -> str:
    source, target = (float(result[f"{end}_margin"].mean()) for end in ("source", "target"))
    return f"{result.sizes['item']} items; margin {source:+.2f} against {target:+.2f} nats"


def _dress(figure: go.Figure, title: str, subtitle: str, height: int) -> None:
    subtitle += "; bars are 95 % intervals"
    figure.update_layout(template=TEMPLATE, title_text=titled(title, subtitle), width=WIDTH, height=height)
    figure.update_layout(margin={"t": 92, "b": 62, "l": 104, "r": 26}, legend=LEGEND | {"y": 1.02 + 26 / height})
