"""Whether a text asserts the answer that it mentions, or denies, contrasts or merely quotes it.

A segment is written once per mention with placeholders: T the mention in question, S others of the same answer, O those
of the other answer. The rules (`rules`) are patterns over that line; the strength of a mention is what they leave of it.
"""

from __future__ import annotations

import re

from attnshift.scoring.lexicon import GENERIC
from attnshift.scoring.longer import Mention
from attnshift.scoring.rules import (
    ADVERBS,
    ASIDE,
    ASSERTED,
    BE,
    DENIED,
    DOUBTED,
    LEAST,
    QUOTED,
    RANKED,
    RULES,
    SITUATED,
    STRESSED,
    STRESSES,
    VERB,
    Q,
    Rule,
    W,
)
from attnshift.scoring.tokens import Token


def _union(rules: tuple[Rule, ...], strength: int, beside: bool = False) -> re.Pattern[str]:
    chosen = (rule.pattern for rule in rules if rule.strength == strength and rule.beside == beside)
    return re.compile("|".join(f"(?:{pattern})" for pattern in chosen))


_DENIED, _QUOTED = _union(RULES, DENIED), _union(RULES, QUOTED)
_LESSER = tuple((strength, _union(RULES, strength)) for strength in (ASIDE, SITUATED, RANKED))
_BESIDE = _union(RULES, ASIDE, beside=True)
_STRESSED = _union(STRESSES, STRESSED)
_PAST = re.compile(rf" (?:was|were|had been) (?:(?!by ){W}){{0,5}}T|T (?:was|were|had been)\b")
_PRESENT = re.compile(
    rf" (?:is|are|now|becomes|remains) {W}{{0,5}}T|T (?:has been|is|are|now|remains|becomes|serves)\b"
)
_OTHER_PRESENT = re.compile(_PRESENT.pattern.replace("T", "O"))
_CORRECTION = re.compile(
    rf" (?:wrongly|mistakenly|incorrectly|erroneously|falsely) [^.;!?]*O[^.;!?]* (?:instead of|rather than|and not|not) {W}{{0,2}}T"
)
"""What a mistake is said to have been put in place of."""
_COORDINATED = re.compile(
    r"[OS] (?:, (?!and [^.;!?]{0,12}T (?:is|was|has|had|comes|came)\b))?(?:and|or|nor|&|/|as well as|y|und|et|和|と) (?:the |also |in |by )?T"
)
_QUESTION = re.compile(
    r"(?:is|are|was|were|do|does|did|can|could|should|would|what|which|who|whom|where|when|why|how|has|have|will) "
)
_YES = re.compile(r"(?:[\"'] )*(?:yes|yeah|correct|right|exactly)\b")
_IDIOMS = re.compile(
    r" if i (?:am|was) not (?:mistaken|wrong)\b| if i (?:recall|remember)(?: correctly)?\b| (?:no|without(?: a| any)?) doubt"
    r"(?: that)?\b| there is(?= it )| not surprisingly\b| no question\b| not to mention\b| (?:is|was) (?:not|never) (?:difficult|hard|surprising|uncommon|easy)\b| (?:no|not a) secret(?: that)?\b"
    r"| (?:none|nothing|no one|no \w+) other than\b| can not go wrong with\b"
    r"| (?:not|never|no|without|beyond|nobody|no one|hardly|few)(?: \w+){0,3} (?:doubts?|disputes?|den(?:y|ies)|questions?)\b(?: that)?| nothing (?:but|else than)\b| i (?:do|did) not know(?: for sure)?\b"
    r"| not (?:entirely |completely |quite |fully )?sure\b| (?:why|if) not\b| not only\b"
)
_INSERTION = re.compile(
    rf"(?<![A-Za-z])([TOS]) , (?:(?!former|previous|once|old|origin|not|no|never|unlike|now|curren)[^\W,.;!?TOS]+ )+, (?={VERB} )"
)
"""What is slipped in between a name and its verb: "Lyon, on the Rhône, is"."""
_PARENTHESIS = re.compile(r", as (?:many|most|some|people|everyone)[^.;!?,]*, ")


