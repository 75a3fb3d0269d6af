"""Containment: the paper's test of whether generated text gives an answer."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence


def contains_answer(text: str, answer: str, aliases: Sequence[str] = ()) -> bool:
    """Whether the answer, or one of its aliases, occurs anywhere in the text.

    Case, the kind and amount of whitespace and the way Unicode composes its characters make no
    difference. It is a plain substring, as in the paper: "Oman" occurs in "Romania", and so does
    the answer of a sentence that denies it. So it says neither that the text gives this answer
    alone, nor that it gives it as a word, nor that it means it.

    Parameters
    ----------
    text
        What the model generated.
    answer
        The answer to look for; a blank one occurs nowhere.
    aliases
        Other spellings that count as the answer.
    """
    folded = _fold(text)
    return any(name and name in folded for name in map(_fold, (answer, *aliases)))


def _fold(text: str) -> str:
    # Folding case can undo the composition, hence the second NFC.
    caseless = unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())
    return " ".join(caseless.split())
