"""Figures as files: pages, numbers and images."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import plotly.graph_objects as go

from attnshift.atomic import atomic
from attnshift.data.rows import csv_text
from attnshift.errors import AttnshiftError
from attnshift.figures.heatmaps import KEY, without_slider
from attnshift.figures.noise import NOISE
from attnshift.figures.series import BAND, LINE, RAW

if TYPE_CHECKING:
    import kaleido

COLUMNS: Final = ("series", "axis", "x", "y", "low", "high", "z")
"""Columns of a figure's CSV: the curve or map, the title of its y axis (of a map: of its colours), and the numbers
drawn, in data units; ``low`` and ``high`` are the ends of a band or of a bar, along y or along x; ``z`` is a map's
number at x and y."""

NO_BROWSER: Final = (
    "apt-get install chromium, or pip install 'attnshift[figures]' and plotly_get_chrome; or write .html"
)
"""What to do where no Chrome or Chromium draws."""

_PNG_SCALE = 3  # a figure 700 pixels wide becomes 300 dots per inch at the width of a page's text
_BY_CHANCE: Final = re.compile(rb'(?<=defs-)[0-9a-f]{6}(?=")|(?<= trace)[0-9a-f]{6}(?=")')
_WORDS = 24  # pixels above a map, for a line
_PATIENCE = 300  # seconds; a busy machine is slow to draw


def write_figure(figure: go.Figure, path: str | Path) -> Path:
    """Write a figure as its file's suffix says, whole or not at all.

    ``html``: a page that needs no network; ``json``: plotly's; ``csv``: the numbers drawn (see ``COLUMNS``);
    ``png``, ``pdf``, ``svg``: through kaleido, which needs a Chromium.

    Raises AttnshiftError for another suffix, a place that can't be written, and where no Chromium is found.
    """
    path = Path(path)
    writer = _WRITERS.get(path.suffix.lower())
    if writer is None:
        raise AttnshiftError(
            f"{str(path)!r} doesn't say how to write the figure", expected=f"a suffix of {', '.join(_WRITERS)}"
        )
    if not path.parent.is_dir():
        raise _unwritable(path, f"{str(path.parent)!r} is no directory")
    written = writer(figure)
    try:
        with atomic(path) as temporary:
            temporary.write_bytes(written)
    except OSError as error:
        raise _unwritable(path, error.strerror or str(error)) from error
    return path


def find_browser() -> str | None:
    """The path of the Chrome or Chromium that images would be drawn with; None without one, or without kaleido."""
    try:
        import kaleido  # noqa: F401  (it draws)
        from choreographer.browsers.chromium import Chromium
    except ImportError:
        return None
    found = Chromium.find_browser(skip_local=False)
    return None if found is None else str(found)


def _html(figure: go.Figure) -> bytes:
    config = {"displaylogo": False, "responsive": True}
    page = figure.to_html(include_plotlyjs=True, include_mathjax=False, div_id="figure", config=config)
    return str(page).encode()


def _json(figure: go.Figure) -> bytes:
    return str(figure.to_json()).encode()


def _csv(figure: go.Figure) -> bytes:
    records: list[Sequence[object]] = [COLUMNS]
    for curve in sorted(figure.data, key=lambda curve: bool(curve.meta == NOISE)):
        if curve.meta not in (BAND, KEY):  # a band's numbers are its line's low and high
            rows = _cells(curve) if curve.type == "heatmap" else _points(curve)
            records += [[_plain(cell) for cell in (curve.name, _axis_of(figure, curve), *row)] for row in rows]
    return csv_text(records).encode()


def _plain(cell: object) -> object:
    """A cell that no spreadsheet takes for a formula: names come from data files, whoever wrote those."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(("=", "+", "-", "@", "\t", "\r")) else cell


def _axis_of(figure: go.Figure, curve: go.Scatter | go.Heatmap) -> str:
    """The title of what a curve's numbers are drawn on."""
    if curve.type == "heatmap":
        text = figure.layout[curve.coloraxis].colorbar.title.text if curve.coloraxis else curve.colorbar.title.text
    else:
        text = figure.layout["yaxis" + (curve.yaxis or "y")[1:]].title.text
    return (text or "").replace("<br>", " ")


