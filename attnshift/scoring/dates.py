"""Calendar dates in their many spellings."""

from __future__ import annotations

import re
from typing import NamedTuple

from attnshift.scoring.tokens import Token

_NAMES = "january february march april may june july august september october november december"
MONTHS = {name: n for n, name in enumerate(_NAMES.split(), start=1)}
MONTHS |= {name[:3]: n for name, n in MONTHS.items()} | {"sept": 9}


class Date(NamedTuple):
    """A date; 0 for what isn't stated."""

    year: int
    month: int
    day: int

    def agrees(self, asked: Date) -> bool:
        """Whether all that is asked for is stated the same here."""
        return all(not b or a == b for a, b in zip(self, asked, strict=True))


def dates_in(tokens: list[Token]) -> list[tuple[int, int, Date]]:
    """Start, end and value of every date that names its month."""
    found = []
    for at, token in enumerate(tokens):
        if token.text in MONTHS:
            found.append(_around(tokens, at, MONTHS[token.text]))
        elif token.kind == "number" and (numeric := _numeric(tokens, at)):
            found += numeric
    return [each for each in found if each[2].year or each[2].day]


def _around(tokens: list[Token], at: int, month: int) -> tuple[int, int, Date]:
    """The date whose month's name stands at ``at``, with the day before or behind it."""
    start, end, day, year = at, at + 1, 0, 0
    back = at - 1
    if back >= 0 and tokens[back].text == "of":
        back -= 1
    if back >= 0 and (day := _day(tokens[back])):
        start = back
    if tokens[at].text not in _NAMES.split():  # "Aug. 6"
        end = _skip(tokens, end, (".",))
    if not day and end < len(tokens) and (day := _day(tokens[end])):
        end += 1
    behind = _skip(tokens, end, (",", "of", "in"))
    if behind < len(tokens) and (year := _year(tokens[behind])):
        end = behind + 1
    return start, end, Date(year, month, day)


def _numeric(tokens: list[Token], at: int) -> list[tuple[int, int, Date]]:
    """1776-07-04, or 4/7/1776 in either order of day and month."""
    text = "".join(t.text if i == 0 or t.glued else " " for i, t in enumerate(tokens[at : at + 5]))
    if match := re.fullmatch(r"(\d{4})([-/.])(\d{1,2})\2(\d{1,2})", text):
        return [(at, at + 5, Date(int(match[1]), int(match[3]), int(match[4])))]
    if match := re.fullmatch(r"(\d{1,2})([-/.])(\d{1,2})\2(\d{4})", text):
        a, b, year = int(match[1]), int(match[3]), int(match[4])
        return [(at, at + 5, Date(year, m, d)) for m, d in ((a, b), (b, a)) if m <= 12]
    return []


def _day(token: Token) -> int:
    digits = token.text.removesuffix("th")
    return int(digits) if digits.isdecimal() and len(digits) <= 2 and 1 <= int(digits) <= 31 else 0


def _year(token: Token) -> int:
    return int(token.text) if token.kind == "number" and token.text.isdecimal() and 3 <= len(token.text) <= 4 else 0


def _skip(tokens: list[Token], at: int, texts: tuple[str, ...]) -> int:
    return at + 1 if at < len(tokens) and tokens[at].text in texts else at
