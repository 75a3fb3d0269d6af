"""What an answer names, by simple rules: a person, a place, an organisation, a number, a date or something else."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, get_args

from attnshift.data.mentions import Word, fold, words
from attnshift.data.wordlists import (
    DETERMINERS,
    FEMALE_TITLES,
    FUNCTION_WORDS,
    MALE_TITLES,
    MONTHS,
    NOT_ONE_THING,
    NUMBER_WORDS,
    ORGANISATION_QUESTIONS,
    ORGANISATIONS,
    PARTICLES,
    PERSON_QUESTIONS,
    PLACE_QUESTIONS,
    PREPOSITIONS,
    TITLES,
    WEEKDAYS,
    YES_OR_NO,
)

Kind = Literal["person", "place", "organisation", "number", "date", "other"]
KINDS: tuple[Kind, ...] = get_args(Kind)

MOST_WORDS = 5
"""Longer answers are clauses, not names."""


class RefusedError(Exception):
    """An example that can't become a counterfactual; the message is the reason."""


@dataclass(frozen=True, slots=True)
class AnswerType:
    """What a substitute has to share with an answer."""

    kind: Kind
    form: str = ""
    """the finer sort: a date's layout, a number's unit, whether a place is a city, how a phrase is built"""


def answer_type(answer: str, question: str) -> AnswerType:
    """The type of an answer to a question.

    Numbers and dates are told by their form. A person has a title, or answers a question with *who*; a place answers
    *where* or *which city*; an organisation has a word such as *University* in its name or answers *which company*.
    Everything else is matched by how it is built: a name, a code, or a noun phrase with its determiner and number.

    Raises
    ------
    RefusedError
        The answer names nothing (yes, no), or more than one thing, or is a clause.
    """
    found = words(answer)
    folded = [word.folded for word in found]
    if not found or (folded[0] in YES_OR_NO and len(folded) <= 2):
        raise RefusedError("its answer names nothing: yes or no, say")
    if (exact := _date(answer) or _number(answer)) is not None:
        return exact
    if len(found) > MOST_WORDS or set(folded) & NOT_ONE_THING or re.search(r"[,;:\n/]", answer):
        raise RefusedError("its answer is a list or a clause")
    if len(answer.strip()) < 2:
        raise RefusedError("its answer is a single letter")
    if any(c.isdigit() for c in answer):
        return AnswerType("other", f"code {_shape(answer)}")
    return _name(answer, question) if is_name(answer, found) else _phrase(answer, question)


def is_name(answer: str, found: list[Word]) -> bool:
    """Whether every word but the small ones is capitalised (or has no case at all)."""
    proper = [word for word in found if word.folded not in PARTICLES and word.folded not in DETERMINERS]
    return bool(proper) and not any(answer[word.start].islower() for word in proper)


def asked_for(question: str) -> list[str]:
    """The words by which a question says what sort of thing it asks for: *supply boat* in *Which supply boat sank?*

    Empty where it doesn't (*What did she find?*).
    """
    asked = [word.folded for word in words(question)]
    begin = next((i for i, word in enumerate(asked) if word in ("which", "what")), None)
    if begin is None:
        begin = 0 if asked and asked[0] in _REQUESTS else len(asked)
    rest = asked[begin + 1 :]
    while rest and rest[0] in _BETWEEN:
        rest = rest[1:]
    end = next((i for i, word in enumerate(rest) if word in FUNCTION_WORDS | PREPOSITIONS), len(rest))
    return rest[: min(end, 4)]


_REQUESTS = ("name", "give", "state", "identify")
_BETWEEN = frozenset(("is", "was", "are", "were", "s", "the", "a", "an", "me", "name", "title", "of"))


def _name(answer: str, question: str) -> AnswerType:
    folded = [word.folded for word in words(answer)]
    asked, sort = {word.folded for word in words(question)}, asked_for(question)
    article = folded[0] if folded[0] in ("the", "a", "an") else ""
    if folded[0] in TITLES and len(folded) > 1:
        return AnswerType("person", _gender(folded[0]))
    if set(folded) & ORGANISATIONS or set(sort) & ORGANISATION_QUESTIONS:
        return AnswerType("organisation", article)
    if asked & {"who", "whom", "whose"} or set(sort) & PERSON_QUESTIONS:
        return AnswerType("person")
    places = [PLACE_QUESTIONS[word] for word in sort if word in PLACE_QUESTIONS]
    if places or asked & {"where"}:
        return AnswerType("place", f"{places[-1] if places else ''} {article}".strip())
    return AnswerType("other", f"name {sort[-1] if sort else ''} {article}".strip())


def _gender(title: str) -> str:
    return "male" if title in MALE_TITLES else "female" if title in FEMALE_TITLES else ""