def _points(curve: go.Scatter) -> Iterator[tuple[object, ...]]:
    """x, y, low and high; a line of ours keeps x, low and high beside what it draws, a band of noise all four."""
    if curve.meta == NOISE:
        yield from ((*point, None) for point in curve.customdata)
        return
    if curve.meta not in (LINE, RAW):
        for x, y, bounds in zip(curve.x, curve.y, _bars(curve), strict=True):
            yield x, y, *bounds, None
        return
    for (step, *bounds), y in zip(curve.customdata, curve.y, strict=True):
        yield step, y, *map(_known, bounds), None


def _bars(curve: go.Scatter) -> Iterator[tuple[float | None, float | None]]:
    """The ends of a curve's bars, upright or lying; None where there is none."""
    for values, bars in ((curve.y, curve.error_y), (curve.x, curve.error_x)):
        if bars.array is not None:
            below = bars.array if bars.arrayminus is None else bars.arrayminus
            yield from (
                (_known(value - down), _known(value + up))
                for value, down, up in zip(values, below, bars.array, strict=True)
            )
            return
    yield from ((None, None) for _ in curve.x)


def _known(number: float) -> float | None:
    return None if math.isnan(number) else number


def _cells(heat: go.Heatmap) -> Iterator[tuple[object, ...]]:
    """x, y and z of every cell that has a number."""
    for y, row in zip(heat.y, heat.z, strict=True):
        yield from ((x, y, None, None, z) for x, z in zip(heat.x, row, strict=True) if z is not None)


def _still(figure: go.Figure) -> go.Figure:
    """A figure on paper: no slider, but a word on where it stood."""
    if not figure.layout.sliders:
        return figure
    slider, still = figure.layout.sliders[0], without_slider(figure)
    words = f"{slider.currentvalue.prefix or ''}{slider.steps[slider.active or 0].label}"
    more = max(_WORDS - still.layout.margin.t, 0)
    still.update_layout(margin_t=still.layout.margin.t + more, height=still.layout.height + more)
    place = {"x": 1, "xref": "paper", "xanchor": "right", "y": 1, "yref": "paper", "yanchor": "bottom"}
    return still.add_annotation(text=words, showarrow=False, **place)


def _image(figure: go.Figure, suffix: str) -> bytes:
    """Through kaleido, never fetching MathJax from the network."""
    try:
        import kaleido
        from kaleido.errors import BrowserClosedError, BrowserFailedError, ChromeNotFoundError
    except ImportError as error:
        raise _no_browser(suffix, "kaleido isn't installed") from error
    options = {"format": suffix[1:], "scale": _PNG_SCALE if suffix == ".png" else 1}
    try:
        with warnings.catch_warnings():
            # A kaleido server that the caller started keeps the options it was started with.
            warnings.filterwarnings("ignore", message="The kopts argument is ignored")
            start = {"page_generator": _page(), "timeout": _PATIENCE}
            drawn = bytes(kaleido.calc_fig_sync(_still(figure), opts=options, kopts=start))
    except (BrowserClosedError, BrowserFailedError, ChromeNotFoundError, OSError) as error:
        raise _no_browser(suffix, "no Chrome or Chromium could be made to draw it") from error
    return _reproducible(drawn) if suffix == ".svg" else drawn


def _page() -> kaleido.PageGenerator:
    """Kaleido's page without MathJax, and without the tenth of an inch around a pdf that it would shrink figures by."""
    import kaleido

    page = kaleido.PageGenerator(mathjax=False)
    page.header += "<style>@page { margin: 0 }</style>"
    return page


def _reproducible(svg: bytes) -> bytes:
    """The same figure, the same file: plotly names its definitions and curves by chance, here they are numbered."""
    for number, name in enumerate(dict.fromkeys(_BY_CHANCE.findall(svg))):
        svg = svg.replace(name, b"%06d" % number)
    return svg


def _unwritable(path: Path, problem: str) -> AttnshiftError:
    remedy = "name a file in a directory that exists and can be written"
    return AttnshiftError(f"the figure can't be written to {str(path)!r}: {problem}", remedy=remedy)


def _no_browser(suffix: str, problem: str) -> AttnshiftError:
    return AttnshiftError(
        f"a {suffix} can't be drawn: {problem}",
        expected="kaleido 1 or newer, and Chrome or Chromium",
        remedy=NO_BROWSER,
    )


_WRITERS: Final[dict[str, Callable[[go.Figure], bytes]]] = {
    ".html": _html,
    ".json": _json,
    ".csv": _csv,
    **{suffix: partial(_image, suffix=suffix) for suffix in (".png", ".pdf", ".svg")},
}
