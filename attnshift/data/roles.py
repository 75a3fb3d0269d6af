"""What each character, and so each token, of a prompt is for."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import Int8
from numpy.typing import NDArray

from attnshift.data.templates import Rendered, Span

TOKEN_ROLES = ("bos", "template", "context", "context_answer", "parametric_answer", "question", "answer", "pad")
"""The roles a token can have; its code is the position in this tuple."""

KEY_ROLES = (*TOKEN_ROLES[:-1], "sink")
"""What attention mass is summed over: every token role but ``pad``, and the learned sink of models that have one."""

CONTEXT_ROLES = ("context", "context_answer", "parametric_answer")
"""Their sum is the context mass."""

BOS, TEMPLATE, CONTEXT, CONTEXT_ANSWER, PARAMETRIC_ANSWER, QUESTION, ANSWER, PAD = range(len(TOKEN_ROLES))


def find_answers(
    context: str, context_answers: Sequence[str], parametric_answers: Sequence[str]
) -> list[tuple[Span, int]]:
    """Every whole-word occurrence of an answer in the context, with its role.

    An answer is looked for as it is spelt, and in any case where that spelling doesn't occur (so "US"
    doesn't match every "us"). Where two occurrences overlap the longer wins, then the context's answer.
    """
    found = [(span, CONTEXT_ANSWER) for answer in context_answers for span in _occurrences(context, answer)]
    found += [(span, PARAMETRIC_ANSWER) for answer in parametric_answers for span in _occurrences(context, answer)]
    found.sort(key=lambda hit: (hit[0][0] - hit[0][1], hit[1]))
    kept: list[tuple[Span, int]] = []
    for (start, end), role in found:
        if all(end <= other[0] or other[1] <= start for other, _ in kept):
            kept.append(((start, end), role))
    return kept


def character_roles(
    rendered: Rendered, context_answers: Sequence[str], parametric_answers: Sequence[str]
) -> Int8[np.ndarray, "character"]:
    """The role of every character of the rendered text."""
    roles = np.full(len(rendered.text), TEMPLATE, np.int8)
    roles[slice(*rendered.question)] = QUESTION
    roles[rendered.answer[0] :] = ANSWER
    if rendered.context is not None:
        start, end = rendered.context
        roles[start:end] = CONTEXT
        for (first, last), role in find_answers(rendered.text[start:end], context_answers, parametric_answers):
            roles[start + first : start + last] = role
    return roles


def token_roles(
    text: str, offsets: Sequence[Span], roles: Int8[np.ndarray, "character"]
) -> Int8[np.ndarray, "position"]:
    """The role of every token: that of its first character that isn't white space."""
    return np.fromiter((_token_role(text, span, roles) for span in offsets), np.int8, len(offsets))


def _token_role(text: str, span: Span, roles: NDArray[np.int8]) -> int:
    start, end = span
    first = next((i for i in range(start, end) if not text[i].isspace()), start)
    return int(roles[first]) if first < len(roles) else TEMPLATE


def _occurrences(text: str, answer: str) -> Iterable[Span]:
    words = answer.split()
    if not words:
        return []
    pattern = r"(?<!\w)" + r"\s+".join(map(re.escape, words)) + r"(?!\w)"
    spelt, in_any_case = (
        [m.span() for m in re.finditer(pattern, text, flags) if not _marked(text, m.start() - 1, m.end())]
        for flags in (re.NOFLAG, re.IGNORECASE)
    )
    return spelt or in_any_case


def _marked(text: str, *neighbours: int) -> bool:
    """Whether a neighbour is a combining mark: a part of a word that ``\\w`` doesn't count as one."""
    return any(0 <= i < len(text) and unicodedata.category(text[i]).startswith("M") for i in neighbours)
