"""The two answers of an item, read once: every spelling, part and quantity by which a text may give them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

from attnshift.scoring.dates import Date, dates_in
from attnshift.scoring.lexicon import (
    ADJECTIVES,
    ARTICLES,
    CITY_NAMESAKES,
    COMMON,
    FEATURES,
    FIRST_NAMES,
    FORMS_OF_STATE,
    HONORIFICS,
    NAME_HEADS,
    NICKNAMES,
    NOUNS,
    PARTICLES,
    PLACES,
    POLITIES,
    QUALIFIERS,
    STOPWORDS,
    SUFFIXES,
    TITLES,
)  # fmt: skip
from attnshift.scoring.numbers import Quantity, merge_numbers, quantity_at
from attnshift.scoring.tokens import Token, fold, tokenise

Words = tuple[str, ...]


class Name(NamedTuple):
    """One spelling of an answer."""

    words: Words
    side: int
    """0 the context's answer, 1 the parametric one"""
    proper: bool = True
    """whether it is written as a name, so that words around it may make a longer one"""
    derived: bool = False
    """a part of the answer (surname, acronym), which counts only where the other answer lacks it"""
    given: Words | None = None
    """of a surname, the given names that may stand before it"""
    distinct: Words = ()
    """of a surname that both answers share, the given names of which one has to be there"""


@dataclass(frozen=True)
class Answers:
    """What to look for in a text."""

    names: dict[str, tuple[Name, ...]]
    """by first word"""
    quantities: tuple[tuple[Quantity, int], ...]
    dates: tuple[tuple[Date, int], ...]
    vocabulary: tuple[tuple[str, int, int], ...]
    """words that may be misspelt, with their side and the slips that they may have"""
    corrections: dict[str, str] = field(default_factory=dict)
    """misspelt words met so far"""


@lru_cache(maxsize=8192)
def compile_answers(context: Words, parametric: Words) -> Answers:
    """Read both answers; each is its field followed by the given aliases."""
    spelled = [[_Spelled(text, proper) for text, proper in _spellings(fields)] for fields in (context, parametric)]
    names, quantities, dates = [], [], []
    for side, own in enumerate(spelled):
        for each in own:
            if each.quantity:
                quantities.append((each.quantity, side))
            elif each.date:
                dates.append((each.date, side))
            elif each.words:
                names += [Name(words, side, each.proper) for words in _exact(each)]
    whole: list[set[Words]] = [{n.words for n in names if n.side == side} for side in (0, 1)]
    for side, own in enumerate(spelled):
        for each in own:
            if not (each.quantity or each.date):
                names += _derived(each, side, whole, spelled[1 - side])
    names = _unambiguous(names)
    return Answers(_by_first_word(names), _bare_numbers(spelled, quantities), tuple(dates), _vocabulary(names))


class _Spelled:
    """One alternative of an answer field."""

    def __init__(self, text: str, proper: bool) -> None:
        tokens = merge_numbers(tokenise(text))
        while tokens and tokens[0].text in ("about", "approximately", "around", "roughly", "ca", "~", "in", "over"):
            if len(tokens) > 1 and any(t.kind == "number" for t in tokens[1:3]):
                tokens = tokens[1:]
            else:
                break
        self.raw, self.tokens, self.proper = text, tokens, proper
        self.words: Words = _without_article(tuple(_word(t) for t in tokens if t.kind != "mark"))
        if len(self.words) > 1 and self.words[-1] == "i":
            self.words = (*self.words[:-1], "1")
        if len(self.words) > 1 and self.words[-1] == "saint":
            self.words = (*self.words[:-1], "street")
        found = [(q[0], q[1], q[2]) for i in range(len(tokens)) if (q := quantity_at(tokens, i))]
        whole = next((q for start, end, q in found if start == 0 and end >= len(tokens)), None)
        self.quantity: Quantity | None = whole
        self.date: Date | None = next(
            (d for start, end, d in dates_in(tokens) if start == 0 and end >= len(tokens)), None
        )
        leading = quantity_at(tokens, 0) if tokens else None
        counted = leading is not None and whole is None and self.date is None and 1 < len(self.words) <= 3
        self.count: Quantity | None = leading[2]._replace(dimension="") if leading and counted else None


def _word(token: Token) -> str:
    return token.text


def _spellings(fields: Sequence[str]) -> Iterator[tuple[str, bool]]:
    """Every alternative of the fields, and whether it is written as a proper name."""
    seen = set()
    for text in fields:
        for alternative in alternatives(text):
            if alternative not in seen:
                seen.add(alternative)
                yield alternative, alternative != alternative.lower() or _starts_with_given_name(alternative)
            for other in NICKNAMES.get(" ".join(_without_article(tuple(fold(alternative).split()))), ()):
                yield other, True


