"""What the scripts that draw a figure share: arguments, the organism where no trace is named, the file.

Each is `python -m analyses.NAME [TRACE | NAME=TRACE ...] [-o FILE] [--width one|two]`. Without a trace the organism is
drawn: `demo/trace`, and for arms `demo-arms/ARM/trace` beside it, built first where they are missing (minutes), as
`attnshift demo` and `attnshift demo --arm ARM` would, all on the pretrained model of `demo/run`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import plotly.graph_objects as go

import attnshift
from attnshift.console.plot import sources
from attnshift.figures.plot import FIGURES, Trace
from attnshift.figures.theme import SIZES
from attnshift.models.quiet import quiet_libraries

DEMO, ARMS = Path("demo"), Path("demo-arms")

Arguments = Sequence[str] | None
"""Of the command line; sys.argv's where None."""


def draw(script: str, caption: str | None, figures: Sequence[str], arguments: Arguments, **options: Any) -> go.Figure:
    """Draw one trace: the first of the figures that it has the numbers for."""

    def find(named: str | None) -> tuple[str, Trace]:
        trace = attnshift.open_trace(named or organism())
        return next((name for name in figures if set(FIGURES[name].reads) <= set(trace)), figures[0]), trace

    return _drawn(_parser(script, caption, several=False), arguments, find, options)


def overlay(
    script: str, caption: str | None, arms: Mapping[str, str], arguments: Arguments, **options: Any
) -> go.Figure:
    """Draw arms over each other; ``arms`` are the organism's: what the legend calls them, and their names."""

    def find(named: Sequence[str]) -> tuple[str, Any]:
        first, *others = named or [f"{name}={organism(arm)}" for name, arm in arms.items()]
        return "arms", sources("arms", first, others)

    return _drawn(_parser(script, caption, several=True), arguments, find, options)


def organism(arm: str = "full") -> Path:
    """The trace of an arm of the organism, built where it isn't whole yet: a demo's report is written last."""
    place = DEMO if arm == "full" else ARMS / arm
    if not (place / "report.html").is_file():
        base = None if arm == "full" else organism().parent / "run"
        quiet_libraries()
        attnshift.demo(place, arm=arm, base=base, say=lambda line: print(f"{place}: {line}", flush=True))
    return place / "trace"


def _drawn(
    parser: argparse.ArgumentParser, arguments: Arguments, find: Callable[..., Any], options: Mapping[str, Any]
) -> go.Figure:
    """Exit code 2 and one block on stderr for bad input, as the command line does."""
    given = parser.parse_args(arguments)
    try:
        figure, trace = find(given.trace)
        drawn = attnshift.plot(trace, figure, given.out, given.width, **options)
    except attnshift.AttnshiftError as error:
        parser.exit(2, f"error: {error}\n")
    print(f"{figure}: {given.out}")
    return drawn


def _parser(script: str, caption: str | None, several: bool) -> argparse.ArgumentParser:
    name = Path(script).stem
    parser = argparse.ArgumentParser(f"python -m analyses.{name}", description=caption)
    told = "NAME=DIR of traces, one per curve" if several else "directory of a trace"
    parser.add_argument("trace", nargs="*" if several else "?", help=f"{told}; the organism's where none is named")
    parser.add_argument("-o", "--out", default=f"{name}.html", help="fig.html, .pdf, .svg, .png, .json or .csv")
    parser.add_argument("--width", choices=list(SIZES), default="screen", help="a screen, one column of a paper or two")
    return parser
