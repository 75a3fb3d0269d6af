"""Figures to size: letters legible at the width of a column, nothing cut off, no title where a caption stands."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import plotly.graph_objects as go

from attnshift.figures.theme import LEGEND_GAP, LETTERS, Size

_Spec = dict[str, Any]

_MEAN_WIDTH = 0.56  # of a letter, of the size of the letters
_KEY = 46  # pixels, whatever the scale: a legend's line, marker and gaps
_BAR = 0.95  # of the panels' height: the colour bar's title
_AROUND = 8  # pixels beside a legend's rows and the gap beneath each
_RIGHT = 26  # pixels beside panels without words
_SCALED = ("size", "ticklen", "standoff", "thickness", "width")


def fit(figure: go.Figure, size: Size) -> go.Figure:
    """A copy of a figure for another size: letters, lines and panels scaled, legends given room to wrap.

    Panels keep their order; those beside each other stay so. The width is the size's exactly, the height what the
    panels and legends need.
    """
    spec: _Spec = figure.to_plotly_json()
    layout, scale = spec["layout"], size.scale
    if not size.sides:
        _drop_sides(layout)
    for holder in _sized(spec):
        for name in _SCALED:
            if isinstance(holder.get(name), int | float):
                holder[name] = round(holder[name] * scale, 2)
    margin = {side: scale * layout.get("margin", {}).get(side, 80) for side in ("l", "r", "b", "t")}
    if not size.titled:
        layout.get("title", {}).pop("text", None)
        margin["t"] = 10.0
    legends = _legend_heights(spec, size.width - margin["l"] - margin["r"], LETTERS * scale)
    _place_rows(layout, scale, margin, legends)
    _break_bar_title(layout)
    layout["width"] = size.width
    return go.Figure(spec)


def _drop_sides(layout: _Spec) -> None:
    """Take away the words to the right of the panels, and the room for them."""
    notes = list(layout.get("annotations", ()))
    beside = [note for note in notes if (note.get("xref"), note.get("x"), note.get("xanchor")) == ("paper", 1, "left")]
    if beside:
        layout["annotations"] = [note for note in notes if note not in beside]
        layout["margin"]["r"] = _RIGHT


def _sized(spec: _Spec) -> Iterator[_Spec]:
    """Everything that carries a size in pixels."""
    layout = spec["layout"]
    for part in (layout, layout.get("template", {}).get("layout", {})):
        yield from _fonts(part)
    for trace in spec["data"]:
        yield from (
            trace[part] for part in ("marker", "line", "error_y", "textfont") if isinstance(trace.get(part), dict)
        )


def _fonts(layout: _Spec) -> Iterator[_Spec]:
    for key, value in layout.items():
        entries = value if isinstance(value, list | tuple) else [value]
        for entry in entries:
            if not isinstance(entry, dict) or key in ("template", "margin"):
                continue
            if key == "font" or key.startswith(("xaxis", "yaxis")):
                yield entry
            yield from _nested(entry)


def _nested(entry: _Spec) -> Iterator[_Spec]:
    for name in ("font", "title", "tickfont", "colorbar", "line", "currentvalue"):
        if isinstance(inner := entry.get(name), dict):
            yield inner
            yield from _nested(inner)


def _legend_heights(spec: _Spec, width: float, letters: float) -> dict[str, float]:
    """Pixels that each legend takes when it wraps within the width of the panels."""
    names: dict[str, dict[str, None]] = {}
    for trace in sorted(spec["data"], key=lambda trace: trace.get("legendrank", 1000)):
        shown = trace.get("showlegend", True) and trace.get("visible", True) is True
        if shown and trace.get("type", "scatter") == "scatter" and trace.get("name"):
            names.setdefault(trace.get("legend", "legend"), {})[trace["name"]] = None
    if spec["layout"].get("showlegend") is False:
        return {}
    found = {}
    for legend, entries in names.items():
        rows, used = 1, 0.0
        for name in entries:
            wide = _MEAN_WIDTH * letters * len(name) + _KEY
            rows, used = (rows + 1, wide) if used and used + wide > width else (rows, used + wide)
        found[legend] = rows * _row_height(letters) + _AROUND
    return found


def _break_bar_title(layout: _Spec) -> None:
    """Give the colour bar's title a second line where one is longer than the bar is high."""
    title = layout.get("coloraxis", {}).get("colorbar", {}).get("title", {})
    text, letters = (
        title.get("text") or "",
        layout["template"]["layout"]["coloraxis"]["colorbar"]["title"]["font"]["size"],
    )
    room = layout["height"] - layout["margin"]["t"] - layout["margin"]["b"]
    if _MEAN_WIDTH * letters * len(text) > _BAR * room and " " in text:
        spaces = [place for place, letter in enumerate(text) if letter == " "]
        middle = min(spaces, key=lambda place: abs(2 * place - len(text)))
        title["text"] = f"{text[:middle]}<br>{text[middle + 1 :]}"


def _row_height(letters: float) -> float:
    """Pixels of a row of the legend: plotly's line of 1.3 letters, 16 at least, and the gap to the next."""
    return max(1.3 * letters, 16.0) + 3 + LEGEND_GAP


def _place_rows(layout: _Spec, scale: float, margin: dict[str, float], legends: Mapping[str, float]) -> None:
    """Heights, gaps and margins in pixels, then the domains that make them so."""
    before = layout.get("margin", {})
    inner = layout.get("height", 450) - before.get("t", 100) - before.get("b", 80)
    axes = [key for key in layout if key.startswith("yaxis")]
    rows: dict[tuple[float, float], list[str]] = {}
    for key in sorted(axes, key=lambda key: -_domain(layout[key])[1]):
        rows.setdefault(_domain(layout[key]), []).append(key.removeprefix("yaxis"))
    places = list(rows)
    above = [max(legends.get(f"legend{number}", 0.0) for number in numbers) for numbers in rows.values()]
    heights = [inner * (high - low) * scale for low, high in places]
    gaps = [
        max(inner * (upper[0] - lower[1]) * scale, room + 16 * scale)
        for upper, lower, room in zip(places, places[1:], above[1:], strict=False)
    ]
    one_line = _row_height(LETTERS * scale) + _AROUND
    heads = _panel_titles(layout) * one_line
    margin["t"] += max(above[0] - one_line, 0.0) if "text" in layout.get("title", {}) else above[0]
    margin["t"] += heads
    whole = at = sum(heights) + sum(gaps)
    for numbers, height, gap in zip(rows.values(), heights, [*gaps, 0.0], strict=True):
        for number in numbers:
            layout[f"yaxis{number}"]["domain"] = [max((at - height) / whole, 0.0), min(at / whole, 1.0)]
            if f"legend{number}" in layout:
                layout[f"legend{number}"]["y"] = (at + heads + 4 * scale) / whole
        at -= height + gap
    layout["margin"] = {side: round(value, 1) for side, value in margin.items()}
    layout["height"] = round(whole + margin["t"] + margin["b"])


def _panel_titles(layout: _Spec) -> bool:
    """Whether panels beside each other have titles above them, which legends must not cover."""
    return any(
        note.get("yref") == "paper" and note.get("yanchor") == "bottom" for note in layout.get("annotations", ())
    )


def _domain(axis: _Spec) -> tuple[float, float]:
    low, high = axis.get("domain", (0.0, 1.0))
    return float(low), float(high)
