"""Which known word a misspelt one stands for."""

from __future__ import annotations

from attnshift.scoring.answers import Answers
from attnshift.scoring.lexicon import CITIES, COMMON, FIRST_NAMES, PLACES

_ALIKE = ({"i", "y", "e", "a", "o", "u"}, {"c", "k", "q"}, {"s", "z"}, {"v", "w", "f"})


def corrected(word: str, answers: Answers) -> str:
    """The answers' word that ``word`` misspells; empty where it is none, is a word of its own, or could be either's.

    One slip (a letter too many, too few, another, or two swapped) from five letters on, two from nine on. A word of
    five or six letters may have another letter only for one that sounds alike.
    """
    if word not in answers.corrections:
        answers.corrections[word] = _nearest(word, answers)
    return answers.corrections[word]


def _nearest(word: str, answers: Answers) -> str:
    if any(word == f"{known}s" for known, _, _ in answers.vocabulary):
        return word[:-1]
    if len(word) < 4 or not word.isalpha() or word in COMMON or word in PLACES or word in CITIES or word in FIRST_NAMES:
        return ""
    near: dict[str, tuple[int, set[int]]] = {}
    for known, side, allowed in answers.vocabulary:
        if known == word:
            return ""
        if known == f"{word}s":
            return known
        if word in (f"{known}n", f"{known}an", f"{known}ian", f"{known}ish", f"{known}ese"):
            return ""  # who or what comes from there
        if abs(len(known) - len(word)) <= allowed and (known[0] == word[0] or known[:2] == word[1::-1]):
            slips = distance(word, known, allowed)
            if slips <= allowed and not (slips == 1 and _another_word(word, known)):
                near.setdefault(known, (slips, set()))[1].add(side)
    fewest = min((slips for slips, _ in near.values()), default=0)
    best = [known for known, (slips, _) in near.items() if slips == fewest]
    sides = {side for slips, found in near.values() for side in found if slips <= fewest + 1}
    if len(best) != 1 or (len(sides) > 1 and not _apart(near, best[0])) or _has_twin(best[0], answers):
        return ""
    return best[0]


def distance(a: str, b: str, most: int) -> int:
    """Letters inserted, left out, replaced or swapped with their neighbour to get from a to b; at most ``most`` + 1."""
    before: list[int] = []
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, start=1):
        earlier, before, row = before, row, [i]
        for j, y in enumerate(b, start=1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (x != y))
            if i > 1 and j > 1 and x == b[j - 2] and a[i - 2] == y:
                cost = min(cost, earlier[j - 2] + 1)
            row.append(cost)
        if min(row) > most:
            return most + 1
    return row[-1]


def _another_word(word: str, known: str) -> bool:
    """Whether a short word differs by one letter that isn't easily mistaken."""
    if len(word) != len(known) or len(known) > 6:
        return False
    differing = [(a, b) for a, b in zip(word, known, strict=True) if a != b]
    return len(differing) == 1 and not any({*differing[0]} <= alike for alike in _ALIKE)


def _apart(near: dict[str, tuple[int, set[int]]], best: str) -> bool:
    """Whether all that is as near belongs to the same word on both sides."""
    return all(known == best for known in near)


def _has_twin(known: str, answers: Answers) -> bool:
    """Whether the other answer has a word so like this one that a slip could make one of the other."""
    own = {side for word, side, _ in answers.vocabulary if word == known}
    most = max(allowed for word, _, allowed in answers.vocabulary if word == known)
    return any(
        side not in own and word != known and distance(word, known, most) <= most
        for word, side, _ in answers.vocabulary
    )
