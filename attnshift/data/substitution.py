"""One answer exchanged for another throughout a passage, or the reason why that would not be coherent."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from attnshift.data.aliases import Alias, aliases_of, same_part, telling_words
from attnshift.data.items import Example
from attnshift.data.kinds import AnswerType, RefusedError, answer_type, number_value, numbers_in, years_in
from attnshift.data.mentions import Text, as_name, fold, word_set, words
from attnshift.data.neighbours import check_mention
from attnshift.data.templates import Span
from attnshift.data.wordlists import ARITHMETIC, FEMALE_PRONOUNS, MALE_PRONOUNS, RELATIVE_DATES

_TRIMMING = re.compile(r"(?P<before>\s*[\"“‘'(]?)(?P<core>.*?)(?P<after>[\"”’')]?[.!]?\s*)", re.DOTALL)


@dataclass(frozen=True)
class Place:
    """A mention of the answer in the passage."""

    span: Span
    alias: Alias


@dataclass(frozen=True)
class Slot:
    """An example whose answer can be exchanged."""

    example: Example
    answer: str
    """without the quotes and the full stop around it"""
    type: AnswerType
    aliases: tuple[Alias, ...]
    places: tuple[Place, ...]
    """where the passage mentions it, in order, none inside another"""
    gender: str
    """of a person, by title and pronouns: male, female, or empty where neither tells"""


def find_slot(example: Example, elsewhere: str = "") -> Slot:
    """Find everything that has to change for the answer to be another.

    Parameters
    ----------
    example
        With a context.
    elsewhere
        Further text that is kept as it is and so must not mention the answer: the other columns of its row.

    Raises
    ------
    RefusedError
        The exchange could not be coherent.
    """
    if not example.context.strip():
        raise RefusedError("it has no context")
    answer = core_of(example.answer)
    kind = answer_type(answer, example.question)
    aliases = aliases_of(answer, kind)
    passage = Text(example.context)
    places = _places(passage, aliases)
    if not any(place.alias.part in ("full", "bare") for place in places):
        raise RefusedError("its answer is not in its context")
    if _mentioned(example.question, aliases):
        raise RefusedError("its answer is in its question")
    if _mentioned(elsewhere, aliases):
        raise RefusedError("its answer is named elsewhere in its row")
    for place in places:
        check_mention(passage, place.span, answer, _initials_only(place.alias))
    _check_rest(passage, answer, kind, places)
    if kind.kind == "number":
        _check_number(example, answer, places)
    elif kind.kind == "date":
        _check_date(example)
    return Slot(example, answer, kind, aliases, places, gender_of(example, kind))


def substitute(slot: Slot, answer: str) -> Example | None:
    """The slot's example with another answer; None where that answer doesn't fit it.

    It doesn't fit if it is the same, if one of both is part of the other, if the passage or the question already
    mentions it, if *a* before it would have to be *an*, or if a year came to stand on the other side of another year.
    """
    example, old = slot.example, slot.answer
    aliases = aliases_of(answer, slot.type)
    apart = telling_words(old, slot.type) & telling_words(answer, slot.type)
    if fold(old) == fold(answer) or (apart and slot.type.kind not in ("number", "date")):
        return None
    if _mentioned(answer, slot.aliases) or _mentioned(old, aliases):
        return None
    if _mentioned(example.context, aliases) or _mentioned(example.question, aliases):
        return None
    if not _keeps_order(example.context, old, answer, slot.type):
        return None
    context, shift = example.context, 0
    for place in slot.places:
        start, end = place.span[0] + shift, place.span[1] + shift
        new = same_part(aliases, place.alias.part)
        if _wants_other_article(context[:start], context[start:end], new):
            return None
        new, end = _spelt_like(new, context, start, end, place.alias.text)
        context = context[:start] + new + context[end:]
        shift = len(context) - len(example.context)
    shortened = [place.alias.part for place in slot.places]
    if _mentioned(context, slot.aliases) or not mentioned_as(context, answer, aliases, shortened):
        return None
    return _with(example, context, example.answer.replace(old, answer, 1))


def core_of(answer: str) -> str:
    """An answer without the quotes and the full stop around it."""
    trimmed = _TRIMMING.fullmatch(answer)
    return trimmed["core"] if trimmed and trimmed["core"].strip() else answer.strip()


def mentioned_as(context: str, answer: str, aliases: Sequence[Alias], parts: Sequence[str]) -> bool:
    """Whether a text mentions the answer, at least in one of the forms that were written."""
    text = Text(context)
    return any(text.mentions(as_name(same_part(tuple(aliases), part))) for part in {*parts})  # type: ignore[arg-type]


def _with(example: Example, context: str, answer: str) -> Example:
    return replace(example, context=context, answer=answer)


def _places(passage: Text, aliases: Sequence[Alias]) -> tuple[Place, ...]:
    """Mentions of the answer, longer ones first served where two overlap."""
    found = [
        Place(span, alias)
        for alias in aliases
        for span in passage.mentions(as_name(alias.text))
        if not _initials_only(alias) or passage.text[slice(*span)].isupper()
    ]
    found.sort(key=lambda place: (place.span[0] - place.span[1], place.span[0]))
    kept: list[Place] = []
    for place in found:
        if all(place.span[1] <= other.span[0] or other.span[1] <= place.span[0] for other in kept):
            kept.append(place)
    return tuple(sorted(kept, key=lambda place: place.span))


def _mentioned(text: str, aliases: Sequence[Alias]) -> bool:
    return bool(text) and bool(_places(Text(text), aliases))


def _initials_only(alias: Alias) -> bool:
    """Initials count in capitals alone: US is not us."""
    return alias.part == "acronym"


def _check_rest(passage: Text, answer: str, kind: AnswerType, places: Sequence[Place]) -> None:
    """No word of the answer may be left beside its mentions, nor a word made of it (Norwegian, teapots)."""
    telling = telling_words(answer, kind)
    stems = tuple(word for word in telling if len(word) >= 4 and word.isalpha())
    for word in passage.words:
        if any(place.span[0] <= word.start < place.span[1] for place in places):
            continue
        if word.folded in telling:
            raise RefusedError("a part of its answer stands elsewhere in its context")
        if stems and word.folded.startswith(stems):
            raise RefusedError("a word derived from its answer stands in its context")


def _check_number(example: Example, answer: str, places: Sequence[Place]) -> None:
    """A number may not be one that others in the passage follow from, nor stand for two things."""
    text = f"{example.context}\n{example.question}"
    if len(places) > 1:
        raise RefusedError("its number stands in several places")
    if word_set(text) & ARITHMETIC:
        raise RefusedError("its number depends on others")
    value = number_value(answer)
    others = [number for number in numbers_in(text) if number != value]
    if value is not None and any(_related(value, a, b) for a, b in combinations(others[:60], 2)):
        raise RefusedError("its number depends on others")


def _related(x: float, a: float, b: float) -> bool:
    results = (a + b, abs(a - b), a * b, a / b if b else x + 1, b / a if a else x + 1)
    return any(abs(x - result) < 1e-9 * max(1.0, abs(x)) for result in results)


def _check_date(example: Example) -> None:
    if word_set(f"{example.context}\n{example.question}") & RELATIVE_DATES:
        raise RefusedError("its date depends on others")


def _keeps_order(context: str, old: str, new: str, kind: AnswerType) -> bool:
    """Whether a year stays on the same side of every other year in the passage."""
    if kind.form != "year":
        return True
    others = set(years_in(context)) - {int(old)}
    return all((year < int(old)) == (year < int(new)) for year in others)


def gender_of(example: Example, kind: AnswerType) -> str:
    """Male or female, as a person's title and the pronouns of the passage say; empty where they don't.

    Raises RefusedError where they disagree, or where the passage has pronouns of both: some are another's.
    """
    if kind.kind != "person":
        return ""
    said = word_set(example.context)
    by_pronoun = {"male": MALE_PRONOUNS, "female": FEMALE_PRONOUNS}
    genders = sorted({gender for gender, pronouns in by_pronoun.items() if said & pronouns or kind.form == gender})
    if len(genders) > 1:
        raise RefusedError("its pronouns may be another person's")
    return genders[0] if genders else ""


def _wants_other_article(before: str, old: str, new: str) -> bool:
    article = re.search(r"(?:^|\W)(a|an)\s+$", before, re.IGNORECASE)
    vowels = "aeiou"
    return article is not None and (fold(old)[:1] in vowels) != (fold(new)[:1] in vowels)


def _spelt_like(new: str, text: str, start: int, end: int, usual: str) -> tuple[str, int]:
    """The new name in the case of the mention that it replaces, its possessive included; and where that one ends."""
    old = text[start:end]
    if old.isupper() and not usual.isupper() and len(words(old)[0].folded) > 1:
        new = new.upper()
    elif old.islower() and not usual.islower():
        new = new.lower()
    elif old[:1].isupper() and usual[:1].islower():
        new = new[:1].upper() + new[1:]
    bare_possessive = re.match(r"['’](?=\s+\w)", text[end:])
    if bare_possessive and old[-1:] in "sS" and not re.search(r"['‘]\s*$", text[:start]) and new[-1:] not in "sS":
        return f"{new}{bare_possessive[0]}s", end + 1
    return new, end
