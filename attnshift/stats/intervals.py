"""Intervals of a mean over items, which may share a cluster."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from statistics import NormalDist

import numpy as np
from jaxtyping import Float, Shaped
from numpy.typing import ArrayLike, NDArray

from attnshift.errors import AttnshiftError


@dataclass(frozen=True)
class Interval:
    """Estimates with their bounds, in the unit of the values; NaN where there is nothing to say."""

    estimate: float | NDArray[np.float64]
    """a number, or one per series"""
    low: float | NDArray[np.float64]
    high: float | NDArray[np.float64]


def wilson(successes: ArrayLike, n: ArrayLike, level: float = 0.95) -> Interval:
    """Score interval of a proportion of independent items; shares in 0..1, element by element.

    (p + z²/2n ± z sqrt(p(1-p)/n + z²/4n²)) / (1 + z²/n), p = successes/n (Wilson 1927, JASA 22:209). Keeps its
    level near 0 and 1 and for few items, where p ± 1.96 standard errors doesn't. NaN where n is 0.

    Raises AttnshiftError where successes aren't within 0..n.
    """
    hits, trials = np.broadcast_arrays(np.asarray(successes, np.float64), np.asarray(n, np.float64))
    if np.any((hits < 0) | (hits > trials)):
        raise AttnshiftError(f"{successes!r} successes of {n!r}", expected="between 0 and n")
    z = NormalDist().inv_cdf((1 + level) / 2)
    with np.errstate(invalid="ignore", divide="ignore"):
        p = hits / trials
        centre = p + z**2 / (2 * trials)
        reach = z * np.sqrt(p * (1 - p) / trials + z**2 / (4 * trials**2))
        low, high = ((centre + sign * reach) / (1 + z**2 / trials) for sign in (-1, 1))
    # Where the bound is p itself, rounding must not push it past 0 or 1.
    return Interval(p[()], np.where(hits == 0, p, low)[()], np.where(hits == trials, p, high)[()])


def cluster_mean_interval(
    values: Float[np.ndarray, "*series item"] | ArrayLike,
    clusters: ArrayLike,
    level: float = 0.95,
    draws: int = 2000,
    seed: int = 0,
) -> Interval:
    """Percentile bootstrap of the mean over items; items that share a cluster are drawn together.

    Whole clusters are drawn with replacement, as many as there are; of ``draws`` means of the items so drawn the
    (1 ± level)/2 quantiles are the bounds (Davison & Hinkley 1997, §3.8). In the unit of the values.

    Each series leaves out its own NaN values; series with the same items share their draws. Equal values give
    exactly that number, no values NaN. A single cluster whose items differ has NaN for bounds: nothing says how
    clusters vary.
    """
    array = np.asarray(values, np.float64)
    rows = array.reshape(prod(array.shape[:-1]), array.shape[-1])
    labels = np.asarray(clusters)
    masks, mask_of_row = np.unique(~np.isnan(rows), axis=0, return_inverse=True)
    found = np.full((3, len(rows)), np.nan)
    for number, present in enumerate(masks):
        chosen = mask_of_row.ravel() == number
        if present.any():
            found[:, chosen] = _bootstrap(rows[chosen][:, present], labels[present], level, draws, seed)
    estimate, low, high = found.reshape(3, *array.shape[:-1])
    return Interval(estimate[()], low[()], high[()])


def _bootstrap(
    rows: Float[np.ndarray, "series item"], labels: Shaped[np.ndarray, "item"], level: float, draws: int, seed: int
) -> Float[np.ndarray, "3 series"]:
    """Estimate, low and high of the mean of every row."""
    start = rows[:, 0]  # taken off, so that equal values are exact zeros
    _, first, sorted_codes = np.unique(labels, return_index=True, return_inverse=True)
    codes = np.argsort(np.argsort(first))[sorted_codes]  # in order of appearance: a name changes no draw
    sizes = np.bincount(codes)
    sums = np.zeros((len(sizes), len(rows)))
    np.add.at(sums, codes, (rows - start[:, None]).T)
    estimate = start + sums.sum(0) / sizes.sum()
    if len(sizes) == 1:
        bound = np.where(np.ptp(rows, axis=1) == 0, estimate, np.nan)
        return np.stack([estimate, bound, bound])
    rng, even = np.random.default_rng(seed), np.full(len(sizes), 1 / len(sizes))
    means = np.empty((draws, len(rows)))
    for block in np.array_split(means, draws * len(sizes) // 1_000_000 + 1):  # views; megabytes at a time
        # How often each cluster is drawn, not which: the means are then one product of matrices.
        times = rng.multinomial(len(sizes), even, len(block)).astype(np.float64)
        block[:] = (times @ sums) / (times @ sizes)[:, None]
    low, high = start + np.quantile(means, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return np.stack([estimate, low, high])
