"""Figures by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import plotly.graph_objects as go
import xarray as xr

from attnshift.errors import AttnshiftError
from attnshift.figures.export import write_figure
from attnshift.figures.gradients import gradients
from attnshift.figures.inversion import inversion
from attnshift.figures.losses import losses
from attnshift.figures.margin import margin

FIGURES: Final[dict[str, Callable[..., go.Figure]]] = {
    "inversion": inversion,
    "losses": losses,
    "gradients": gradients,
    "margin": margin,
}
"""Each takes a trace and its own options."""


def list_figures() -> dict[str, str]:
    """What each figure shows, in a line."""
    return {name: (inspect.getdoc(figure) or "").partition("\n")[0] for name, figure in FIGURES.items()}


def plot(trace: xr.Dataset | str | Path, figure: str, out: str | Path | None = None, **options: Any) -> go.Figure:
    """Draw a figure of a trace, opened or named by its directory; written too where ``out`` says where to.

    The options are the figure's own; all take ``log_steps=True``. See ``write_figure`` for the formats of ``out``.

    Raises AttnshiftError for an unknown figure or option, a trace that can't be opened or lacks what the figure
    draws, and a file that can't be written.
    """
    if figure not in FIGURES:
        raise AttnshiftError(f"there is no figure {figure!r}", expected=f"one of {', '.join(FIGURES)}")
    known = list(inspect.signature(FIGURES[figure]).parameters)[1:]
    if unknown := [option for option in options if option not in known]:
        raise AttnshiftError(f"{figure} has no option {unknown[0]!r}", expected=f"one of {', '.join(known)}")
    if not isinstance(trace, xr.Dataset):
        from attnshift.tracing.dataset import open_trace  # only a path needs the reader

        trace = open_trace(trace)
    drawn = FIGURES[figure](trace, **options)
    if out is not None:
        write_figure(drawn, out)
    return drawn
