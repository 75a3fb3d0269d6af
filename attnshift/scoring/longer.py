"""Whether the words beside a mention make another name of it: New Cairo, Jordan River, Paris Hilton."""

from __future__ import annotations

from typing import NamedTuple

from attnshift.scoring.answers import Answers
from attnshift.scoring.lexicon import (
    ADJECTIVES,
    ARTICLES,
    CITIES,
    CITY_NAMESAKES,
    EPONYMOUS,
    FEATURES,
    FIRST_NAMES,
    HEADED,
    NAME_HEADS,
    NAME_TAILS,
    NATURAL,
    NOUNS,
    OF_HEADS,
    PARTICIPLES,
    PLACES,
    STOPWORDS,
    VERBS,
)  # fmt: skip
from attnshift.scoring.tokens import Token


class Mention(NamedTuple):
    """One place where an answer is named."""

    start: int
    end: int
    """tokens, end exclusive"""
    side: int
    """0 the context's answer, 1 the parametric one"""
    doubt: int
    """0 as spelt, 1 a part of it, 2 misspelt"""
    person: bool = False
    """whether it is a surname"""
    proper: bool = False
    """whether the answer is written as a name, so that words beside it may belong to it"""
    possessive: bool = False
    """whether an 's ends it"""


def inside_longer_name(tokens: list[Token], mention: Mention, others: list[Mention], answers: Answers) -> bool:
    """Whether the words beside a mention make another name of it: New Cairo, Jordan River, Paris Hilton."""
    first, last = tokens[mention.start], tokens[mention.end - 1]
    if first.kind == "number" or last.kind == "number":
        return False
    if not first.text.isascii():
        return _inside_longer_script(tokens, mention)
    if _compound(tokens, mention, others):
        return True
    if not mention.proper:
        return False
    words = [t.text for t in tokens[mention.start : mention.end] if t.kind != "mark"]
    return _headed(tokens, mention, words, answers) or _tailed(tokens, mention, words, others, answers)


def _compound(tokens: list[Token], mention: Mention, others: list[Mention]) -> bool:
    """Whether a hyphen ties the mention to another word that is no answer: Paris-Saclay, non-Paris."""
    start, end = mention.start, mention.end
    if start > 1 and tokens[start - 1].text == "-" and tokens[start - 1].glued and tokens[start].glued:
        return not any(m.end == start - 1 for m in others)
    if end + 1 < len(tokens) and tokens[end].text == "-" and tokens[end].glued and tokens[end + 1].glued:
        return not any(m.start == end + 1 for m in others) and tokens[end + 1].kind != "mark"
    in_domain = (
        end + 1 < len(tokens) and tokens[end].text == "." and tokens[end + 1].text in ("com", "org", "net", "io")
    )
    return in_domain and tokens[end + 1].glued


def _headed(tokens: list[Token], mention: Mention, words: list[str], answers: Answers) -> bool:
    before = tokens[mention.start - 1] if mention.start else None
    if before is None or before.kind != "word":
        return False
    known = words[0] in PLACES or words[0] in CITIES
    if before.text in ("great", "greater", "little", "old", "outer", "inner"):
        return known
    if before.text == "of" and mention.start > 1 and tokens[mention.start - 2].text in OF_HEADS:
        return not mention.person
    if before.text in NAME_HEADS and not mention.person:
        return True
    if (before.text, words[0]) in HEADED:
        return True
    named = len(words) == 1 and known and not mention.person and before.text in FIRST_NAMES
    return named and _other_is_place(mention.side, answers)


def _tailed(tokens: list[Token], mention: Mention, words: list[str], others: list[Mention], answers: Answers) -> bool:
    after = tokens[mention.end] if mention.end < len(tokens) else None
    if after is None or any(m.start == mention.end for m in others) or after.text.startswith(tuple(words)):
        return False
    if after.kind != "word" or after.glued:
        return after.kind == "number" and mention.doubt == 1 and not (after.other and mention.person)
    second = tokens[mention.end + 1] if mention.end + 1 < len(tokens) else None
    if after.text in ("de", "del", "do", "da", "dos", "di") and second and second.kind == "word":
        return not mention.person and second.text not in ARTICLES
    if mention.possessive:
        return False
    if after.text in NATURAL and words[-1] in PLACES and not _other_is_place(mention.side, answers):
        return False  # the Mississippi River, beside the Amazon
    return _lengthens(after.text, words, mention)


def _other_is_place(side: int, answers: Answers) -> bool:
    """Whether the other answer is a country, state or city, so that this one is meant as one as well."""
    return any(
        name.side != side and len(name.words) == 1 and (first in PLACES or first in CITIES)
        for first, names in answers.names.items()
        for name in names
    )


def _lengthens(text: str, words: list[str], mention: Mention) -> bool:
    """Whether the word behind a name makes a longer one of it."""
    known = words[-1] in PLACES or words[-1] in CITIES
    if text == "city":
        return words[-1] in CITY_NAMESAKES
    if text in EPONYMOUS:
        return mention.doubt == 0 or mention.person
    if text in FEATURES:
        first_name = words[-1] in FIRST_NAMES and not mention.person  # Victoria Falls
        return (known or first_name or words[-1] in ADJECTIVES) and len(words) == 1
    if text in NAME_TAILS:
        return True
    if len(words) > 1 and known:
        return False
    if any(text in listed for listed in (STOPWORDS, VERBS, NOUNS, PARTICIPLES, ARTICLES)):
        return False
    if text in PLACES or text in CITIES:
        return mention.person or words[-1] in PLACES
    if len(text) == 1 or not text.isascii():
        return False
    return not (len(text) > 3 and text.endswith(("ed", "ly", "s")))


_HEADS_OF_SCRIPTS = frozenset("新南北東东西大小신남북동서")
_TAILS_OF_SCRIPTS = ("大学", "大學", "大学院", "人", "语", "語", "队", "隊", "대학", "塔", "塔", "湾", "灣", "河", "山")


def _inside_longer_script(tokens: list[Token], mention: Mention) -> bool:
    """The same for names written without spaces."""
    start, end = mention.start, mention.end
    if start and tokens[start].glued and tokens[start - 1].text in _HEADS_OF_SCRIPTS:
        return True
    rest = ""
    while end < len(tokens) and tokens[end].glued and len(rest) < 3 and tokens[end].kind == "word":
        rest += tokens[end].text
        end += 1
    return bool(rest) and rest.startswith(_TAILS_OF_SCRIPTS)
