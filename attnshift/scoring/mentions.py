"""Where a text names the answers, as themselves and not inside a longer name."""

from __future__ import annotations

from attnshift.scoring.answers import Answers, Name
from attnshift.scoring.dates import dates_in
from attnshift.scoring.lexicon import ARTICLES, FIRST_NAMES, NAMESAKES, NOUNS, STOPWORDS, TITLES, VERBS
from attnshift.scoring.longer import Mention, inside_longer_name
from attnshift.scoring.numbers import Quantity, quantity_at
from attnshift.scoring.spelling import corrected
from attnshift.scoring.tokens import Token


def find_mentions(tokens: list[Token], answers: Answers) -> list[Mention]:
    """Every mention in order, none overlapping: where two do, the longer one stands."""
    found = [*_names(tokens, answers), *_quantities(tokens, answers), *_dates(tokens, answers)]
    chosen = _longest(found)
    alone = [m for m in chosen if m.doubt != 1 or not _beside_another(m, chosen)]
    return [m for m in alone if not inside_longer_name(tokens, m, alone, answers)]


def _names(tokens: list[Token], answers: Answers) -> list[Mention]:
    found: list[Mention] = []
    for at, token in enumerate(tokens):
        if token.kind == "mark":
            continue
        known = {token.text, token.other, corrected(token.text, answers)} - {""}
        for name in {name: None for word in known for name in answers.names.get(word, ())}:
            match = _follow(tokens, at, name, answers)
            if match is None or not _stands(tokens, at, match[0], name):
                continue
            if (mention := _with_given(tokens, _mention(at, match, name), name)) is not None:
                last = tokens[mention.end - 1]
                possessive = last.text == f"{last.other}s" and name.words[-1] != last.text
                found.append(mention._replace(possessive=possessive))
    whole = {m[:2] for m in found if not m.possessive}  # St. John's isn't St. John with an s
    return [m for m in found if not m.possessive or m[:2] not in whole]


def _mention(at: int, match: tuple[int, int], name: Name) -> Mention:
    return Mention(at, match[0], name.side, max(int(name.derived), match[1]), name.given is not None, name.proper)


def _follow(tokens: list[Token], at: int, name: Name, answers: Answers) -> tuple[int, int] | None:
    """Where the name that begins here ends, and 2 if it is misspelt; None where other words follow."""
    doubt, place = 0, at
    for i, word in enumerate(name.words):
        while i and place < len(tokens) and word != tokens[place].text and _joins(tokens, place):
            place += 1
        if place >= len(tokens):
            return None
        token = tokens[place]
        if word not in (token.text, token.other):
            if corrected(token.text, answers) != word:
                return None
            doubt = 2
        place += 1
    return place, doubt


_ABBREVIATED = frozenset("saint mount fort mrs gen gov sen rev col sgt capt prof".split())
"""Words that a full stop may follow inside a name, as `tokens` writes them."""


def _joins(tokens: list[Token], at: int) -> bool:
    """Whether a mark, or the article of "the Pacific and the Atlantic", may stand inside a name."""
    text, before = tokens[at].text, tokens[at - 1].text
    if text == ".":
        return len(before) <= 2 or before in _ABBREVIATED
    return text in "-–/,'\"&·" or (text in ARTICLES and before in ("and", "of"))


def _stands(tokens: list[Token], start: int, end: int, name: Name) -> bool:
    """Whether a name that is also a little word is meant as a name: "the US", "It." alone."""
    if len(name.words) > 1 or name.words[0] not in STOPWORDS or not name.words[0].isascii():
        return True
    words = sum(token.kind != "mark" for token in tokens)
    before = tokens[start - 1].text if start else ""
    if start == 0 and end < len(tokens) and tokens[end].text == ".":
        return True
    last = not name.proper and (end == len(tokens) or tokens[end].kind == "mark")
    return words <= 2 or last or tokens[start].initials or before in ("the", '"', "'", "(")


def _with_given(tokens: list[Token], mention: Mention, name: Name) -> Mention | None:
    """A surname with the given names before it; None where those are somebody else's."""
    if name.given is None:
        return mention
    start, met, spelt_out = mention.start, False, True
    while start:
        back = 1 + (start > 1 and tokens[start - 1].text == "." and len(tokens[start - 2].text) <= 4)  # "Dr. King"
        before = tokens[start - back]
        if before.kind != "word" or not _is_given(before, name.given, spelt_out):
            break
        start, spelt_out = start - back, spelt_out and not before.initials
        met = met or tokens[start].text in name.distinct
    if name.distinct and not met:
        return None
    if start and tokens[start - 1].kind == "word":
        before, earlier = tokens[start - 1], tokens[start - 2].text if start > 1 else ""
        if _is_middle(before.text, earlier, name):
            return mention._replace(start=start - 2)
        if (
            before.text in FIRST_NAMES
            or (before.initials and before.text not in ARTICLES)
            or earlier in FIRST_NAMES
            or not _describes(before)
        ):
            return None
    return mention._replace(start=start)


