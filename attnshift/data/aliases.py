"""Other ways in which a passage may name an answer, and the same way of naming its substitute."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from attnshift.data.kinds import AnswerType, is_name, number_in_words, number_value, spelt_number
from attnshift.data.mentions import words
from attnshift.data.wordlists import DETERMINERS, GENERIC, NUMBER_WORDS, ORGANISATIONS, PARTICLES, TITLES

Part = Literal["full", "bare", "titled surname", "surname", "given name", "acronym", "number word", "digits", "plain"]
"""How a name is shortened: ``bare`` is without title or article, ``digits`` and ``plain`` without thousands' commas."""


@dataclass(frozen=True, slots=True)
class Alias:
    """One way of writing an answer."""

    part: Part
    text: str


def aliases_of(answer: str, kind: AnswerType) -> tuple[Alias, ...]:
    """Every way in which a passage is expected to name the answer, the answer itself first.

    Of a person the name without its title, the surname with and without it, and the given name; of an
    organisation its initials; without a leading article; numbers in words, digits, with and without commas.
    """
    found = [Alias("full", answer)]
    if kind.kind == "person":
        found += _person(answer)
    elif kind.kind == "number":
        found += _number(answer)
    else:
        if (bare := _without(answer, DETERMINERS)) != answer:
            found.append(Alias("bare", bare))
        if kind.kind == "organisation" and (initials := _initials(answer)):
            found.append(Alias("acronym", initials))
    seen: dict[str, Alias] = {}
    for alias in found:
        seen.setdefault(alias.text, alias)
    return tuple(seen.values())


def same_part(aliases: tuple[Alias, ...], part: Part) -> str:
    """A substitute shortened in the same way; where it can't be, by its surname, its bare form or in full."""
    by_part = {alias.part: alias.text for alias in aliases}
    shorter: dict[Part, tuple[Part, ...]] = {"full": (), "titled surname": ("surname", "bare")}
    tried = (part, *shorter.get(part, ("bare",)), "full")
    return next(by_part[each] for each in tried if each in by_part)


def telling_words(answer: str, kind: AnswerType) -> frozenset[str]:
    """The folded words of an answer that name it even by themselves: not its small words, nor *river* or *company*."""
    numeric = kind.kind in ("number", "date")
    return frozenset(
        word.folded
        for word in words(answer)
        if any(c.isdigit() for c in word.folded)
        or (numeric and word.folded in NUMBER_WORDS)
        or (len(word.folded) >= 4 and word.folded not in GENERIC | TITLES)
    )


def _person(answer: str) -> list[Alias]:
    bare = _without(answer, TITLES)
    found = words(bare)
    title = answer[: len(answer) - len(bare)].strip()
    short = [Alias("bare", bare)] if title and bare else []
    if len(found) < 2:
        return short
    particles = [i for i, word in enumerate(found) if i > 0 and word.folded in PARTICLES]
    first_of_surname = particles[0] if particles and particles[-1] < len(found) - 1 else len(found) - 1
    surname = bare[_surname_start(bare, found[first_of_surname].start) :]
    if title:
        short.append(Alias("titled surname", f"{title} {surname}"))
    short.append(Alias("surname", surname))
    given = found[0]
    if given.end - given.start > 1:  # an initial names nobody
        short.append(Alias("given name", bare[given.start : given.end]))
    return short


def _surname_start(name: str, start: int) -> int:
    """Where the last piece between spaces begins: a hyphenated surname is one."""
    return name.rfind(" ", 0, start) + 1


def _number(answer: str) -> list[Alias]:
    value, first = number_value(answer), answer.split(maxsplit=1)
    in_words, unit = spelt_number(answer)
    rest = (
        f" {unit}" if in_words is not None and unit else f" {first[1]}" if in_words is None and len(first) > 1 else ""
    )
    if value is None or value != int(value) or first[0][:1] in "$€£¥" or first[0].endswith("%"):
        return [Alias("plain", answer.replace(",", ""))] if "," in answer else []
    number = int(value)
    found = [Alias("digits", f"{number}{rest}"), Alias("digits", f"{number:,}{rest}")]
    spelt = number_in_words(number)
    return found + ([Alias("number word", f"{spelt}{rest}")] if spelt else [])


def _initials(answer: str) -> str:
    found = words(answer)
    capitals = [answer[word.start] for word in found if answer[word.start].isupper()]
    telling = len(capitals) > 1 and is_name(answer, found) and {w.folded for w in found} & ORGANISATIONS
    return "".join(capitals) if telling else ""


def _without(answer: str, leading: frozenset[str]) -> str:
    """The answer without the words that it begins with, as long as others are left."""
    found = words(answer)
    keep = 0
    while keep < len(found) - 1 and found[keep].folded in leading:
        keep += 1
    return answer[found[keep].start :] if found and keep else answer
