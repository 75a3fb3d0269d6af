"""The label of a generated answer: whose answer does it assert?"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Literal, get_args

from attnshift.scoring.answers import Answers, compile_answers
from attnshift.scoring.mentions import find_mentions
from attnshift.scoring.numbers import merge_numbers
from attnshift.scoring.polarity import is_polar, polar_label
from attnshift.scoring.rules import DENIED
from attnshift.scoring.segment import first_segment
from attnshift.scoring.stance import strengths
from attnshift.scoring.tokens import Token, tokenise

Label = Literal["context", "parametric", "both", "neither"]
LABELS: tuple[Label, ...] = get_args(Label)

SCORER = "attnshift-rules"
SCORER_VERSION = 5
"""Rises whenever a rule changes a label, so that labels of two scorers are never mixed unseen."""


def label_answer(
    text: str,
    context_answer: str,
    parametric_answer: str,
    context_aliases: Sequence[str] = (),
    parametric_aliases: Sequence[str] = (),
) -> Label:
    """Which answer a generated text gives.

    Only the first segment counts: up to the first newline, end-of-sequence (its literal spelling too, even cut off) or
    run-on template. An asserted answer counts; one that is denied, merely contrasted or merely quoted doesn't.
    docs/scoring.md has the rules and how often they are right.

    Parameters
    ----------
    text
        What the model generated, raw.
    context_answer, parametric_answer
        The answers; alternatives inside a field ("La Paz (administrative); Sucre (judicial)") all count.
    context_aliases, parametric_aliases
        Further spellings.

    Returns
    -------
    ``context`` or ``parametric``; ``both`` if both are asserted, ``neither`` if none is.
    """
    return _label(
        text, (context_answer, *_several(context_aliases)), (parametric_answer, *_several(parametric_aliases))
    )


def _several(aliases: Sequence[str]) -> Sequence[str]:
    return (aliases,) if isinstance(aliases, str) else aliases


@lru_cache(maxsize=65536)
def _label(text: str, context: tuple[str, ...], parametric: tuple[str, ...]) -> Label:
    segment = first_segment(text)
    if not segment:
        return "neither"
    tokens = merge_numbers(tokenise(segment))
    if is_polar(context[0], parametric[0]):
        return polar_label(tokens, context[0])
    best = _best(tokens, compile_answers(context, parametric))
    highest = max(best)
    if highest <= DENIED:
        return "neither"
    if best[0] == best[1]:
        return "both"
    return "context" if best[0] == highest else "parametric"


def _best(tokens: list[Token], answers: Answers) -> list[int]:
    """The strongest assertion of either answer."""
    mentions = find_mentions(tokens, answers)
    best = [DENIED, DENIED]
    for mention, strength in zip(mentions, strengths(tokens, mentions) if mentions else (), strict=True):
        best[mention.side] = max(best[mention.side], strength)
    return best
