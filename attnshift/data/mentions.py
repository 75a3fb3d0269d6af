"""Names in text: whole words, whatever their case and accents and whatever spaces or hyphens stand between them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Generic, TypeVar

from attnshift.data.templates import Span

# Combining marks belong to their word; Python's \w leaves out those that stand alone.
_MARKS = (
    "\u0300-\u036f\u0591-\u05bd\u0610-\u061a\u064b-\u065f\u0900-\u0963\u0966-\u0dff\u0e31-\u0e4e"
    "\u1ab0-\u1aff\u20d0-\u20ff"
)
_WORD = re.compile(rf"[^\W_](?:[^\W_]|[{_MARKS}])*")
_PLAIN_WORD = re.compile(r"[a-z0-9]+")
_GAP = re.compile(r"[\s\-_‐‑‒–—'’.]{1,3}")
_SYMBOLS = "+#%$€£¥°&@*"
_UNDECOMPOSED = str.maketrans(
    {"ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "æ": "ae", "œ": "oe", "ħ": "h", "ı": "i"}
)

Payload = TypeVar("Payload")


@dataclass(frozen=True, slots=True)
class Word:
    """A word of a text: what is left of it without case and accents, and where it stands."""

    folded: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Name:
    """What a mention has to look like."""

    words: tuple[str, ...]
    """folded"""
    gaps: tuple[str, ...]
    """what the name itself has between them, white space around it removed"""
    before: str
    """symbols that belong to it: the dollar of $5"""
    after: str
    """symbols that belong to it: the plus signs of C++"""


def fold(text: str) -> str:
    """Without case and accents."""
    if text.isascii():
        return text.lower()
    decomposed = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    return "".join(c for c in decomposed if not unicodedata.combining(c)).translate(_UNDECOMPOSED)


def words(text: str) -> list[Word]:
    """The words of a text in their order: letters and digits; whatever else stands there separates them."""
    return [Word(fold(found[0]), *found.span()) for found in _WORD.finditer(text)]


def word_set(text: str) -> set[str]:
    """The folded words of a text, without their places: several times faster."""
    if text.isascii():
        return set(_PLAIN_WORD.findall(text.lower()))
    return {fold(found) for found in _WORD.findall(text)}


def as_name(text: str) -> Name | None:
    """A name as it is searched for; None for a text without a letter or digit."""
    found = words(text)
    if not found:
        return None
    gaps = [text[a.end : b.start].strip() for a, b in pairwise(found)]
    before = re.search(rf"[{re.escape(_SYMBOLS)}]*$", text[: found[0].start])
    after = re.match(rf"[{re.escape(_SYMBOLS)}]*", text[found[-1].end :])
    return Name(tuple(w.folded for w in found), tuple(gaps), before[0] if before else "", after[0] if after else "")


class Text:
    """A text that names are searched in."""

    def __init__(self, text: str) -> None:
        self.text, self.words = text, words(text)
        self._places: dict[str, list[int]] = {}
        for place, word in enumerate(self.words):
            self._places.setdefault(word.folded, []).append(place)

    def mentions(self, name: Name | None) -> list[Span]:
        """Where a name is mentioned: character spans, in order; they may overlap those of other names."""
        if name is None:
            return []
        spans = (self._mention(name, place) for place in self._places.get(name.words[0], ()))
        return [span for span in spans if span is not None]

    def _mention(self, name: Name, place: int) -> Span | None:
        found = self.words[place : place + len(name.words)]
        if tuple(word.folded for word in found) != name.words:
            return None
        for left, right, own in zip(found, found[1:], name.gaps, strict=False):
            gap = self.text[left.end : right.start]
            if gap.strip() != own and not _GAP.fullmatch(gap):
                return None
        start, end = found[0].start - len(name.before), found[-1].end + len(name.after)
        if start < 0 or self.text[start : found[0].start] != name.before:
            return None
        if self.text[found[-1].end : end] != name.after or self._in_a_number(start, end):
            return None
        return start, end

    def _in_a_number(self, start: int, end: int) -> bool:
        """Whether the span is a piece of a longer number: 5 in 3.5, 200 in 1,200, 30 in 12:30."""
        ahead = self.text[end - 1 : end].isdecimal() and re.match(r"[.,:]\d", self.text[end : end + 2])
        behind = self.text[start : start + 1].isdecimal() and re.match(r"\d[.,:]", self.text[max(0, start - 2) : start])
        return bool(ahead or behind)


class NameIndex(Generic[Payload]):
    """Many names, searched for in one reading of a text."""

    def __init__(self, names: Iterable[tuple[str, Payload]]) -> None:
        self._by_first_word: dict[str, list[tuple[Name, Payload]]] = {}
        for text, payload in names:
            if (name := as_name(text)) is not None:
                self._by_first_word.setdefault(name.words[0], []).append((name, payload))

    def find(self, text: str) -> Iterator[tuple[Payload, Span]]:
        """Every mention of a name, with what came with the name."""
        present = word_set(text)
        possible = [
            (name, payload)
            for first in sorted(present & self._by_first_word.keys())
            for name, payload in self._by_first_word[first]
            if present.issuperset(name.words)
        ]
        if not possible:  # nearly always: the places of the words are worth looking up for few texts only
            return
        searched = Text(text)
        for name, payload in possible:
            for span in searched.mentions(name):
                yield payload, span


def mentions(text: str, name: str) -> bool:
    """Whether a text mentions a name: whole words, in any case, with or without accents."""
    return bool(Text(text).mentions(as_name(name)))
