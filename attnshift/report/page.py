"""A first report: the verdict, its numbers and the figures on one page that needs no network."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
import xarray as xr

from attnshift.errors import AttnshiftError
from attnshift.figures.gradients import gradients
from attnshift.figures.inversion import inversion
from attnshift.figures.losses import losses
from attnshift.figures.margin import margin
from attnshift.stats.verdict import Phases, Verdict, verdict
from attnshift.tracing.atomic import atomic

_PAGE = Path(__file__).with_name("page.html.jinja")
_FIGURES = (inversion, losses, gradients, margin)


def write_report(
    trace: xr.Dataset,
    path: str | Path,
    title: str = "Context reliance over finetuning",
    notes: Sequence[str] = (),
    found: Verdict | None = None,
) -> Path:
    """Write the page of one run's trace; a figure whose measures the trace lacks is left out.

    ``notes`` are the reader's caveats, shown under the verdict; ``found`` is the trace's verdict where it is at hand.
    All text that comes from data is escaped.

    Raises AttnshiftError where the trace has no accuracies and where the page can't be written.
    """
    from jinja2 import Environment, StrictUndefined
    from plotly.offline import get_plotlyjs

    path = Path(path)
    found = found or verdict(trace)
    page = Environment(autoescape=True, undefined=StrictUndefined).from_string(_PAGE.read_text(encoding="utf-8"))
    text = page.render(
        title=title,
        subtitle=f"{trace.sizes['item']} conflict items, {trace.sizes['step']} checkpoints",
        sentences=found.sentences(),
        columns=[f"step {step:,}" for step in found.steps],
        table=list(_table(found)),
        notes=list(notes),
        figures=list(_divs(trace)),
        prompt=f"{trace.item_context.values[0]}\n{trace.item_question.values[0]}",
        answers=(str(trace.item_context_answer.values[0]), str(trace.item_parametric_answer.values[0])),
        origin=list(_origin(trace)),
        plotly_js=get_plotlyjs(),
    )
    try:
        with atomic(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    except OSError as error:
        raise AttnshiftError(
            f"the report can't be written to {str(path)!r}: {error.strerror or error}",
            remedy="name a file in a directory that exists and can be written",
        ) from error
    return path


def _table(found: Verdict) -> Iterator[tuple[str, list[str]]]:
    rows: list[tuple[str, Phases | None, str]] = [
        ("counterfactual accuracy (%)", found.counterfactual, ".1f"),
        ("parametric accuracy (%)", found.parametric, ".1f"),
        ("context mass (probability)", found.context_mass, ".3f"),
        ("held-out examples answered right (%)", found.heldout, ".1f"),
        ("critical examples' part of the loss (%)", found.loss_share, ".1f"),
        ("gradient norm, critical / non-critical", found.gradient_ratio, ",.2f"),
    ]
    for name, phases, form in rows:
        if phases is not None:
            yield name, [format(value, form) for value in phases]


def _divs(trace: xr.Dataset) -> Iterator[str]:
    """The figures as HTML, steps on a log axis: most happens early."""
    several = trace.sizes["step"] > 2
    for draw in _FIGURES:
        try:
            figure: go.Figure = draw(trace, log_steps=several)
        except AttnshiftError:
            continue  # the trace lacks what it draws
        config = {"displaylogo": False}
        yield figure.to_html(
            full_html=False, include_plotlyjs=False, include_mathjax=False, config=config, div_id=draw.__name__
        )


def _origin(trace: xr.Dataset) -> Iterator[tuple[str, str]]:
    attributes = trace.attrs
    for term in ("run", "attnshift_version", "torch", "transformers", "device", "dtype", "grouping"):
        if term in attributes:
            yield term.replace("_", " "), str(attributes[term])
    recipe = json.loads(attributes["recipe"]) if "recipe" in attributes else {}
    yield from ((name, str(value)) for name, value in recipe.items())
    if "checkpoint_digest" in trace.coords:
        digests = np.atleast_1d(trace["checkpoint_digest"].values)
        yield (
            "weights",
            " ".join(f"{step}:{digest[:8]}" for step, digest in zip(trace.step.values, digests, strict=True)),
        )
