"""Every figure that a trace has the numbers for, ready for a page."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import plotly.graph_objects as go
import xarray as xr

from attnshift.errors import AttnshiftError
from attnshift.figures.fit import fit
from attnshift.figures.heatmaps import without_slider
from attnshift.figures.plot import FIGURES, Kind
from attnshift.figures.theme import Size, title_parts
from attnshift.report.embed import rounded

WIDE: Final = Size(700, 1.0, titled=False)
"""On a laptop, a tablet and on paper."""

NARROW: Final = Size(340, 0.85, titled=False, sides=False)
"""On a phone."""


@dataclass(frozen=True)
class Shown:
    """A figure of the page."""

    name: str
    title: str
    subtitle: str
    caption: str
    """what is drawn and how, in the words of the figure's own docstring"""
    spec: dict[str, Any]
    """plotly's ``data``; a layout for a ``wide`` and one for a ``narrow`` place; ``slider``, where it has one"""


@dataclass(frozen=True)
class LeftOut:
    """A figure that the trace can't give."""

    name: str
    about: str
    why: str


def figures_of(trace: xr.Dataset) -> tuple[list[Shown], list[LeftOut]]:
    """The figures of one trace, in the order of `FIGURES`, and those that it can't give, with the reason."""
    shown: list[Shown] = []
    left_out: list[LeftOut] = []
    for name, kind in FIGURES.items():
        if kind.of != "trace":
            continue
        try:
            shown.append(_shown(name, kind, trace))
        except AttnshiftError as error:
            remedy = f" ({error.remedy})" if error.remedy else ""
            left_out.append(LeftOut(name, kind.about, f"{error.problem}{remedy}"))
    return shown, left_out


def _shown(name: str, kind: Kind, trace: xr.Dataset) -> Shown:
    """Steps on a log axis where there are several: most happens early."""
    log = {"log_steps": True} if "log_steps" in kind.options and trace.sizes["step"] > 2 else {}
    figure = kind.draw(trace, **log)
    title, subtitle = title_parts(figure.layout.title.text or name)
    figure, slider = _apart(figure)
    wide, narrow = (json.loads(fit(figure, size).to_json()) for size in (WIDE, NARROW))
    spec = {"data": wide["data"], "wide": wide["layout"], "narrow": narrow["layout"], "slider": slider}
    return Shown(name, _plain(title), _plain(subtitle), caption_of(kind.draw), rounded(spec))


def _apart(figure: go.Figure) -> tuple[go.Figure, dict[str, Any] | None]:
    """A figure and, apart, its slider: the page has one of its own, which a keyboard reaches."""
    if not figure.layout.sliders:
        return figure, None
    slider = figure.layout.sliders[0]
    changes = [{"label": step.label, "args": list(step.args)} for step in slider.steps]
    return without_slider(figure), {
        "prefix": slider.currentvalue.prefix or "",
        "active": slider.active or 0,
        "steps": changes,
    }


def caption_of(draw: Callable[..., go.Figure]) -> str:
    """A figure's docstring up to where it tells what it raises, as running text."""
    told = re.split(r"\n\s*Raises\b", inspect.getdoc(draw) or "")[0]
    return " ".join(told.replace("`", "").split())


def _plain(text: str) -> str:
    return re.sub(r"<[^>]*>", " ", text)
