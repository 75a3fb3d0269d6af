"""The report: verdict, checks, figures and items of one trace on a page that needs no network."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from math import isfinite
from pathlib import Path
from typing import Final

import xarray as xr

from attnshift.atomic import atomic
from attnshift.errors import AttnshiftError
from attnshift.figures.plot import Trace
from attnshift.figures.theme import COLOURS
from attnshift.report.checks import STATES, checks_of
from attnshift.report.embed import as_json, content_policy
from attnshift.report.figures import figures_of
from attnshift.report.items import TURNS, Items, items_of
from attnshift.report.origin import origin_of
from attnshift.stats.verdict import Phases, Verdict, verdict

TITLE: Final = "Context reliance over finetuning"

_HERE: Final = Path(__file__).parent
_COUNTED: Final = {"item": "conflict items", "example": "examples"}


@dataclass(frozen=True)
class _Told:
    """The verdict, or why there is none."""

    verdict: Verdict | None
    problem: str = ""


def write_report(
    trace: Trace,
    path: str | Path,
    title: str = TITLE,
    notes: Sequence[str] = (),
    found: Verdict | None = None,
) -> Path:
    """Write the page of one run's trace, opened or named by its directory.

    The verdict in words and numbers; what has to hold for it, checked; every figure that the trace has the numbers
    for; the items, with prompts by role and the answer at every checkpoint; how all of it was made. One file that asks
    nothing of the network; all text that comes from data is escaped.

    ``notes`` are the reader's caveats, shown under the verdict; ``found`` is the trace's verdict where it is at hand.

    Raises AttnshiftError for several runs or no trace, and where the page can't be written.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise _unwritable(path, f"{str(path.parent)!r} is no directory")
    text = _page(_opened(trace), title, notes, found)
    try:
        with atomic(path) as temporary:
            temporary.write_bytes(text.encode("utf-8", "replace"))
    except OSError as error:
        raise _unwritable(path, error.strerror or str(error)) from error
    return path


def _unwritable(path: Path, problem: str) -> AttnshiftError:
    return AttnshiftError(
        f"the report can't be written to {str(path)!r}: {problem}",
        remedy="name a file in a directory that exists and can be written",
    )


def _opened(trace: Trace) -> xr.Dataset:
    if not isinstance(trace, xr.Dataset):
        from attnshift.tracing.dataset import open_trace  # only a path needs the reader

        trace = open_trace(trace)
    if "run" in trace.dims or "step" not in trace.dims:
        raise AttnshiftError(
            f"a report of a trace with the dims {', '.join(map(str, trace.dims))}",
            expected="the trace of one run, with its steps",
            remedy="trace.sel(run=NAME) for one of several runs, trace.isel(step=[i]) for a single step",
        )
    return trace


def _page(trace: xr.Dataset, title: str, notes: Sequence[str], found: Verdict | None) -> str:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    styles, program = _styles(), "\n".join(_text(name) for name in ("figures.js", "items.js"))
    plotly = _plotly()
    told = _Told(found) if found is not None else _told(trace)
    items = items_of(trace)
    shown, left_out = figures_of(trace)
    environment = Environment(
        loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["unbroken"] = _unbroken
    return environment.get_template("page.html.jinja").render(
        title=title,
        subtitle=_subtitle(trace),
        policy=content_policy([plotly, program]),
        styles=styles,
        plotly=plotly,
        program=program,
        told=told,
        columns=[] if told.verdict is None else [f"step {step:,}" for step in told.verdict.steps],
        table=[] if told.verdict is None else list(_table(told.verdict)),
        notes=list(notes),
        checks=checks_of(trace),
        states=STATES,
        figures=shown,
        left_out=left_out,
        figures_json=as_json({figure.name: figure.spec for figure in shown}),
        items=items,
        turns=_turns(items),
        items_json=as_json(items.payload if items else None),
        origin=origin_of(trace),
    )


def _told(trace: xr.Dataset) -> _Told:
    try:
        return _Told(verdict(trace))
    except AttnshiftError as error:
        return _Told(None, error.problem)


def _table(found: Verdict) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Rows of numbers at start, peak and end, each with its 95 % interval where it has one."""
    rows: list[tuple[str, Phases | None, str]] = [
        ("counterfactual accuracy (%)", found.counterfactual, ".1f"),
        ("parametric accuracy (%)", found.parametric, ".1f"),
        ("context mass (probability)", found.context_mass, ".3f"),
        ("held-out examples answered right (%)", found.heldout, ".1f"),
        ("critical examples' part of the loss (%)", found.loss_share, ".1f"),
        ("gradient norm, critical / non-critical", found.gradient_ratio, ",.2f"),
    ]
    bounds = [f"{low:.0f} to {high:.0f}" if isfinite(low + high) else "" for low, high in found.certainty.intervals]
    for name, phases, form in rows:
        if phases is not None:
            of_items = bounds if phases is found.counterfactual else ["", "", ""]
            yield name, [(format(value, form), interval) for value, interval in zip(phases, of_items, strict=True)]


def _unbroken(text: str) -> str:
    """A text whose numbers stay on a line with their signs."""
    return re.sub(r" (?=%)|(?<=\bp) (?=[=<])|(?<=[=<]) (?=\.)", "\u00a0", text)


def _subtitle(trace: xr.Dataset) -> str:
    steps = trace["step"].values
    counted = f"{len(steps)} checkpoints, steps {int(steps[0]):,} to {int(steps[-1]):,}"
    sizes = [f"{trace.sizes[dim]:,} {name}" for dim, name in _COUNTED.items() if trace.sizes.get(dim)]
    return ", ".join([*sizes, counted])


def _turns(items: Items | None) -> dict[str, str]:
    """Ways to pick items, with how many each gives."""
    return {} if items is None else {turn: f"{name} ({items.counts[turn]})" for turn, name in TURNS.items()}


def _styles() -> str:
    """The style sheet, with the house's colours by their meaning."""
    colours = "".join(f"--{name}:{COLOURS[name]};" for name in ("context", "parametric", "question", "both", "neither"))
    return f":root{{{colours}}}\n{_text('page.css')}"


@cache
def _text(name: str) -> str:
    """A file of this folder."""
    return (_HERE / name).read_text(encoding="utf-8").strip()


@cache
def _plotly() -> str:
    from plotly.offline import get_plotlyjs

    return str(get_plotlyjs()).strip()
