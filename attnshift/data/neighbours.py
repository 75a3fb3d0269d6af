"""Whether a mention of a name is the name itself, or a piece of a longer one."""

from __future__ import annotations

import re

from attnshift.data.kinds import RefusedError
from attnshift.data.mentions import Text, Word, fold
from attnshift.data.templates import Span
from attnshift.data.wordlists import ALSO_ORDINARY, FUNCTION_WORDS, MONTHS, PARTICLES, PREPOSITIONS, TITLES, WEEKDAYS

_JOINED = re.compile(r"[ \u00a0]|[-‐‑]|[ \u00a0]&[ \u00a0]")
_LONGER = "its answer is part of a longer name"


def check_mention(passage: Text, span: Span, answer: str, initials: bool = False) -> None:
    """Raise RefusedError where a mention is part of a longer name, or may be an ordinary word.

    A name is longer where another capitalised word stands before it or behind it (Oslo University, New Cairo,
    J. Osk, University of Oslo, Tapsell-Vay), but for titles and the words that begin sentences.
    """
    start, end = span
    found, text = passage.text[start:end], passage.text
    before = next((word for word in reversed(passage.words) if word.end <= start), None)
    after = next((word for word in passage.words if word.start >= end), None)
    if not any(c.isupper() for c in answer):
        if found[:1].isupper() and not found.isupper() and not begins_sentence(text, start):
            raise RefusedError(_LONGER)
    elif initials:
        return
    elif found.islower():
        if {fold(found)} & ALSO_ORDINARY:
            raise RefusedError("its answer is an ordinary word in lower case")
    elif _belongs_before(passage, before, start) or _belongs_behind(text, after, end):
        raise RefusedError(_LONGER)
    if _hyphenated(text, start, end, after):
        raise RefusedError(_LONGER)


def begins_sentence(text: str, start: int) -> bool:
    """Whether a place is the first of a sentence, a line or a cell."""
    before = text[:start].rstrip(" \t\"'“”‘’(«¿¡*_")
    return not before or before[-1] in ".!?:;\n…|•-–—"


def _belongs_before(passage: Text, word: Word | None, start: int) -> bool:
    text = passage.text
    if word is None or not text[word.start].isupper():
        return word is not None and _of_a_name(passage, word, start)
    gap = text[word.end : start]
    if re.fullmatch(r"\.[ \u00a0]", gap):
        return word.end - word.start == 1  # an initial
    if not _JOINED.fullmatch(gap) or word.folded in FUNCTION_WORDS | PREPOSITIONS | TITLES:
        return False
    return not (begins_sentence(text, word.start) and _is_ordinary(passage, word))


def _of_a_name(passage: Text, word: Word, start: int) -> bool:
    """Whether it is what a name such as University of … goes on with."""
    text = passage.text
    if word.folded not in PARTICLES or not text[word.end : start].isspace():
        return False
    place = passage.words.index(word)
    while place > 0 and passage.words[place].folded in PARTICLES:
        place -= 1
    head = passage.words[place]
    named = text[head.start].isupper() and head.folded not in FUNCTION_WORDS | PREPOSITIONS | PARTICLES
    joined = re.fullmatch(r"[ \u00a0]", text[head.end : head.end + 1]) is not None
    return named and joined and not (begins_sentence(text, head.start) and _is_ordinary(passage, head))


def _belongs_behind(text: str, word: Word | None, end: int) -> bool:
    if word is None or not _JOINED.fullmatch(text[end : word.start]):
        return False
    if text[word.start].isdecimal():
        return word.end - word.start <= 2  # Apollo 11
    known = FUNCTION_WORDS | PREPOSITIONS | MONTHS | WEEKDAYS
    return text[word.start].isupper() and word.folded not in known


def _hyphenated(text: str, start: int, end: int, after: Word | None) -> bool:
    """Whether a hyphen makes it part of a longer word; Oslo-based is none, Trans-Siberian and Tapsell-Vay are."""
    if re.search(r"[^\W_][-‐‑]$", text[max(0, start - 2) : start]):
        return True
    followed = after is not None and re.fullmatch(r"[-‐‑]", text[end : after.start]) is not None
    return followed and after is not None and not text[after.start].islower()


def _is_ordinary(passage: Text, word: Word) -> bool:
    """Whether a capitalised word at the start of a sentence is one that needn't be: it ends as verbs do, or recurs."""
    text = passage.text
    recurs = any(other.folded == word.folded and text[other.start].islower() for other in passage.words)
    return recurs or re.search(r"(?:ing|ed|ly)$", word.folded) is not None