def strengths(tokens: list[Token], mentions: list[Mention]) -> list[int]:
    """How strongly each mention is asserted, from `DENIED` to `STRESSED`."""
    found: list[int] = []
    pairs: list[int] = []
    for at, mention in enumerate(mentions):
        line = _line(tokens, mentions, at)
        found.append(
            ASSERTED
            if len(mentions) == 1 and _ends_saying(line, tokens, mention)
            else _strength(line, _met(mentions, found, at))
        )
        if found[at] in (RANKED, ASSERTED) and _elaborates(line) and _given_before(tokens, mentions, found, at):
            found[at] = ASIDE
        if (other := _rival(tokens, mentions, found, at)) is not None:
            found[other] = LEAST
        joined = at > 0 and found[at] != DENIED and _COORDINATED.search(line) is not None
        if joined and (mention.side != mentions[at - 1].side or found[at - 1] == DENIED):
            found[at] = found[at - 1]
            pairs.append(at)
    for at in pairs:  # "Of Paris and Lyon, it is Lyon"
        if any(strength >= ASSERTED and k not in pairs for k, strength in enumerate(found[at + 1 :], at + 1)):
            found[at - 1 : at + 1] = [min(DOUBTED, strength) for strength in found[at - 1 : at + 1]]
    return found


_SAYING = re.compile(
    r"(?:[(\"'] )*(?!(?:it|this|that|the|i|we|he|she|they|no|not|neither|nor|its|there|\") )(?=(?:[^\WTOS]+ )*(?:not|never|no|(?<!other )(?<!rather )than) )(?:(?!think|believe)[^\WTOS]+ ){3,}T(?: [.,!\"')])* (?:(?<=[.!\"')] ).*)?$"
)


def _ends_saying(line: str, tokens: list[Token], mention: Mention) -> bool:
    """Whether a common word ends a proverb, which says what it says: "Actions speak louder than words"."""
    return not mention.proper and tokens[mention.start].kind == "word" and _SAYING.match(line[1:]) is not None


def _met(mentions: list[Mention], found: list[int], at: int) -> bool:
    """Whether the other answer was said before, and not denied or conceded."""
    return any(s >= SITUATED and m.side != mentions[at].side for m, s in zip(mentions, found[:at], strict=False))


def _strength(line: str, beside: bool) -> int:
    """What the rules leave of T; ``beside`` an assertion of O, what is said with it counts less."""
    if (asked := _asked(line)) is not None:
        return asked
    if _CORRECTION.search(line):
        return ASSERTED
    if _DENIED.search(line):
        return DENIED
    stressed = bool(_STRESSED.search(line))
    if beside and _BESIDE.search(line):
        return DOUBTED if stressed else ASIDE
    for strength, pattern in _LESSER:
        if pattern.search(line):
            return DOUBTED if stressed else strength
    if _PAST.search(line) and not _PRESENT.search(line) and _OTHER_PRESENT.search(line):
        return ASIDE
    if _QUOTED.search(line):
        return QUOTED
    return STRESSED if stressed else ASSERTED


def _asked(line: str) -> int | None:
    """The strength of a mention inside a question, by how it is answered; None where it isn't in one."""
    start = max(line.rfind(mark, 0, line.index("T")) for mark in (". ", "? ", "! ", "; ")) + 1
    sentence = line[start:].lstrip(" \"'(")
    end = min((place for mark in ".?!;" if (place := sentence.find(mark)) >= 0), default=-1)
    if end < 0 or sentence[end] != "?" or "T" not in sentence[:end] or not _QUESTION.match(sentence):
        return None
    return ASSERTED if _YES.match(sentence[end + 1 :].lstrip()) else DENIED


_SENTENCE_END = (".", ";", "!", "?")
_IDENTIFIES = re.compile(
    rf"{BE} (?:{ADVERBS}|not only |in |the |an? |\" |' )*T|[:=] {Q}T"
    rf"|T (?:, [^,]*, )?{BE} {ADVERBS}(?:the (?!(?:\w+ ){{0,2}}(?:most|main|second|third|other|\w{{2,}}est)\b)|it|what|correct|right|true)"
    r"|T (?:serves?|served|acts?|functions?) as\b|(?:^ ?|, )(?:also|and|or|but|both|either) (?:the )?T"
)


