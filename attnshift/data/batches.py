"""Sequences of similar length, padded on the right, under a token budget."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import Int32
from numpy.typing import DTypeLike, NDArray

NO_TOKEN = -1
"""Stands in stored id arrays where there is no token."""


def length_batches(lengths: Sequence[int] | NDArray[np.integer], token_budget: int) -> list[NDArray[np.intp]]:
    """Split positions into batches of similar length.

    Returns positions into ``lengths``, longest batch first (so that what doesn't fit fails at once).
    A batch holds at most ``token_budget`` tokens, padding included, but always at least one sequence.
    The split depends on the arguments alone: a resumed trace repeats it exactly.
    """
    order = np.argsort(-np.asarray(lengths), kind="stable")
    batches: list[NDArray[np.intp]] = []
    start = 0
    while start < len(order):
        size = max(1, token_budget // max(1, int(lengths[order[start]])))
        batches.append(order[start : start + size])
        start += size
    return batches


def pad(
    rows: Iterable[Sequence[int] | NDArray[np.integer]], fill: int, width: int = 0, dtype: DTypeLike = np.int32
) -> Int32[np.ndarray, "row position"]:
    """Stack rows of unequal length, filled up on the right to at least ``width``."""
    rows = list(rows)
    out = np.full((len(rows), max([width, *map(len, rows)], default=width)), fill, dtype)
    for i, row in enumerate(rows):
        out[i, : len(row)] = row
    return out


def unpad(row: NDArray[np.integer]) -> NDArray[np.integer]:
    """A stored row without its padding."""
    return row[row != NO_TOKEN]