def _starts_with_given_name(text: str) -> bool:
    words = fold(text).split()
    return len(words) in (2, 3) and words[0] in FIRST_NAMES


_SEPARATOR = re.compile(
    r"\s*;\s*|\s+/\s+|(?<=[^\W\d_]{3})/(?=[^\W\d_]{3})|,?\s+or\s+"
    r"|,?\s*\(?\b(?:also|otherwise) (?:known|called|spelled) as\s+|,?\s+(?:a\.?k\.?a\.?)\s+|,?\s+i\.e\.,?\s+",
    re.IGNORECASE,
)
_FORMER = re.compile(r",?\s+(?:formerly|previously|changed from|moved from|until|before)\b.*$", re.IGNORECASE)
_PARENTHESES = re.compile(r"\s*[(\[]([^()\[\]]*)[)\]]")
_ANOTHER = re.compile(r"(?<=[)\]])(?:,? and|,)\s+")
"""Between answers of which each has its parentheses: Pretoria (executive), Cape Town (legislative)."""
_INTRODUCED = re.compile(
    r"^(?:or|also(?: known as| called)?|a\.?k\.?a\.?|i\.e\.,?|known as|called|abbreviated|in short|short)\s+",
    re.IGNORECASE,
)


def alternatives(text: str) -> list[str]:
    """The answers that one field gives: "La Paz (administrative); Sucre (judicial)" gives La Paz and Sucre.

    Alternatives are separated by ";", "/", "or", "also known as"; what stands in parentheses is one unless it only
    says something about the answer (administrative, de facto, a year).
    """
    found: list[str] = []
    for group in _PARENTHESES.findall(text):
        if not _qualifies(group, text):
            found += alternatives(_INTRODUCED.sub("", group.strip()))
    outside = _PARENTHESES.sub("", _ANOTHER.sub("; ", text))
    parts = [_FORMER.sub("", part).strip(" ,") for part in _SEPARATOR.split(outside)]
    kept = [part for part in parts if part]
    whole = text.strip()
    return list(dict.fromkeys([*kept, *found])) or ([whole] if whole else [])


def _qualifies(group: str, field_text: str) -> bool:
    """Whether parentheses describe the answer rather than name it otherwise."""
    words = re.findall(r"\w+", fold(group))
    if not words or all(w in QUALIFIERS or w.isdecimal() for w in words) or _FORMER.search(" " + group):
        return True
    outside = _PARENTHESES.sub("", field_text)
    return group == group.lower() and outside != outside.lower() and not any(c > "\u0900" for c in group)


def _without_article(words: Words) -> Words:
    rest = words[1:]
    return rest if words and words[0] in ARTICLES and rest and rest[0] not in STOPWORDS else words


def _exact(each: _Spelled) -> Iterator[Words]:
    words = each.words
    yield words
    if len(words) > 1 and sum(map(len, words)) >= 6 and all(w.isascii() for w in words):
        yield ("".join(words),)
    if words.count("and") == 1 and 0 < (at := words.index("and")) < len(words) - 1:
        yield (*words[at + 1 :], "and", *words[:at])


def _derived(each: _Spelled, side: int, whole: list[set[Words]], others: list[_Spelled]) -> Iterator[Name]:
    """Parts of a longer answer that name it by themselves."""
    words, proper = each.words, each.proper
    if len(words) < 2:
        return

    def part(some: Words) -> Iterator[Name]:
        if some and not all(w in COMMON or w in ADJECTIVES for w in some):
            yield Name(some, side, proper, derived=True)

    if words[-1] in FEATURES:
        yield from part(words[:-1])
    if len(words) == 2 and words[1] == "city" and words[0] not in CITY_NAMESAKES and words[0] not in PLACES:
        yield from part(words[:1])  # Cebu City, but not Mexico City
    if words[0] in ("mount", "lake", "river"):
        yield from part(words[1:])
    of = words.index("of") if "of" in words[1:-1] else 0
    if of and words[of - 1] in POLITIES and all(w in FORMS_OF_STATE for w in words[: of - 1]):
        yield from part(_without_article(words[of + 1 :]))
        yield from part((*words[of + 1 :], *words[:of]))
    if words[0] in TITLES and len(words) > 1:
        yield from part(words[1:])
    if words[-1] in SUFFIXES:
        yield from part(words[:-1])
    if len(words) == 3 and words[1] == "the" and proper:  # Alexander the Great
        yield from part(words[:1])
    if words[-1].isdecimal():
        yield from part(words[:-1])
    if each.raw.count(",") == 1 and "and" not in words:
        head = _without_article(tuple(t.text for t in tokenise(each.raw.partition(",")[0]) if t.kind != "mark"))
        yield from part(head)
        if head and head[-1] in FEATURES:
            yield from part(head[:-1])
    if proper:
        yield from _acronym(words, side)
        yield from _surname(words, side, whole[1 - side], others)


