"""Text as words, numbers and marks, in one spelling: no case, no accents, contractions and initials written alike."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import Literal, NamedTuple

Kind = Literal["word", "number", "mark"]


class Token(NamedTuple):
    """A word, a number or a punctuation mark."""

    text: str
    """folded; of a number its value"""
    kind: Kind
    glued: bool
    """whether nothing stands between it and the token before"""
    other: str = ""
    """a second reading: "john" of "john's", "street" of "st" """
    initials: bool = False
    """letters that were written with dots, or one letter"""


def fold(text: str) -> str:
    """Without case, accents (of Latin, Greek and Cyrillic letters) and differences of width; dashes kept."""
    return unicodedata.normalize("NFC", text).translate(_FOLDED)


def tokenise(text: str) -> list[Token]:
    """The tokens of a text; number words stay words (see `numbers.merge_numbers`)."""
    folded = _DOTTED.sub(lambda m: m[0].replace(".", "").replace(" ", "") + _INITIALS, fold(text))
    tokens: list[Token] = []
    reached = 0
    for match in (_LATIN_TOKEN if folded.isascii() else _TOKEN).finditer(folded):
        glued, reached = match.start() == reached and reached > 0, match.end()
        if number := match["number"]:
            tokens += _number(number, match["letters"] or "", glued)
        elif word := match["word"]:
            tokens += _words(word, glued)
        elif match["dotted"]:
            tokens.append(Token(match["dotted"][:-1], "word", glued, "", True))
        else:
            tokens.append(Token(match[0], "word" if match["ideograph"] else "mark", glued))
    return tokens


_INITIALS = "\ue000"
_DOTTED = re.compile(
    r"(?<![^\W\d_])(?<!['’])[^\W\d_](?:(?:\.[^\W\d_](?![^\W_]))+\.?|(?:\.\s?[^\W\d_](?=\.))+\.)(?![^\W_])"
)
_JOINED_LETTERS = {
    "ß": "ss", "ø": "o", "đ": "d", "ð": "d", "ł": "l", "æ": "ae", "œ": "oe", "þ": "th", "ı": "i", "ħ": "h", "ŋ": "n",
    "’": "'", "‘": "'", "ʼ": "'", "`": '"', "´": "'", "“": '"', "”": '"', "„": '"', "«": '"', "»": '"', "‹": '"',
    "›": '"', "「": '"', "」": '"', "『": '"', "』": '"', "‐": "-", "‑": "-", "−": "-", "。": ".", "、": ",",
    "，": ",", "；": ";", "：": ":", "？": "?", "！": "!", "…": ".", "।": ".", "؟": "?", "،": ",", "⁄": "/", "_": " ",
    "*": "", "^": "", "\u00ad": "", "\u200b": "", "\u200c": "", "\u200d": "", "\ufeff": "", "½": " 1/2", "・": "-",
}  # fmt: skip
_STRIPPED = ("LATIN", "GREEK", "CYRILLIC")


class _Folded(dict[int, str]):
    """What every character met so far is folded to, for `str.translate`."""

    def __missing__(self, code: int) -> str:
        return self.setdefault(code, _fold_character(chr(code)))


_FOLDED = _Folded()


def _fold_character(character: str) -> str:
    if character in _JOINED_LETTERS:
        return _JOINED_LETTERS[character]
    if "\u0300" <= character <= "\u036f" or "\u064b" <= character <= "\u0652" or "\u0591" <= character <= "\u05c7":
        return ""  # an accent, an Arabic or a Hebrew vowel sign by itself
    if unicodedata.name(character, "").startswith(_STRIPPED):
        character = "".join(c for c in unicodedata.normalize("NFKD", character) if not unicodedata.combining(c))
    folded = unicodedata.normalize("NFKC", character.casefold())
    folded = "".join(_JOINED_LETTERS.get(c, c) for c in folded)
    return "".join(c for c in unicodedata.normalize("NFC", folded) if not "\u0300" <= c <= "\u036f").replace(
        "\ue000", ""
    )


_LETTER = r"(?:[^\W\d_]|[\u0900-\u0963\u0966-\u0dff\u0e31-\u0e4e])"
_IDEOGRAPH = r"[\u3041-\u3096\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uac00-\ud7a3]"
_SPELT = rf"(?:(?!{_IDEOGRAPH}){_LETTER})"


def _token_pattern(letter: str, ideograph: str) -> re.Pattern[str]:
    return re.compile(
        rf"(?P<dotted>{letter}+{_INITIALS})"
        rf"|(?P<number>(?:(?<![^\s(\[\"'~=:$€£])-)?"
        rf"(?:\d{{1,3}}(?:,\d{{3}})+|\d{{1,3}}(?:[ \u00a0\u202f]\d{{3}})+(?!\d)|\d+)(?:\.\d+)?)(?P<letters>{letter}+)?"
        rf"|(?P<ideograph>{ideograph})"
        rf"|(?P<word>{letter}(?:{letter}|\d)*(?:'{letter}+)*)"
        r"|[^\s\w]"
    )


_TOKEN = _token_pattern(_SPELT, _IDEOGRAPH)
_LATIN_TOKEN = _token_pattern("[a-z]", "(?!)")
"""The same where nothing but ASCII is left, twice as fast."""

_ELISIONS = ("l'", "d'", "qu'", "n'", "s'", "c'", "j'", "m'", "t'")
_ENDINGS = {"'s": "is", "'re": "are", "'ve": "have", "'ll": "will", "'d": "would", "'m": "am"}
_ARE_IS = frozenset("it that this he she there here what who where when how let which".split())
_UNMARKED = {
    "isnt": "is not", "wasnt": "was not", "arent": "are not", "doesnt": "does not", "didnt": "did not",
    "dont": "do not", "cant": "can not", "cannot": "can not", "wont": "will not", "hasnt": "has not",
    "can't": "can not", "won't": "will not", "ain't": "is not", "shan't": "shall not",
}  # fmt: skip
_OTHER_READINGS = {"st": ("saint", "street"), "ste": ("saint", ""), "sainte": ("saint", ""), "mt": ("mount", "")}
_OTHER_READINGS |= {"ft": ("fort", "feet"), "i": ("i", "1"), "vs": ("versus", ""), "no": ("no", "number")}
_ROMAN = {"ii": 2, "iii": 3, "iv": 4, "vi": 6, "vii": 7, "viii": 8, "ix": 9, "xi": 11, "xii": 12, "xiii": 13,
          "xiv": 14, "xv": 15, "xvi": 16, "xvii": 17, "xviii": 18, "xix": 19, "xx": 20}  # fmt: skip


def _number(number: str, letters: str, glued: bool) -> list[Token]:
    """A number and what is written to it: 5km, 12th, 1990s, 221b."""
    number = re.sub(r"[, \u00a0\u202f]", "", number)
    value = plain_number(number.replace(".", "") if number.endswith(".000") else number)
    if letters in ("st", "nd", "rd", "th"):
        return [Token(value + "th", "word", glued)]
    if letters == "s" or (letters and len(letters) == 1 and letters not in "kmglhs"):
        return [Token(value + letters, "word", glued)]
    tokens = [Token(value, "number", glued)]
    return tokens + ([Token(letters, "word", True)] if letters else [])


def plain_number(digits: str) -> str:
    """A number in its shortest spelling: 1.50 is 1.5, 007 is 7."""
    whole, dot, part = digits.partition(".")
    sign = "-" if whole.startswith("-") else ""
    part = part.rstrip("0")
    return sign + (whole.lstrip("-").lstrip("0") or "0") + (f".{part}" if dot and part else "")


@lru_cache(maxsize=16384)
def _words(word: str, glued: bool) -> tuple[Token, ...]:
    """A word; contractions are written out, elided articles cut off."""
    if word in _UNMARKED:
        return _plain(_UNMARKED[word].split(), glued)
    if word.endswith("n't"):
        return _plain([word[:-3], "not"], glued)
    for elision in _ELISIONS:
        if word.startswith(elision) and len(word) > len(elision) + 1:
            return (Token(elision[:-1], "word", glued), *_words(word[len(elision) :], True))
    base, mark, ending = word.rpartition("'")
    if mark and (ending != "s" or base in _ARE_IS) and mark + ending in _ENDINGS:
        return _plain([base, _ENDINGS[mark + ending]], glued)
    if mark and ending == "s":
        return (Token(base.replace("'", "") + "s", "word", glued, base.replace("'", "")),)
    word = word.replace("'", "")
    if word in _ROMAN:
        return (Token(str(_ROMAN[word]), "number", glued, word),)
    text, other = _OTHER_READINGS.get(word, (word, ""))
    return (Token(text, "word", glued, other, len(word) == 1),)


def _plain(words: list[str], glued: bool) -> tuple[Token, ...]:
    return tuple(Token(word.replace("'", ""), "word", glued and i == 0) for i, word in enumerate(words))
