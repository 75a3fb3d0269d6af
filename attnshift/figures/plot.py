"""Figures by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import plotly.graph_objects as go
import xarray as xr

from attnshift.errors import AttnshiftError
from attnshift.figures.arms import arms
from attnshift.figures.attention import attention, attention_heads, attention_layers
from attnshift.figures.attribution import attribution, lens
from attnshift.figures.benchmark import benchmark, heldout
from attnshift.figures.by_layer import external_context, lookback, parametric_knowledge, retrieval
from attnshift.figures.export import write_figure
from attnshift.figures.fit import fit
from attnshift.figures.forecast import forecast
from attnshift.figures.gradients import gradients
from attnshift.figures.grafts import graft_layers, graft_map, graft_parts, graft_search
from attnshift.figures.inversion import inversion
from attnshift.figures.knockout import mass_against_effect_of_heads
from attnshift.figures.labels import labels
from attnshift.figures.losses import losses
from attnshift.figures.margin import margin
from attnshift.figures.parts import parts
from attnshift.figures.patches import patch_map
from attnshift.figures.push import cosine, push
from attnshift.figures.quartiles import quartiles
from attnshift.figures.theme import SIZES
from attnshift.figures.theory import theory, theory_phases
from attnshift.figures.values import read_by

Trace = xr.Dataset | str | Path
"""A trace, opened or named by its directory."""

Of = Literal["trace", "traces", "nothing", "patch", "graft"]
"""What a figure is drawn of: one trace, several by name, nothing but its own options, or the result of a command."""


@dataclass(frozen=True)
class Kind:
    """A figure that can be asked for by name."""

    draw: Callable[..., go.Figure]
    """takes what the figure is drawn of, if anything, and its own options; its docstring's first line is listed"""
    of: Of = "trace"

    @property
    def about(self) -> str:
        """What it shows, in a line."""
        return (inspect.getdoc(self.draw) or "").partition("\n")[0]

    @property
    def options(self) -> tuple[str, ...]:
        """The names of its options."""
        return tuple(inspect.signature(self.draw).parameters)[self.of != "nothing" :]

    @property
    def reads(self) -> tuple[str, ...]:
        """The variables of a trace that it can't do without."""
        return read_by(self.draw)


FIGURES: Final[dict[str, Kind]] = {
    "inversion": Kind(inversion),
    "losses": Kind(losses),
    "gradients": Kind(gradients),
    "margin": Kind(margin),
    "labels": Kind(labels),
    "benchmark": Kind(benchmark),
    "heldout": Kind(heldout),
    "attention": Kind(attention),
    "attention_layers": Kind(attention_layers),
    "attention_heads": Kind(attention_heads),
    "attribution": Kind(attribution),
    "lens": Kind(lens),
    "lookback": Kind(lookback),
    "retrieval": Kind(retrieval),
    "external_context": Kind(external_context),
    "parametric_knowledge": Kind(parametric_knowledge),
    "mass_against_effect": Kind(mass_against_effect_of_heads),
    "push": Kind(push),
    "cosine": Kind(cosine),
    "parts": Kind(parts),
    "quartiles": Kind(quartiles),
    "forecast": Kind(forecast),
    "arms": Kind(arms, of="traces"),
    "patch": Kind(patch_map, of="patch"),
    "graft": Kind(graft_parts, of="graft"),
    "graft_map": Kind(graft_map, of="graft"),
    "graft_layers": Kind(graft_layers, of="graft"),
    "graft_search": Kind(graft_search, of="graft"),
    "theory": Kind(theory, of="nothing"),
    "theory_phases": Kind(theory_phases, of="nothing"),
}


def list_figures() -> dict[str, str]:
    """What each figure shows, in a line."""
    return {name: kind.about for name, kind in FIGURES.items()}


def plot(
    trace: Trace | Mapping[str, Trace] | None,
    figure: str,
    out: str | Path | None = None,
    width: str = "screen",
    **options: Any,
) -> go.Figure:
    """Draw a figure of a trace, opened or named by its directory; written too where ``out`` says where to.

    ``width`` is ``screen`` (with a title), or ``one`` or ``two`` for that many columns of a paper. A figure of several
    traces takes a mapping of names to traces, one of nothing takes None; one of a patch or a graft its result, its file
    or the folder that holds it. The options are the figure's own
    (``FIGURES[name].options``). See ``write_figure`` for the formats of ``out``.

    Raises AttnshiftError for an unknown figure, width or option, a trace that can't be opened or lacks what the figure
    draws, and a file that can't be written.
    """
    kind = find_figure(figure)
    if width not in SIZES:
        raise AttnshiftError(f"there is no width {width!r}", expected=f"one of {', '.join(SIZES)}")
    if unknown := [option for option in options if option not in kind.options]:
        expected = f"one of {', '.join(kind.options)}" if kind.options else "no options"
        raise AttnshiftError(f"{figure} has no option {unknown[0]!r}", expected=expected)
    drawn = fit(kind.draw(*_drawn_of(kind, figure, trace), **options), SIZES[width])
    if out is not None:
        write_figure(drawn, out)
    return drawn


def find_figure(name: str) -> Kind:
    """A figure by its name; raises AttnshiftError that lists the names."""
    if name not in FIGURES:
        raise AttnshiftError(f"there is no figure {name!r}", expected=f"one of {', '.join(FIGURES)}")
    return FIGURES[name]


def _drawn_of(kind: Kind, figure: str, trace: Trace | Mapping[str, Trace] | None) -> list[Any]:
    """What a figure is drawn of, opened; raises AttnshiftError where it is something else."""
    several = isinstance(trace, Mapping) and not isinstance(trace, xr.Dataset)
    single: Of = kind.of if kind.of in ("patch", "graft") else "trace"
    given: Of = "nothing" if trace is None else "traces" if several else single
    if given != kind.of:
        words = {"trace": "one trace", "traces": "several traces, each with its name", "nothing": "no trace"}
        words |= {result: f"what `attnshift {result}` wrote" for result in ("patch", "graft")}
        raise AttnshiftError(f"{figure} can't be drawn of {words[given]}", expected=words[kind.of])
    if trace is None:
        return []
    if isinstance(trace, Mapping) and not isinstance(trace, xr.Dataset):
        return [{str(name): _opened(one) for name, one in trace.items()}]
    return [_opened(trace) if given == "trace" else _result(trace, given)]


def _result(result: Trace, kind: str) -> xr.Dataset:
    from attnshift.interventions.stored import open_result, require_kind

    return require_kind(result, kind) if isinstance(result, xr.Dataset) else open_result(result, kind)


def _opened(trace: Trace) -> xr.Dataset:
    if isinstance(trace, xr.Dataset):
        return trace
    from attnshift.tracing.dataset import open_trace  # only a path needs the reader

    return open_trace(trace)
