"""Control conditions beside a conflict: an agreeing context, an unknown entity, an irrelevant context."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Literal, get_args

import numpy as np

from attnshift.data.items import Example, Item
from attnshift.data.kinds import RefusedError
from attnshift.data.mentions import Text, Word, as_name, fold, mentions, word_set, words
from attnshift.data.substitution import find_slot, substitute
from attnshift.data.wordlists import FUNCTION_WORDS, MONTHS, PARTICLES, TITLES, WEEKDAYS

Condition = Literal["agreeing", "unknown_entity", "irrelevant"]
CONDITIONS: tuple[Condition, ...] = get_args(Condition)

_MOST_TRIED = 50
"""Contexts of other items that are tried before an item goes without an irrelevant one."""
_ONSETS = ["b", "br", "d", "dr", "f", "g", "k", "l", "m", "n", "p", "r", "s", "t", "tr", "v", "z"]
_VOWELS = ["a", "e", "i", "o", "u"]
_CODAS = ["", "", "l", "n", "r", "sk", "th", "x"]


@dataclass(frozen=True)
class Control:
    """The items under one condition, in the order of the items."""

    condition: Condition
    items: tuple[Item | None, ...]
    """None where the condition couldn't be made coherent"""
    reasons: tuple[str, ...]
    """why not; empty where there is one"""


def control_items(items: Sequence[Item], seed: int = 0) -> tuple[Control, ...]:
    """Every item under every control condition; ids, answers and aliases stay what they are in the conflict.

    ``agreeing``: the context states the parametric answer, which takes the place of the context's by substitution.
    ``unknown_entity``: names that question and context share are replaced by invented ones, so that memory has nothing
    to say. ``irrelevant``: the context of another item, which names neither answer nor any name of the question.
    Whoever reads its context answers the first two from it; the third shows what a context does that says nothing.
    The choices depend on seed, ids and texts alone.
    """
    known_words = frozenset().union(*(word_set(f"{item.context} {item.question}") for item in items))
    makers: dict[Condition, Callable[[Item], Item]] = {
        "agreeing": _agreeing,
        "unknown_entity": lambda item: _unknown(item, known_words, seed),
        "irrelevant": lambda item: _irrelevant(item, items, seed),
    }
    return tuple(_control(condition, makers[condition], items) for condition in CONDITIONS)


def _control(condition: Condition, make: Callable[[Item], Item], items: Sequence[Item]) -> Control:
    made: list[Item | None] = []
    reasons = []
    for item in items:
        try:
            made.append(make(item))
            reasons.append("")
        except RefusedError as reason:
            made.append(None)
            reasons.append(str(reason))
    return Control(condition, tuple(made), tuple(reasons))


def _agreeing(item: Item) -> Item:
    """The context with the parametric answer in the place of its own."""
    slot = find_slot(Example(id=item.id, context=item.context, question=item.question, answer=item.context_answer))
    agreeing = substitute(slot, item.parametric_answer)
    if agreeing is None:
        raise RefusedError("the parametric answer doesn't fit its context, or is there already")
    if any(mentions(agreeing.context, alias) for alias in item.context_aliases):
        raise RefusedError("an alias of the context's answer is left in its context")
    return replace(item, context=agreeing.context)


def _irrelevant(item: Item, items: Sequence[Item], seed: int) -> Item:
    """The item with another one's context."""
    taboo = (item.context_answer, item.parametric_answer, *item.context_aliases, *item.parametric_aliases)
    named = [as_name(name) for name in (*taboo, *_names(item.question))]
    order = np.random.default_rng(_hash(seed, item.id)).permutation(len(items))
    for position in islice((i for i in order if items[i].cluster != item.cluster), _MOST_TRIED):
        text = Text(items[position].context)
        if not any(text.mentions(name) for name in named):
            return replace(item, context=items[position].context)
    raise RefusedError("no other context is without its answers and the names in its question")


def _unknown(item: Item, known_words: frozenset[str], seed: int) -> Item:
    """The item with invented names in place of those that its question and its context share."""
    text = Text(item.context)
    shared = [name for name in _names(item.question) if text.mentions(as_name(name))]
    replaced = {word.folded for name in shared for word in words(name)} - PARTICLES - TITLES
    if not replaced:
        raise RefusedError("its question and its context share no name")
    of_answers = (item.context_answer, item.parametric_answer, *item.context_aliases, *item.parametric_aliases)
    if any(replaced & word_set(answer) for answer in of_answers):
        raise RefusedError("a name that its question and its context share is part of an answer")
    stems = tuple(word for word in replaced if len(word) >= 4)
    if any(word.startswith(stems) and word not in replaced for word in word_set(f"{item.context} {item.question}")):
        raise RefusedError("a word derived from the name stands in its texts")
    invented = {word: _invented(word, known_words, seed) for word in replaced}
    return replace(item, context=_renamed(item.context, invented), question=_renamed(item.question, invented))


def _names(question: str) -> list[str]:
    """Runs of capitalised words, small words inside them included; not those that merely begin a sentence."""
    runs: list[list[Word]] = [[]]
    for word in words(question):
        capital = question[word.start].isupper() and word.folded not in FUNCTION_WORDS | MONTHS | WEEKDAYS
        inside = bool(runs[-1]) and word.folded in PARTICLES
        joined = bool(runs[-1]) and not re.search(r"[^\s\-'’.]", question[runs[-1][-1].end : word.start])
        if capital and not joined:
            runs.append([])
        if capital or (inside and joined):
            runs[-1].append(word)
        elif runs[-1]:
            runs.append([])
    for run in runs:
        while run and run[-1].folded in PARTICLES:
            run.pop()
    return [question[run[0].start : run[-1].end] for run in runs if run]


def _renamed(text: str, invented: dict[str, str]) -> str:
    """The text with every capitalised mention of a word replaced, in the case of the mention."""
    out, reached = "", 0
    for word in words(text):
        new = invented.get(word.folded)
        old = text[word.start : word.end]
        if new is not None and old[:1].isupper():
            out += text[reached : word.start] + (new.upper() if old.isupper() and len(old) > 1 else new)
            reached = word.end
    return out + text[reached:]


def _invented(word: str, known_words: frozenset[str], seed: int) -> str:
    """A name of two or three syllables that no item has a word like; a vowel begins it where one begins the word."""
    for name in _syllables(np.random.default_rng(_hash(seed, word)), word[:1] in "aeiou"):
        if fold(name) not in known_words:
            return name
    raise AssertionError("there is no end to names")


def _syllables(rng: np.random.Generator, vowel_first: bool) -> Iterator[str]:
    while True:
        parts = [
            f"{_ONSETS[rng.integers(len(_ONSETS))] if i or not vowel_first else ''}{_VOWELS[rng.integers(5)]}"
            for i in range(int(rng.integers(2, 4)))
        ]
        yield ("".join(parts) + _CODAS[rng.integers(len(_CODAS))]).capitalize()


def _hash(seed: int, text: str) -> int:
    return int.from_bytes(hashlib.blake2b(f"{seed}:{text}".encode("utf-8", "surrogatepass"), digest_size=8).digest())