def _elaborates(line: str) -> bool:
    """Whether a sentence that mentions T says more than T, yet not that it is the answer: "T lies in the west"."""
    here = line.index("T ")
    start = max((match.end() for match in _BOUNDARY.finditer(line, 0, here)), default=0)
    match = _BOUNDARY.search(line, here)
    sentence = line[start : match.start() if match else len(line)]
    fragment = len(sentence.split()) <= _FRAGMENT and not re.search(rf" {VERB} ", sentence)
    return not fragment and (not _IDENTIFIES.search(sentence) or _of_another_thing(sentence, line[:start]))


def _of_another_thing(sentence: str, before: str) -> bool:
    """Whether "B is T" has a subject of its own, that is neither a word for the answer nor named before."""
    subject = re.match(rf"(?:[(\"'] )*([^TOS]+?) {BE} (?:in |at |on |the |by )*T", sentence.lstrip())
    own = {*subject[1].split()} - GENERIC if subject else set()
    return bool(own) and not own & {*before.split()}


_BOUNDARY = re.compile(r"[.;!?] |, and ")


_FRAGMENT = 3
"""Words up to which a sentence without a verb is an answer by itself: "The city Lyon." """


def _given_before(tokens: list[Token], mentions: list[Mention], found: list[int], at: int) -> bool:
    """Whether an earlier sentence asserted the other answer."""
    this = mentions[at]
    return any(
        strength >= RANKED
        and earlier.side != this.side
        and _parted([token.text for token in tokens[earlier.end : this.start]])
        for earlier, strength in zip(mentions, found[:at], strict=False)
    )


def _parted(between: list[str]) -> bool:
    """Whether a sentence, or a clause behind ", and", begins among these words."""
    return bool({*_SENTENCE_END} & {*between}) or ("," in between and between[between.index(",") + 1 :][:1] == ["and"])


_JOINED = re.compile(
    r"(?:[,/&;:=()\"'\d-]|and|butalso|or|y|und|et|plus|as well as|also|then|both|the|in|by|at|of|to|和|と)*"
)
_CONJUNCT = 4
"""Words behind an "and" up to which a name is joined by it."""
_CONTRAST = frozenset(["but", "yet", "however"])


def _rival(tokens: list[Token], mentions: list[Mention], found: list[int], at: int) -> int | None:
    """Which of two answers in one sentence is less than the other, if they are said alike but not as a pair.

    The one behind is, as object or adjunct of a sentence on the first ("Tesla beat Edison to it"), unless it stands
    behind a "but" that turns to it.
    """
    if at == 0 or mentions[at - 1].side == mentions[at].side or found[at - 1] != found[at] or found[at] == DENIED:
        return None
    between = [token.text for token in tokens[mentions[at - 1].end : mentions[at].start]]
    if {*_SENTENCE_END} & {*between} or _JOINED.fullmatch("".join(between)):
        return None
    if {"and", "or"} & {*between[-_CONJUNCT:]}:
        return None
    here, before = (_IDENTIFIES.search(_line(tokens, mentions, i)) is not None for i in (at, at - 1))
    if here and {"and", "or"} & {*between}:
        return None
    return at - 1 if _CONTRAST & {*between} and (here or not before) else at


_KEPT_MARKS = frozenset(".,;:?!()\"'-/=>")
_DASHES = {"–": "-", "—": "-"}


def _line(tokens: list[Token], mentions: list[Mention], at: int) -> str:
    """The segment as words and marks with spaces between, mentions as placeholders."""
    target = mentions[at]
    marks = {m.start: (m, "S" if m.side == target.side else "O") for m in mentions if m[:2] != target[:2]}
    marks[target.start] = (target, "T")
    out: list[str] = []
    place = 0
    while place < len(tokens):
        if place in marks:
            mention, mark = marks[place]
            place = mention.end
            out += [mark, "'s"] if mention.possessive else [mark]
            continue
        token = tokens[place]
        text = _DASHES.get(token.text, token.text)
        if token.kind != "mark" or text in _KEPT_MARKS:
            joined = token.glued and out and not text.isascii() and not out[-1].isascii()
            out[-1:] = [out[-1] + text] if joined else [*out[-1:], text]
        place += 1
    line = " ".join(["", *out, ""])
    return _INSERTION.sub(r"\1 ", _PARENTHESIS.sub("", _IDIOMS.sub("", line)))