def _phrase(answer: str, question: str) -> AnswerType:
    """A noun phrase: coherent only beside others that the same sort of question asks for."""
    folded, sort = [word.folded for word in words(answer)], asked_for(question)
    if folded[0] in PREPOSITIONS or len(folded) > MOST_WORDS - 1:
        raise RefusedError("its answer is a list or a clause")
    if not sort:
        raise RefusedError("its question doesn't say what sort of thing it asks for")
    determiner = folded[0] if folded[0] in DETERMINERS else ""
    plural = "plural" if folded[-1].endswith("s") and not folded[-1].endswith("ss") else "singular"
    capital = "capital" if answer.strip()[:1].isupper() else "lower"
    return AnswerType("other", " ".join(f"{sort[-1]} {determiner.replace('an', 'a')} {plural} {capital}".split()))


def _shape(answer: str) -> str:
    """How a code is built: A-9 for K-377."""
    shape = re.sub(r"[^\W\d_]+", lambda found: "A" if found[0].isupper() else "a", answer)
    return re.sub(r"\d+", "9", shape)


_DAY = r"\d{1,2}(?:st|nd|rd|th)?"
_MONTH = "(?:" + "|".join(sorted(MONTHS)) + ")"
_YEAR = r"(?:1\d{3}|20\d{2})"
_DATE_FORMS = {
    "year": _YEAR,
    "month": _MONTH,
    "weekday": "(?:" + "|".join(sorted(WEEKDAYS)) + ")",
    "month year": rf"{_MONTH},? {_YEAR}",
    "day month": rf"{_DAY} (?:of )?{_MONTH}",
    "month day": rf"{_MONTH} {_DAY}",
    "day month year": rf"{_DAY} (?:of )?{_MONTH},? {_YEAR}",
    "month day year": rf"{_MONTH} {_DAY},? {_YEAR}",
    "iso": r"\d{4}-\d{2}-\d{2}",
    "clock": r"\d{1,2}[:.]\d{2}(?: ?[ap]\.?m\.?)?",
    "hour": r"\d{1,2} ?[ap]\.?m\.?",
}


def _date(answer: str) -> AnswerType | None:
    text = " ".join(fold(answer).split())
    for form, pattern in _DATE_FORMS.items():
        if re.fullmatch(pattern, text) and not (form == "clock" and "." in text and "m" not in text):
            return AnswerType("date", form)
    return None


_NUMBER = re.compile(r"(?P<sign>[$€£¥]?)(?P<value>-?\d+(?:,\d{3})*(?P<part>\.\d+)?)(?P<unit>\s?%|(?: [^\W\d]+){0,2})")


def _number(answer: str) -> AnswerType | None:
    text = " ".join(fold(answer).split())
    spelt, unit = spelt_number(text)
    if spelt is not None and len(unit.split()) <= 2 and not set(unit.split()) & NOT_ONE_THING:
        return AnswerType("number", f"word {unit}".strip())
    found = _NUMBER.fullmatch(text)
    if found is None:
        return None
    whole = "decimal" if found["part"] else "integer"
    digits = len(str(abs(int(float(found["value"].replace(",", ""))))))
    return AnswerType("number", " ".join(f"{whole} of {digits} {found['sign']} {found['unit']}".split()))


def spelt_number(text: str) -> tuple[int | None, str]:
    """The number that a text begins with in words (up to ninety-nine, else None), and what comes behind."""
    found = words(text)
    values = [NUMBER_WORDS.get(word.folded) for word in found[:2]]
    if not values or values[0] is None:
        return None, text
    two = len(values) > 1 and values[0] >= 20 and values[1] is not None and 0 < values[1] < 10
    last = found[1 if two else 0]
    return values[0] + (values[1] or 0 if two else 0), text[last.end :].strip()


def number_in_words(number: int) -> str:
    """A number up to ninety-nine as it is spelt; empty for others."""
    by_value = {value: word for word, value in NUMBER_WORDS.items()}
    if number in by_value:
        return by_value[number]
    tens, ones = number - number % 10, number % 10
    return f"{by_value[tens]}-{by_value[ones]}" if 20 < number < 100 else ""


def number_value(answer: str) -> float | None:
    """The number that an answer begins with."""
    text = fold(answer).strip()
    found = _NUMBER.match(text)
    if found is not None:
        return float(found["value"].replace(",", ""))
    spelt, _ = spelt_number(text)
    return None if spelt is None else float(spelt)


def years_in(text: str) -> list[int]:
    """Every year that a text names in four digits."""
    return [int(word.folded) for word in words(text) if re.fullmatch(_YEAR, word.folded)]


def numbers_in(text: str) -> list[float]:
    """Every number that a text names, in digits or as a word."""
    digits = [float(found.replace(",", "")) for found in re.findall(r"\d+(?:,\d{3})*(?:\.\d+)?", text)]
    return digits + [float(NUMBER_WORDS[w.folded]) for w in words(text) if w.folded in NUMBER_WORDS]