def _acronym(words: Words, side: int) -> Iterator[Name]:
    letters = "".join(w[0] for w in words if w not in ("of", "the", "and", "de", "for", "in", "du", "des"))
    if len(letters) >= 2 and letters.isascii() and letters.isalpha() and len(words) <= 6:
        yield Name((letters,), side, True, derived=True)


def _surname(words: Words, side: int, other_words: set[Words], others: list[_Spelled]) -> Iterator[Name]:
    """The last name with its particles; the first one of "Leonardo da Vinci", or where only the last is shared."""
    if words[-1] in SUFFIXES:
        words = words[:-1]
    plain = len(words) > 1 and all(w.isalpha() and (len(w) == 1 or w not in STOPWORDS or w in PARTICLES) for w in words)
    if not plain or len(words) > 5 or words[0] in NAME_HEADS or len(words[-1]) < 3:
        return
    if _common(words[-1]):
        if words[0] in FIRST_NAMES:
            addressed = (*words[:-1], *HONORIFICS)
            yield Name(words[-1:], side, True, True, addressed, addressed)  # Dr. King
        return
    at = len(words) - 1
    while at > 1 and words[at - 1] in PARTICLES:
        at -= 1
    given, surname = words[:at], words[-1:]
    shared = any(surname[0] in other for other in other_words)
    if shared:
        distinct = tuple(g for g in given if not any(g in other for other in other_words))
        if distinct:
            yield Name(surname, side, True, True, given, distinct)
            yield Name(distinct[:1], side, True, True)
        return
    yield Name(surname, side, True, True, given)
    first = words[0]
    if len(words) == 2 and not (first in FIRST_NAMES or first in PLACES or _common(first)):
        yield Name(words[:1], side, True, True, ())  # Mao Zedong
    if at < len(words) - 1:
        yield Name(words[at:], side, True, True, given)
        yield Name(words[:1], side, True, True)


def _common(word: str) -> bool:
    return any(word in listed for listed in (FEATURES, COMMON, NOUNS, TITLES, ADJECTIVES))


def _unambiguous(names: list[Name]) -> list[Name]:
    """Without parts of one answer that the other one contains too."""
    whole = [{n.words for n in names if n.side == side and not n.derived} for side in (0, 1)]
    parts = [{n.words for n in names if n.side == side and n.derived and not n.distinct} for side in (0, 1)]
    kept: dict[Name, None] = {}
    for name in names:
        other = 1 - name.side
        if (
            not name.derived
            or name.distinct
            or (name.words not in parts[other] and not any(_within(name.words, _unheaded(w)) for w in whole[other]))
        ):
            kept[name] = None
    return list(kept)


def _unheaded(words: Words) -> Words:
    """What is called otherwise without its first word: South Pacific Ocean isn't the Pacific."""
    return () if words[0] in NAME_HEADS else words


def _within(part: Words, whole: Words) -> bool:
    return any(whole[i : i + len(part)] == part for i in range(len(whole) - len(part) + 1))


def _by_first_word(names: list[Name]) -> dict[str, tuple[Name, ...]]:
    table: dict[str, tuple[Name, ...]] = {}
    for name in names:
        table[name.words[0]] = (*table.get(name.words[0], ()), name)
    return table


def _bare_numbers(
    spelled: list[list[_Spelled]], quantities: list[tuple[Quantity, int]]
) -> tuple[tuple[Quantity, int], ...]:
    """Quantities, and the counts of answers such as "7 wonders", but for numbers that both answers share."""
    counts = [(each.count, side) for side, own in enumerate(spelled) for each in own if each.count]
    numbers = [{q.number for q, s in [*quantities, *counts] if s == side} for side in (0, 1)]
    return (*quantities, *((q, side) for q, side in counts if q.number not in numbers[1 - side]))


def _vocabulary(names: list[Name]) -> tuple[tuple[str, int, int], ...]:
    """One slip from five letters on, two from nine on; a short common word has no more than a plural."""
    words = {
        (w, n.side, (len(w) > 4) + (len(w) > 8) if n.proper or len(w) >= 6 else 0)
        for n in names
        for w in n.words
        if len(w) >= 4 and w.isalpha()
    }
    return tuple(sorted(words))