def _is_middle(middle: str, first: str, name: Name) -> bool:
    """Whether a middle name stands between the first name and the surname: Neil Alden Armstrong."""
    called = name.given[0] if name.given else ""
    known = len(called) > 2 and first == called
    return known and middle not in STOPWORDS and (first, middle, name.words[-1]) not in NAMESAKES


_DESCRIBING = (
    "ist",
    "er",
    "or",
    "ian",
    "ary",
    "ous",
    "al",
    "ic",
    "ive",
    "ent",
    "ish",
    "ese",
    "ean",
    "ed",
    "ly",
    "can",
)


def _describes(before: Token) -> bool:
    """Whether the word before a surname says what somebody is, rather than who."""
    text = before.text
    known = text in TITLES or text in STOPWORDS or text in VERBS or text in NOUNS
    return known or not text.isascii() or (len(text) > 4 and text.endswith(_DESCRIBING))


def _is_given(token: Token, given: tuple[str, ...], spelt_out: bool) -> bool:
    """Whether a word is one of the given names, or one's initial, or if ``spelt_out`` what an initial stands for."""
    text = token.text
    if text in given:
        return True
    initials = "".join(g if len(g) <= 2 else g[0] for g in given)
    if len(text) <= 3 and (token.initials or (len(text) == 2 and text not in STOPWORDS)):
        return initials.startswith(text) or text in initials
    known = text in STOPWORDS or text in TITLES or text in VERBS
    return spelt_out and not known and any(len(g) <= 2 and text[0] in g for g in given)


def _quantities(tokens: list[Token], answers: Answers) -> list[Mention]:
    found = []
    for at, token in enumerate(tokens) if answers.quantities else ():
        if (
            token.kind == "number"
            and (here := quantity_at(tokens, at)) is not None
            and not _in_longer_number(tokens, at)
        ):
            start, end, said = here
            for asked, side in answers.quantities:
                if _same(said, asked):
                    found.append(Mention(start, end, side, int(said.dimension != asked.dimension)))
    found = [m for m in found if not _numbers_a_list(tokens, m.start, len(found) > 1)]
    if len({m.side for m in found if m.doubt}) > 1 and answers.quantities:
        bare = {m[:2] for m in found if m.doubt and any(o[:2] == m[:2] and o.side != m.side for o in found)}
        found = [m for m in found if m[:2] not in bare]
    return found


_TEMPERATURES = {"degrees", "celsius", "fahrenheit"}


def _same(said: Quantity, asked: Quantity) -> bool:
    """Whether the number said is the one asked for; a unit may be missing on one side, but not differ."""
    if said.dimension and asked.dimension and not {said.dimension, asked.dimension} < _TEMPERATURES:
        return said.dimension == asked.dimension and said.value == asked.value
    return said.number == asked.number


def _in_longer_number(tokens: list[Token], at: int) -> bool:
    """Whether a number is a piece of a range, a ratio or a time."""
    before, after = tokens[at - 1] if at else None, tokens[at + 1] if at + 1 < len(tokens) else None
    if (
        before
        and before.text in "-–/:"
        and before.glued
        and tokens[at].glued
        and at > 1
        and tokens[at - 2].kind == "number"
    ):
        return True
    ranges = after is not None and after.text in "-–/:" and after.glued and at + 2 < len(tokens)
    return ranges and tokens[at + 2].kind == "number" and tokens[at + 2].glued


def _numbers_a_list(tokens: list[Token], at: int, others: bool) -> bool:
    """Whether a number stands before an entry of a list: "1) Lyon", and "1. Two" where another number is the answer."""
    mark = tokens[at + 1] if at + 2 < len(tokens) else None
    if mark is None or not mark.glued or tokens[at].other or len(tokens[at].text) > 2:
        return False
    before = tokens[at - 1] if at else None
    begins = before is None or (before.kind == "mark" and before.text != "(")
    return begins and (mark.text == ")" or (mark.text == "." and others))


def _dates(tokens: list[Token], answers: Answers) -> list[Mention]:
    if not answers.dates:
        return []
    return [
        Mention(start, end, side, int(not said.agrees(asked)))
        for start, end, said in dates_in(tokens)
        for asked, side in answers.dates
        if said.agrees(asked) or asked.agrees(said)
    ]


def _longest(found: list[Mention]) -> list[Mention]:
    """Without overlaps: the longer mention stands, then the one with less doubt; of true equals both."""
    chosen: list[Mention] = []
    for mention in sorted(set(found), key=lambda m: (m.start - m.end, m.doubt, m.start, m.side, not m.proper)):
        over = [m for m in chosen if m.start < mention.end and mention.start < m.end]
        equal = [m for m in over if m[:2] == mention[:2] and m.doubt == mention.doubt and m.side != mention.side]
        if not over or (equal and mention.doubt == 0 and len(equal) == len(over)):
            chosen.append(mention)
        elif equal:  # a part or a slip that could be either's
            chosen = [m for m in chosen if m not in equal]
    return sorted(chosen)


def _beside_another(mention: Mention, all_of: list[Mention]) -> bool:
    """Whether a surname is followed at once by the other answer's whole name: Caesar Augustus."""
    return any(m.start == mention.end and m.side != mention.side and m.doubt == 0 for m in all_of)
