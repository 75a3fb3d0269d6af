"""Answers that are yes and no, or true and false: the first word that says either decides."""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

from attnshift.scoring.tokens import Token, tokenise

_AFFIRMING = frozenset("yes yeah yep true correct right indeed certainly affirmative".split())
_DENYING = frozenset("no nope nah false incorrect wrong untrue negative not".split())
_PAIRS = ({"yes", "no"}, {"true", "false"})


@lru_cache(maxsize=8192)
def is_polar(context_answer: str, parametric_answer: str) -> bool:
    """Whether one answer is yes (or true) and the other no (or false)."""
    return {_word(context_answer), _word(parametric_answer)} in _PAIRS


def polar_label(tokens: list[Token], context_answer: str) -> Literal["context", "parametric", "neither"]:
    """The label of a segment: "That's not true." says false, "No." says no."""
    said = next((token.text in _AFFIRMING for token in tokens if token.text in _AFFIRMING | _DENYING), None)
    if said is None:
        return "neither"
    return "context" if said == (_word(context_answer) in _AFFIRMING) else "parametric"


def _word(answer: str) -> str:
    words = [token.text for token in tokenise(answer) if token.kind == "word"]
    return words[0] if len(words) == 1 else ""
