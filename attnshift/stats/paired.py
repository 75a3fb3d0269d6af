"""Tests of paired items: does the same item score differently on two sides?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb

import numpy as np
from numpy.typing import ArrayLike, NDArray

from attnshift.errors import AttnshiftError
from attnshift.stats.intervals import cluster_codes

_EXACT = 14
"""clusters up to which all 2^G signs are tried"""


@dataclass(frozen=True)
class McNemar:
    """Items that changed, and how likely so uneven a split is where each change goes either way alike."""

    gained: int
    """items that were 0 and are 1"""
    lost: int
    """items that were 1 and are 0"""
    p_value: float
    """two-sided; NaN never: with no change it is 1"""


def mcnemar(before: ArrayLike, after: ArrayLike, mid_p: bool = False) -> McNemar:
    """Exact McNemar test of 0/1 values of the same items; items with a NaN are left out.

    Given that gained + lost items changed, those gained are Binomial(gained + lost, ½) under the null; two-sided p is
    twice the smaller tail, at most 1 (McNemar 1947, Psychometrika 12:153). ``mid_p`` counts the observed outcome half,
    which is less conservative and not exact (Fagerland, Lydersen & Laake 2013, BMC Med Res Methodol 13:91). Exact for
    items that change independently: where items share a cluster p is too small, and `sign_flip` stands beside it.

    Raises AttnshiftError for values other than 0 and 1.
    """
    first, second, _ = _paired(before, after)
    if not np.isin([first, second], (0, 1)).all():
        raise AttnshiftError("McNemar's test of values other than 0 and 1", expected="an accuracy or a label")
    gained, lost = int(((first == 0) & (second == 1)).sum()), int(((first == 1) & (second == 0)).sum())
    return McNemar(gained, lost, _binomial_two_sided(gained, lost, mid_p))


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values of several tests (Holm 1979, Scand J Stat 6:65): any below α may be called significant at α.

    The i-th smallest of m is multiplied by m − i + 1, and none is below a smaller one's. NaN is left out and stays.
    """
    given = np.asarray(p_values, np.float64)
    order = [int(place) for place in np.argsort(given, kind="stable") if np.isfinite(given[place])]
    adjusted, highest = given.copy(), 0.0
    for rank, place in enumerate(order):
        highest = max(highest, min(1.0, float(given[place]) * (len(order) - rank)))
        adjusted[place] = highest
    return [float(p) for p in adjusted]


def sign_flip(before: ArrayLike, after: ArrayLike, clusters: ArrayLike, draws: int = 20_000, seed: int = 0) -> float:
    """Two-sided p of the mean change by flipping the signs of whole clusters; NaN where nothing is paired.

    Under the null each cluster's change (the sum over its items) is as likely as its opposite. All 2^G signs where G ≤
    14 clusters changed, then p is exact; else ``draws`` random ones, p = (1 + as extreme) / (1 + draws). Clusters
    whose changes cancel add nothing. Any values, not only 0 and 1.
    """
    first, second, present = _paired(before, after)
    if not len(first):
        return float("nan")
    sums = np.bincount(cluster_codes(np.asarray(clusters)[present]), weights=second - first)
    sums = sums[np.abs(sums) > 1e-12]
    if not len(sums):
        return 1.0
    observed = abs(sums.sum()) * (1 - 1e-9)  # rounding must not take the observed signs out of its own tail
    if len(sums) <= _EXACT:
        signs = 1.0 - 2.0 * (np.arange(2 ** len(sums))[:, None] >> np.arange(len(sums)) & 1)
        return float((np.abs(signs @ sums) >= observed).mean())
    rng = np.random.default_rng(seed)
    extreme = 0
    for block in np.array_split(np.arange(draws), draws * len(sums) // 2_000_000 + 1):
        signs = 1.0 - 2.0 * rng.integers(0, 2, (len(block), len(sums)))
        extreme += int((np.abs(signs @ sums) >= observed).sum())
    return (1 + extreme) / (1 + draws)


def _paired(before: ArrayLike, after: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """The values of the items that have both, and which those are."""
    first, second = np.asarray(before, np.float64), np.asarray(after, np.float64)
    if first.shape != second.shape or first.ndim != 1:
        raise AttnshiftError(f"values of shapes {first.shape} and {second.shape}", expected="one per item, of the same")
    present = np.isfinite(first) & np.isfinite(second)
    return first[present], second[present], present


def _binomial_two_sided(gained: int, lost: int, mid_p: bool) -> float:
    changed, fewer = gained + lost, min(gained, lost)
    # Whole numbers until the last division: exact for any number of items.
    tail = 2 * sum(comb(changed, k) for k in range(fewer + 1)) - (comb(changed, fewer) if mid_p else 0)
    return min(1.0, tail / 2**changed)
