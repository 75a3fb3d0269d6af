"""Figures as files: pages, numbers and images."""

from __future__ import annotations

import csv
import io
import math
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Final

import plotly.graph_objects as go

from attnshift.errors import AttnshiftError
from attnshift.figures.series import BAND, LINE
from attnshift.tracing.atomic import atomic

COLUMNS: Final = ("series", "axis", "x", "y", "low", "high")
"""Columns of a figure's CSV: the curve, the title of its y axis, and the numbers drawn, in data units."""

_PNG_SCALE = 3  # a figure 700 pixels wide becomes 300 dots per inch at the width of a page's text
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


def _html(figure: go.Figure) -> bytes:
    config = {"displaylogo": False, "responsive": True}
    page = figure.to_html(include_plotlyjs=True, include_mathjax=False, div_id="figure", config=config)
    return str(page).encode()


def _json(figure: go.Figure) -> bytes:
    return str(figure.to_json()).encode()


def _csv(figure: go.Figure) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for curve in figure.data:
        if curve.meta != BAND:  # its numbers are its line's low and high
            axis = figure.layout["yaxis" + (curve.yaxis or "y")[1:]].title.text or ""
            writer.writerows([curve.name, axis.replace("<br>", " "), *row] for row in _points(curve))
    return text.getvalue().encode()


def _points(curve: go.Scatter) -> Iterator[tuple[object, ...]]:
    """x, y, low and high; a line of ours keeps x, low and high beside what it draws."""
    if curve.meta != LINE:
        yield from ((x, y, None, None) for x, y in zip(curve.x, curve.y, strict=True))
        return
    for (step, *bounds), y in zip(curve.customdata, curve.y, strict=True):
        yield step, y, *(None if math.isnan(bound) else bound for bound in bounds)


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
            start = {"mathjax": False, "timeout": _PATIENCE}
            return bytes(kaleido.calc_fig_sync(figure, opts=options, kopts=start))
    except (BrowserClosedError, BrowserFailedError, ChromeNotFoundError, OSError) as error:
        raise _no_browser(suffix, "no Chrome or Chromium could be made to draw it") from error


def _unwritable(path: Path, problem: str) -> AttnshiftError:
    remedy = "name a file in a directory that exists and can be written"
    return AttnshiftError(f"the figure can't be written to {str(path)!r}: {problem}", remedy=remedy)


def _no_browser(suffix: str, problem: str) -> AttnshiftError:
    return AttnshiftError(
        f"a {suffix} can't be drawn: {problem}",
        expected="kaleido 1 or newer, and Chrome or Chromium",
        remedy="apt-get install chromium, or pip install 'attnshift[figures]' and plotly_get_chrome; or write .html",
    )


_WRITERS: Final[dict[str, Callable[[go.Figure], bytes]]] = {
    ".html": _html,
    ".json": _json,
    ".csv": _csv,
    **{suffix: partial(_image, suffix=suffix) for suffix in (".png", ".pdf", ".svg")},
}
