"""Answers to compare a memorised answer with: those of other items, alike in kind and length."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

import numpy as np

from attnshift.data.items import Item, normalise

DISTRACTORS = 9
"""For each item, where the items have so many other answers: by chance one item in ten would then seem known."""


def choose_distractors(
    items: Sequence[Item], lengths: Sequence[int], count: int = DISTRACTORS, seed: int = 0
) -> list[list[int]]:
    """For every item the positions of others whose parametric answers are its distractors.

    From its own stratum as long as that has any; of the same length in tokens, else of the nearest; among equals in an
    order that a hash of seed and id gives. No answer serves an item twice, and none that is its own answer or an alias.

    Parameters
    ----------
    items
        The items in the order of the trace.
    lengths
        Tokens of each parametric answer.
    """
    buckets: dict[tuple[str, int], dict[str, int]] = {}
    for i, (item, length) in enumerate(zip(items, lengths, strict=True)):
        buckets.setdefault((item.stratum, length), {}).setdefault(normalise(item.parametric_answer), i)
    chosen = []
    for item, length in zip(items, lengths, strict=True):
        used = {normalise(name) for name in (item.parametric_answer, *item.parametric_aliases)}
        found: list[int] = []
        for answer, position in _candidates(item, length, buckets, seed):
            if len(found) == count:
                break
            if answer not in used:
                used.add(answer)
                found.append(position)
        chosen.append(found)
    return chosen


def _candidates(
    item: Item, length: int, buckets: dict[tuple[str, int], dict[str, int]], seed: int
) -> Iterator[tuple[str, int]]:
    """Answers and where they are from, the most alike first."""
    digest = hashlib.blake2b(f"{seed}:{item.id}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
    rng = np.random.default_rng(int.from_bytes(digest))
    for key in sorted(buckets, key=lambda key: (key[0] != item.stratum, abs(key[1] - length), key)):
        answers = list(buckets[key].items())
        yield from (answers[i] for i in rng.permutation(len(answers)))
