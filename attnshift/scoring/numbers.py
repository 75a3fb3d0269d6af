"""Numbers written as words, and quantities with their units."""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple

from attnshift.scoring.tokens import Token, plain_number

_UNITS_OF_TEN = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"
_SMALL = {word: n for n, word in enumerate(f"{_UNITS_OF_TEN} seventeen eighteen nineteen".split())}
_TENS = {word: 10 * n for n, word in enumerate("twenty thirty forty fifty sixty seventy eighty ninety".split(), 2)}
_TENS["fourty"] = 40
_SCALES = {"hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_ABBREVIATED = {"k": 1000, "m": 10**6, "mn": 10**6, "bn": 10**9, "tn": 10**12}
_ORDINALS = {
    "first": 1, "second": 2, "third": 3, "fourth": 4, "fifth": 5, "sixth": 6, "seventh": 7, "eighth": 8, "ninth": 9,
    "tenth": 10, "eleventh": 11, "twelfth": 12, "thirteenth": 13, "fourteenth": 14, "fifteenth": 15, "sixteenth": 16,
    "seventeenth": 17, "eighteenth": 18, "nineteenth": 19, "twentieth": 20, "thirtieth": 30,
}  # fmt: skip
_STARTS = {*_SMALL, *_TENS, *_ORDINALS, "half", "a", "an", "minus", "negative"}


class Quantity(NamedTuple):
    """A number with a unit; without one, dimension is empty."""

    value: Decimal
    """in the dimension's own unit (metres, seconds, …)"""
    dimension: str
    number: str
    """the number as it is written, in its shortest spelling"""


_DIMENSIONS: dict[str, dict[str, str]] = {
    "length": {
        "km kms kilometre kilometres kilometer kilometers 公里 千米": "1000",
        "m metre metres meter meters 米": "1",
        "cm centimetre centimetres centimeter centimeters": "0.01",
        "mm millimetre millimetres millimeter millimeters": "0.001",
        "mile miles mi": "1609.344",
        "foot feet": "0.3048",
        "inch inches": "0.0254",
        "yard yards yd": "0.9144",
    },
    "mass": {
        "kg kgs kilo kilos kilogram kilograms 公斤": "1000",
        "g gram grams gramme grammes": "1",
        "mg milligram milligrams": "0.001",
        "t tonne tonnes": "1000000",
        "pound pounds lb lbs": "453.59237",
        "ounce ounces oz": "28.349523125",
    },
    "time": {
        "s sec secs second seconds": "1",
        "min mins minute minutes": "60",
        "h hr hrs hour hours": "3600",
        "day days": "86400",
        "week weeks": "604800",
    },
    "years": {"year years yr yrs": "1", "decade decades": "10", "century centuries": "100"},
    "volume": {"l litre litres liter liters": "1", "ml millilitre millilitres milliliter milliliters": "0.001"},
    "percent": {"% percent pct percentage": "1"},
    "dollars": {"$ dollar dollars usd": "1", "cent cents": "0.01"},
    "euros": {"€ euro euros eur": "1"},
    "pounds sterling": {"£ gbp": "1"},
    "yen": {"¥ yen jpy": "1"},
    "celsius": {"celsius c centigrade": "1"},
    "fahrenheit": {"fahrenheit f": "1"},
    "degrees": {"° degree degrees": "1"},
    "people": {"people persons inhabitants residents": "1"},
}
_UNITS = {
    name: (dimension, Decimal(factor))
    for dimension, units in _DIMENSIONS.items()
    for names, factor in units.items()
    for name in names.split()
}
_BEFORE = frozenset("$€£¥")


def merge_numbers(tokens: list[Token]) -> list[Token]:
    """The same tokens with number words as numbers: twenty-one is 21, 2 million is 2000000, nineteenth is 19th."""
    merged: list[Token] = []
    at = 0
    while at < len(tokens):
        end, value = _number_at(tokens, at)
        if value is None:
            merged.append(tokens[at])
            at += 1
        else:
            said = tokens[at].text if end == at + 1 and tokens[at].kind == "word" else tokens[at].other
            kind = "word" if value.endswith("th") else "number"
            merged.append(Token(value, "word" if kind == "word" else "number", tokens[at].glued, said))
            at = end
    return merged


def quantity_at(tokens: list[Token], at: int) -> tuple[int, int, Quantity] | None:
    """The quantity whose number stands at ``at``: where it begins and ends, and what it is."""
    if tokens[at].kind != "number":
        return None
    number = Decimal(tokens[at].text)
    if at and tokens[at - 1].text in _BEFORE:
        dimension, factor = _UNITS[tokens[at - 1].text]
        return at - 1, at + 1, Quantity(number * factor, dimension, tokens[at].text)
    unit = at + 1
    while unit < len(tokens) and tokens[unit].text in ("-", "per", "degrees", "°") and unit < at + 3:
        unit += 1  # five-kilometre, forty-two per cent, 20 °C
    words = [tokens[unit].text if unit < len(tokens) else ""]
    words.append("".join(t.text for t in tokens[at + 1 : at + 3] if t.kind == "word"))  # units of ideographs
    if words[0] == "cent" and tokens[unit - 1].text == "per":
        words = ["percent"]
    if unit > at + 1 and words[0] not in _UNITS:
        unit, words = at + 1, [tokens[at + 1].text]
    for more, name in enumerate(words):
        if name in _UNITS:
            dimension, factor = _UNITS[name]
            return at, unit + 1 + more, Quantity(number * factor, dimension, tokens[at].text)
    return at, at + 1, Quantity(number, "", tokens[at].text)


def _number_at(tokens: list[Token], at: int) -> tuple[int, str | None]:
    """Where the number that starts here ends, and its value; None where none starts."""
    first = tokens[at]
    if first.kind != "number" and first.text not in _STARTS and _text(tokens, at + 1) not in ("half", "/", "and"):
        return at, None
    if (first.text == "half" or _text(tokens, at + 1) in ("half", "/", "and")) and (half := _half_at(tokens, at)):
        return half
    if first.kind == "number":
        return _scaled(tokens, at + 1, Decimal(first.text), first.other)
    if first.text in ("a", "an") and _text(tokens, at + 1) in _SCALES:
        return _spelt(tokens, at + 1, Decimal(1))
    if first.text in ("minus", "negative") and at + 1 < len(tokens):
        end, value = _number_at(tokens, at + 1)
        return (end, f"-{value}") if value and not value.endswith("th") else (at, None)
    if first.text in _SMALL or first.text in _TENS:
        if first.text == "one" and _is_pronoun(tokens, at):
            return at, None
        return _spelt(tokens, at, Decimal(0))
    if first.text in _ORDINALS and first.text not in ("first", "second", "third"):
        return at + 1, f"{_ORDINALS[first.text]}th"
    return at, None


def _half_at(tokens: list[Token], at: int) -> tuple[int, str] | None:
    words = [_text(tokens, at + i) for i in range(5)]
    if words[0] in ("one", "a", "1") and words[1] == "half":
        return at + 2, "0.5"
    if words[0] == "half" and words[1] not in ("of", "a", "an"):
        return at + 1, "0.5"
    if words[:3] == ["1", "/", "2"]:
        return at + 3, "0.5"
    if words[1:4] == ["and", "a", "half"] and (whole := {**_SMALL, **{str(n): n for n in range(100)}}.get(words[0])):
        value = Decimal(whole) + Decimal("0.5")
        scale = _SCALES.get(words[4])
        return at + 4 + bool(scale), plain_number(str(value * (scale or 1)))
    return None


def _scaled(tokens: list[Token], at: int, value: Decimal, roman: str) -> tuple[int, str]:
    """A number in digits with the scale behind it: 2.5 million, 3k."""
    scale = _SCALES.get(_text(tokens, at))
    if scale is None and at < len(tokens) and tokens[at].glued and tokens[at].text in ("k", "bn", "mn", "tn"):
        scale = _ABBREVIATED[tokens[at].text]
    if scale is None or roman:
        return at, plain_number(f"{value:f}")
    end, rest = _scaled(tokens, at + 1, value * scale, "")
    return end, rest


def _spelt(tokens: list[Token], at: int, start: Decimal) -> tuple[int, str | None]:
    """A number in words: two thousand and five, nineteen eighty-two, twenty-first."""
    total, group, end, groups = Decimal(0), start, at, 0
    while end < len(tokens):
        word = tokens[end].text
        if word in _SCALES and (group or total):
            if _SCALES[word] == 100:
                group *= 100
            else:
                total, group = total + group * _SCALES[word], Decimal(0)
        elif word in _TENS or word in _SMALL:
            size = _TENS.get(word, _SMALL.get(word, 0))
            if group % 100 >= 10 and not (group % 10 == 0 and size < 10):
                if groups or total or group >= 100 or size < 10:
                    break
                group, groups = group * 100, 1  # nineteen eighty-two
            elif group % 10 and group < 100:
                break
            group += size
        elif word in _ORDINALS and group % 10 == 0 and group and _ORDINALS[word] < 10:
            return end + 1, f"{plain_number(f'{total + group + _ORDINALS[word]:f}')}th"
        elif (word == "-" or word == "and") and _continues(tokens, end, word, group, total):
            pass
        else:
            break
        end += 1
    return end, plain_number(f"{total + group:f}")


def _continues(tokens: list[Token], at: int, word: str, group: Decimal, total: Decimal) -> bool:
    """Whether a hyphen or "and" stands inside a number: twenty-one, two hundred and five."""
    following = _text(tokens, at + 1)
    if word == "and":
        return (group >= 100 or total > 0) and (following in _SMALL or following in _TENS)
    return following in _SMALL or following in _TENS or following in _SCALES or following in _ORDINALS


def _is_pronoun(tokens: list[Token], at: int) -> bool:
    before = tokens[at - 1].text if at else ""
    if _text(tokens, at + 1) in _UNITS or _text(tokens, at + 1) in _SCALES:
        return False
    return _text(tokens, at + 1) in ("of", "another", "should", "might", "can", "would") or before in (
        "no", "the", "which", "this", "that", "another", "any", "every", "each", "same", "former", "latter", "only",
    )  # fmt: skip


def _text(tokens: list[Token], at: int) -> str:
    return tokens[at].text if 0 <= at < len(tokens) else ""
