"""Figures by name, and the traces that they are drawn of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from attnshift.errors import AttnshiftError


def figure_facts(trace: str | None) -> dict[str, Any]:
    """Every figure as plain data; with a trace, also the variables that it lacks for each."""
    from attnshift.figures.plot import FIGURES
    from attnshift.tracing.dataset import open_trace

    held = None if trace is None else set(open_trace(trace).data_vars)
    facts: dict[str, Any] = {}
    for name, kind in FIGURES.items():
        facts[name] = {"about": kind.about, "of": kind.of, "reads": list(kind.reads), "options": list(kind.options)}
        if held is not None:
            facts[name]["lacks"] = [variable for variable in kind.reads if variable not in held]
    return facts


def figure_lines(facts: Mapping[str, Any]) -> str:
    """A line per figure, and what a trace lacks for it."""
    widest = max(map(len, facts))
    lines = []
    for name, fact in facts.items():
        lines.append(f"{name:{widest}}  {fact['about']}")
        if fact.get("lacks"):
            lines.append(f"{'':{widest}}  not of this trace: it has no {', '.join(fact['lacks'])}")
    return "\n".join(lines)


def named_trace(text: str) -> tuple[str, str]:
    """Name and directory of ``NAME=DIR``; a directory alone is named by its run, the folder that it lies in."""
    name, equals, place = text.partition("=")
    if equals and not Path(text).is_dir():
        return name, place
    path = Path(text).resolve()
    return (path.parent.name if path.name == "trace" else path.name), text


def sources(figure: str, trace: str | None, others: Sequence[str]) -> str | dict[str, str] | None:
    """What a figure is to be drawn of; raises AttnshiftError for traces too many or named alike."""
    from attnshift.figures.plot import find_figure

    if trace is None:
        return None
    if find_figure(figure).of != "traces":
        if others:
            raise AttnshiftError(
                f"{figure} is drawn of one trace, and --with names {others[0]!r} too",
                remedy="leave --with out, or ask for a figure of several traces: attnshift plot --list",
            )
        return named_trace(trace)[1]
    named: dict[str, str] = {}
    for text in (trace, *others):
        name, place = named_trace(text)
        if name in named:
            raise AttnshiftError(
                f"two traces are called {name!r}: {named[name]} and {place}", remedy="name them: NAME=DIR"
            )
        named[name] = place
    return named
