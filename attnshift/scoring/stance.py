"""Whether a text asserts the answer that it mentions, or denies, contrasts or merely quotes it.

A segment is written once per mention with placeholders: T the mention in question, S others of the same answer, O those
of the other answer. Each rule is a pattern over that line. The strength of a mention is what the rules leave of it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from attnshift.scoring.longer import Mention
from attnshift.scoring.tokens import Token

ASSERTED = 4
STRESSED = 5
QUOTED = 3
ASIDE = 1
DENIED = 0

_BREAK = r"but|because|since|although|though|while|whereas|however|sondern|sino|mais|pero|aber|yet|so|therefore|thus"
W = rf"(?:(?!(?:{_BREAK})\b)[^\WTOS]+ )"
"""A word of the same clause."""
Q = r"(?:[\"'(:] )*"
"""Marks that may open a quotation."""
NOT = r"(?:not|never|neither|nor|no longer|hardly|nicht|kein|keine|keinen|pas|jamais|ni|не|niet|ikke|nao)"
BE = r"(?:is|are|was|were|be|been|being|has been|had been|would be|became|becomes)"
VERB = r"(?:is|are|was|were|has|have|had|does|do|did|can|could|would|should|will|may|might|must)"
SOURCE = (
    r"(?:text|passage|context|article|document|paragraph|story|excerpt|author|question|claim|statement|source|prompt"
    r"|input|premise|information|snippet|report|user)"
)
SAYS = (
    r"(?:say|says|said|state|states|stated|claim|claims|claimed|mention|mentions|mentioned|suggest|suggests|suggested"
    r"|give|gives|indicate|indicates|write|writes|read|reads|imply|implies|assert|asserts|name|names|refer|refers"
    r"|describe|describes|about|of)"
)
FALSE = (
    r"(?:wrong|incorrect|false|untrue|mistaken|outdated|fictional|fictitious|fiction|inaccurate|obsolete|not true"
    r"|not correct|not right|not the case|(?:a |an )?(?:common |popular |frequent )?(?:mistake|misconception|myth|error))"
)
BELIEVE = (
    r"(?:think|thinks|thought|believe|believes|believed|assume|assumes|assumed|guess|guessed|expect|expected|imagine"
    r"|suppose|supposed|mistake|mistaken|confuse|confused|say|answer|call|consider|considered|attributed|associated)"
)
ANYONE = r"(?:many|most|some|people|everyone|everybody|others|they|you|one|often|commonly|widely|usually|popularly|typically|frequently|generally|traditionally)"


@dataclass(frozen=True)
class Rule:
    """One pattern and the strength that it leaves."""

    name: str
    strength: int
    pattern: str


RULES: tuple[Rule, ...] = (
    # Denied
    Rule("negated before", DENIED, rf"\b{NOT} (?!only\b|just\b|merely\b|simply\b)(?:{W}|[\"'(] ){{0,7}}T"),
    Rule("negated in a row", DENIED, rf"\b{NOT} {W}{{0,6}}[OS] (?:, )?(?:or|nor) {W}{{0,2}}T"),
    Rule("no", DENIED, r"\bno (?:evidence|indication|sign|proof|mention|reason|way) [^.?!;,TOS]*T"),
    Rule("no es", DENIED, r"\bno (?:es|fue|era|esta|son) (?:en )?T"),
    Rule("negated behind", DENIED, rf"T (?:\" )?{VERB} (?:\w+ly |ever |also |still |itself ){{0,2}}(?:not|never|no longer)\b(?! only| just| merely)"),
    Rule("never behind", DENIED, r"T (?:never|no longer|cannot)\b"),
    Rule("isn't", DENIED, rf"T (?:\" )?(?:{BE} )?(?:\w+ly |simply |also ){{0,2}}{FALSE}\b"),
    Rule("wrongly", DENIED, rf"\b(?:wrongly|mistakenly|incorrectly|erroneously|falsely|wrong about|myth that|misconception that|mistake to \w+|wrong to \w+) {Q}(?:{W}|[\"'] ){{0,6}}T"),
    Rule("rather than", DENIED, rf"\b(?:rather than|instead of|as opposed to|in place of|in lieu of|anything but|unlike|except|except for|excluding|apart from|contrary to|than) {Q}{W}{{0,4}}T"),
    Rule("other than", DENIED, rf"(?<!none )(?<!nothing )(?<!no one )\bother than {Q}{W}{{0,2}}T"),
    Rule("unlike in a row", DENIED, rf"\b(?:unlike|than|instead of|rather than) {W}{{0,2}}[OS] (?:and|or) {W}{{0,2}}T"),
    Rule("believed", DENIED, rf"\b{ANYONE} (?!of\b){W}{{0,4}}{BELIEVE} {Q}(?:{W}|[\"'] ){{0,7}}T"),
    Rule("what people say", DENIED, rf"T (?:\" )?{BE} what {W}{{0,4}}(?:people|many|most|everyone|you|one|some)\b"),
    Rule("whether", DENIED, rf"\b(?:whether|if) {Q}{W}{{0,5}}T"),
    Rule("false statement", DENIED, rf"\b(?:claim|statement|idea|notion|belief|assertion|suggestion|premise)\b[^.?!;]*T[^.?!;]* {BE} (?:\w+ly )?{FALSE}"),
    Rule("false, next", DENIED, rf"T[^.?!;O]*[.;] (?:\" )?(?:this|that|which|it) {BE} (?:\w+ly )?{FALSE}"),
    Rule("taken back", DENIED, r"T[^O]*(?:\b(?:no wait|wait no|wait ,|i mean|i meant|sorry|scratch that|correction|or rather|my mistake|oops|my bad)\b|[.;] (?:no , |well , )?actually\b|\? (?:\" )?(?:no|nope|wrong|incorrect|not)\b)[^T]*O"),
    Rule("answered no", DENIED, r"T[^.?!]*\? (?:\" )?(?:no|nope|wrong|incorrect)\b"),
    Rule("scripts: not", DENIED, r"(?:不是|并非|並非|不在|不再是|而非|非) ?T"),
    Rule("scripts: isn't", DENIED, r"T (?:で ?は ?な|じゃな|で ?は ?あ ?り ?ま ?せ ?ん|で ?な ?く|[이가은는] ?아 ?[니닌닙])"),
    # Aside: something else is said of it
    Rule("former", DENIED, rf"\b(?:formerly|former(?! name)|previously|previous|used to be|erstwhile) (?:[,:] )?{W}{{0,6}}T"),
    Rule("once", ASIDE, rf"\b(?:originally|once|historically|before (?:that|then)|prior to|initially|at first|former name)\b (?:[,:] )?{W}{{0,6}}T"),
    Rule("before", ASIDE, r"\bbefore (?:the )?T(?! (?:took|became|was|is|replaced|has|had))"),
    Rule("left", ASIDE, rf"\b(?:left|leaving|leaves|abandoned|abandoning|from|replaced(?! by)|replaces|replacing|succeeded(?! by)|succeeds|succeeding|supplanted(?! by)|over from|outside|near|close to|north of|south of|east of|west of|between|like|similar to|compared to|compared with|followed by|versus|vs|away from|chosen over|preferred over|picked over|selected over|destruction in|damage in|destroyed|born in) {W}{{0,1}}T"),
    Rule("between", ASIDE, rf"\bbetween {W}{{0,1}}[OS] and {W}{{0,1}}T"),
    Rule("destroyed", ASIDE, rf"T (?:{VERB} )?(?:been |being )?(?:\w+ly )?(?:destroyed|damaged|flooded|evacuated|ruined|fell)\b"),
    Rule("replaced", DENIED, rf"T (?:{VERB} )?(?:been |being )?(?:\w+ly )?(?:abandoned|gave way|given way|lost its|ceased|used to be|until|no more|anymore|(?:replaced|superseded|succeeded|supplanted)(?! (?:[OST]|the|as) ))\b"),
    Rule("replaced by", DENIED, r"T (?:was|is|has been|got|being|,) (?:\w+ly )?(?:replaced|superseded|succeeded|supplanted)\b"),
    Rule("was former", DENIED, rf"T (?:[,(] |- )?(?:{BE} )?{W}{{0,2}}(?:former|previous|old|original|erstwhile|formerly|previously)\b(?! (?:known as |called |the |as )?[OS] )"),
    Rule("was until", DENIED, r"T (?:was|had been) [^.;!?OS]*\b(?:until|before)\b"),
    Rule("until", DENIED, r"\b(?:was|had been) T until\b"),
    Rule("doubt", DENIED, rf"\b(?:doubt|doubtful|unlikely|impossible) (?:that )?{W}{{0,4}}T|T {BE} (?:very |highly )?(?:unlikely|doubtful|impossible)\b"),
    Rule("something else", ASIDE, rf"T (?:{BE} )(?:a|an|one of|the (?:largest|biggest|second|most|main|other|oldest)|bigger|larger|smaller|older|known|famous|located|situated|only|much)\b"),
    Rule("conceded", ASIDE, r"\b(?:although|though|even though|while|whereas|despite|notwithstanding|even if|albeit|in spite of)\b[^.;?!,]*T"),
    Rule("thought", ASIDE, rf"\bi (?:had |have |would have |first |initially |originally |always )?(?:thought|assumed|said|guessed|expected) {Q}{W}{{0,5}}T"),
    Rule("mentioned", ASIDE, rf"\b(?:mention|mentions|mentioned|name|occurrence) (?:of )?{Q}{W}{{0,2}}T"),
    Rule("doubtful", ASIDE, r"T[^.!?]*\? .*[OS]"),
    Rule("oblique", ASIDE, rf"O[^.;!?]* (?:of|with|on|about|from|after|ahead of|against|under|for|upon|through|behind|beside|past|unlike|than) (?:(?!{BE} )[^\WTOS]+ ){{0,1}}T"),
    Rule("relative", ASIDE, r"O (?:[^.;!?]*, )?(?:who|which|that|where|whose|with|[a-z]+ing) (?:(?!(?:but|is|was)\b)[^.;!?OT]+ )*T"),
    Rule("subordinate", ASIDE, rf"\b(?:after|since|when|because|following|if|once) {W}{{0,4}}T[^.;!?(]*, [^.;!?]*O"),
    Rule("caused", ASIDE, rf"O[^.;!?]*\b(?:because|since|as|after|when) {W}{{0,3}}T"),
    Rule("possessive", ASIDE, r"T 's .*O|O.*T 's "),
    Rule("second", ASIDE, rf"T (?:(?:{BE}|came|finished|,) )?(?:the |his |her |its )?(?:second|third|runner-up|next|latter|other)\b"),
    Rule("share", ASIDE, r"O [^.;!?]*, (?:and|with) T (?:\d|at |makes )"),
    Rule("lesser", ASIDE, r"[OS] > T|T - > [OS]"),
    # Quoted
    Rule("the text says", QUOTED, rf"\b{SOURCE} {W}{{0,3}}{SAYS} {Q}(?:{W}|[\"'] ){{0,9}}T"),
    Rule("according to", QUOTED, rf"\b(?:according to|based on|per|in) (?:the |this |that |your ){W}{{0,2}}{SOURCE}\b[^.;!?]*T.*\b(?:but|however|though|although|in reality|actually|in fact|yet)\b"),
    Rule("you asked", QUOTED, rf"\b(?:asked|asks|asking|wonder) {W}{{0,4}}T"),
)  # fmt: skip

STRESSES: tuple[Rule, ...] = (
    Rule("the answer is", STRESSED, rf"\b(?:answer|solution|correct|choice|option)(?: \w+ \w+)? (?:{BE}|:|=) {Q}(?:the |in |option |[a-e] \) |[a-e] [.:] )*{Q}T"),
    Rule("is right", STRESSED, rf"T (?:\" )?{BE} (?:also )?(?:correct|right|true|the (?:correct |right |final )?answer)\b"),
    Rule("now", STRESSED, rf"\b(?:now|currently|today|nowadays|presently) (?:, )?(?!known)(?:{W}){{0,4}}T"),
    Rule("is now", STRESSED, r"T (?:is |serves |became |took )?(?:now|currently|today|nowadays|took (?:its|the|over)|became|instead)\b"),
    Rule("moved to", STRESSED, rf"\b(?:mov\w+|relocat\w+|transfer\w+|shift\w+|chang\w+|replaced|superseded|succeeded|made|way)\b (?:{W}|[OS] )*?(?:to|by|with) {W}{{0,2}}T"),
    Rule("made it", STRESSED, r"\b(?:made|making|declared|chose|chosen|named) (?:the city of )?T (?:its|the|as|a)\b"),
    Rule("in fact", STRESSED, rf"\b(?:in fact|in reality|actually|in truth|really is|remains|correct answer) (?:, )?{W}{{0,6}}T"),
    Rule("so", STRESSED, r"\b(?:so|therefore|thus|hence) (?:, )?(?:the (?:\w+ )?(?:answer|capital) is |it is |it must be |i (?:would |will )?(?:say|answer|choose|go with) )?T"),
    Rule("also", STRESSED, r"\balso {W}{0,2}T"),
)  # fmt: skip


def _union(rules: tuple[Rule, ...], strength: int) -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{rule.pattern})" for rule in rules if rule.strength == strength))


_DENIED, _ASIDE, _QUOTED = (_union(RULES, strength) for strength in (DENIED, ASIDE, QUOTED))
_STRESSED = _union(STRESSES, STRESSED)
_PAST = re.compile(rf"\b(?:was|were|had been) {W}{{0,5}}T|T (?:was|were|had been)\b")
_PRESENT = re.compile(
    rf"\b(?:is|are|now|becomes|remains) {W}{{0,5}}T|T (?:has been|is|are|now|remains|becomes|serves)\b"
)
_OTHER_PRESENT = re.compile(_PRESENT.pattern.replace("T", "O"))
_COORDINATED = re.compile(r"[OS] (?:, )?(?:and|or|nor|&|/|as well as|y|und|et|和|と) (?:the |also |in |by )?T")
_QUESTION = re.compile(
    r"(?:is|are|was|were|do|does|did|can|could|should|would|what|which|who|whom|where|when|why|how|has|have|will) "
)
_YES = re.compile(r"(?:[\"'] )*(?:yes|yeah|correct|right|exactly)\b")
_IDIOMS = re.compile(
    r"\bif i (?:am|was) not (?:mistaken|wrong)\b|\bif i (?:recall|remember)(?: correctly)?\b|\b(?:no|without(?: a| any)?) doubt"
    r"(?: that)?\b|\bthere is (?=it )|\bnot surprisingly\b|\bno question\b|\bnot to mention\b|\b(?:no|not a) secret(?: that)?\b"
    r"|\b(?:none|nothing|no one) other than\b|\bnothing (?:but|else than)\b|\bi (?:do|did) not know(?: for sure)?\b"
    r"|\bnot (?:entirely |completely |quite |fully )?sure\b|\b(?:why|if) not\b|\bnot only\b"
)
_PARENTHESIS = re.compile(r", as (?:many|most|some|people|everyone)[^.;!?,]*, ")


def strengths(tokens: list[Token], mentions: list[Mention]) -> list[int]:
    """How strongly each mention is asserted, from `DENIED` to `STRESSED`."""
    found: list[int] = []
    for at, mention in enumerate(mentions):
        line = _line(tokens, mentions, at)
        found.append(_strength(line))
        joined = at > 0 and found[at] != DENIED and _COORDINATED.search(line) is not None
        if joined and (mention.side != mentions[at - 1].side or found[at - 1] == DENIED):
            found[at] = found[at - 1]
    return found


def _strength(line: str) -> int:
    if (asked := _asked(line)) is not None:
        return asked
    if _DENIED.search(line):
        return DENIED
    stressed = bool(_STRESSED.search(line))
    if _ASIDE.search(line):
        return QUOTED - 1 if stressed else ASIDE
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


_KEPT_MARKS = frozenset(".,;:?!()\"'-/=>")
_DASHES = {"–": "-", "—": "-"}


def _line(tokens: list[Token], mentions: list[Mention], at: int) -> str:
    """The segment as words and marks with spaces between, mentions as placeholders."""
    target = mentions[at]
    marks = {m.start: (m.end, "S" if m.side == target.side else "O") for m in mentions if m[:2] != target[:2]}
    marks[target.start] = (target.end, "T")
    out: list[str] = []
    place = 0
    while place < len(tokens):
        if place in marks:
            place, mark = marks[place]
            out.append(mark)
            if tokens[place - 1].other and tokens[place - 1].text == f"{tokens[place - 1].other}s":
                out.append("'s")
            continue
        token = tokens[place]
        text = _DASHES.get(token.text, token.text)
        if token.kind != "mark" or text in _KEPT_MARKS:
            joined = token.glued and out and not text.isascii() and not out[-1].isascii()
            out[-1:] = [out[-1] + text] if joined else [*out[-1:], text]
        place += 1
    line = " ".join(out) + " "
    return _PARENTHESIS.sub("", _IDIOMS.sub(" ", line))
