"""The prompts of a trace as pieces of text, each with the role of its tokens."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

import numpy as np
import xarray as xr

from attnshift.data.roles import CONTEXT_ROLES, TOKEN_ROLES, character_roles
from attnshift.data.templates import Rendered, Template, jinja_template
from attnshift.errors import AttnshiftError

LONGEST: Final = 4000
"""Characters of a prompt that are shown."""

Piece = tuple[str, str]
"""A role and a stretch of text."""


@dataclass(frozen=True)
class Prompts:
    """How a trace's prompts can be shown."""

    template: Template | None
    """what renders them again; None where it needs the tokenizer, as a chat template does"""

    @property
    def whole(self) -> bool:
        """Whether the template's own words are shown too."""
        return self.template is not None

    def pieces(
        self, context: str, question: str, context_answers: Sequence[str], parametric_answers: Sequence[str]
    ) -> list[Piece]:
        """The prompt as fed, in pieces; where the template's words aren't known, context and question alone."""
        rendered = self._render(context, question, context_answers[0])
        roles = character_roles(rendered, context_answers, parametric_answers)[: len(rendered.prompt)]
        return list(_shortened(_runs(rendered.prompt, roles.tolist())))

    def _render(self, context: str, question: str, answer: str) -> Rendered:
        if self.template is not None:
            try:
                return self.template.render(context, question, answer)
            except AttnshiftError:  # it rendered while it was traced: only the fields are certain now
                pass
        start, end = len(context) + 2, len(context) + 2 + len(question)
        return Rendered(f"{context}\n\n{question}", (0, len(context)), (start, end), (end, end))


def prompts_of(trace: xr.Dataset) -> Prompts:
    """How to show a trace's prompts: by the template that it keeps, in the sandbox, where that needs no tokenizer."""
    name, source = str(trace.attrs.get("template", "")), str(trace.attrs.get("template_source", ""))
    if not source or name == "chat":
        return Prompts(None)
    try:
        return Prompts(jinja_template(name, source))
    except AttnshiftError:
        return Prompts(None)


def prompts_by_item(trace: xr.Dataset) -> list[list[Piece]]:
    """Every item's prompt in pieces."""
    shown = prompts_of(trace)
    fields = [texts(trace, f"item_{field}") for field in ("context", "question")]
    answers = [_answers(trace, which) for which in ("context", "parametric")]
    return [shown.pieces(*fed) for fed in zip(*fields, *answers, strict=True)]


def texts(trace: xr.Dataset, name: str) -> list[str]:
    """A variable or coordinate of texts; none where the trace lacks it."""
    return [str(text) for text in trace[name].values] if name in trace.variables else []


def _answers(trace: xr.Dataset, which: str) -> list[tuple[str, ...]]:
    """Every item's answer with its aliases; ``which`` is context or parametric."""
    answers = texts(trace, f"item_{which}_answer")
    aliases = texts(trace, f"item_{which}_aliases") or ["[]"] * len(answers)
    return [(answer, *map(str, json.loads(others))) for answer, others in zip(answers, aliases, strict=True)]


def tokens_by_role(trace: xr.Dataset, roles: Sequence[str]) -> np.ndarray | None:
    """item × role: how many tokens of the prompt have the role; None where the trace keeps no roles."""
    if "token_role" not in trace:
        return None
    codes = trace["token_role"].transpose("item", "position").values
    code_of = {name: code for code, name in enumerate(TOKEN_ROLES)}
    return np.stack([(codes == code_of.get(role, -1)).sum(-1) for role in roles], -1)


def _runs(text: str, roles: Sequence[int]) -> Iterator[Piece]:
    """Neighbouring characters of one role as a piece."""
    start = 0
    for code, run in groupby(roles):
        end = start + len(list(run))
        yield TOKEN_ROLES[code], text[start:end]
        start = end


def _shortened(pieces: Iterator[Piece]) -> Iterator[Piece]:
    """Long pieces of context lose their middle, so that the question and both answers stay in sight."""
    found = list(pieces)
    spare = sum(len(text) for _, text in found) - LONGEST
    for role, text in found:
        if spare > 0 and role in CONTEXT_ROLES and len(text) > 240:
            cut = min(spare, len(text) - 200)
            spare -= cut
            half = (len(text) - cut) // 2
            text = f"{text[:half]} […{cut:,} characters…] {text[len(text) - half :]}"
        yield role, text
