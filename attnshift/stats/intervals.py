"""Intervals of a mean over items, which may share a cluster."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from math import prod, sqrt
from statistics import NormalDist

import numpy as np
from jaxtyping import Float, Shaped
from numpy.typing import ArrayLike, NDArray

from attnshift.errors import AttnshiftError
from attnshift.stats.student import t_quantile


@dataclass(frozen=True)
class Interval:
    """Estimates with their bounds, in the unit of the values; NaN where there is nothing to say."""

    estimate: float | NDArray[np.float64]
    """a number, or one per series"""
    low: float | NDArray[np.float64]
    high: float | NDArray[np.float64]

    @classmethod
    def bare(cls, values: float | NDArray[np.float64]) -> Interval:
        """Numbers that stand without bounds."""
        return cls(values, np.nan, np.nan)


def wilson(successes: ArrayLike, n: ArrayLike, level: float = 0.95) -> Interval:
    """Score interval of a proportion of independent items; shares in 0..1, element by element.

    (p + z²/2n ± z sqrt(p(1-p)/n + z²/4n²)) / (1 + z²/n), p = successes/n (Wilson 1927, JASA 22:209). Keeps its
    level near 0 and 1 and for few items, where p ± 1.96 standard errors doesn't. NaN where n is 0.

    Raises AttnshiftError where successes aren't within 0..n.
    """
    hits, trials = np.broadcast_arrays(np.asarray(successes, np.float64), np.asarray(n, np.float64))
    if np.any((hits < 0) | (hits > trials)):
        raise AttnshiftError(f"{successes!r} successes of {n!r}", expected="between 0 and n")
    with np.errstate(invalid="ignore"):
        return _score_interval(hits / trials, trials, NormalDist().inv_cdf((1 + level) / 2))


def cluster_wilson(
    values: Float[np.ndarray, "*series item"] | ArrayLike, clusters: ArrayLike, level: float = 0.95
) -> Interval:
    """Wilson's interval of the share of ones among items that may share a cluster; values are 0, 1 or NaN.

    Where every cluster has one item this is `wilson`. Else n is the number of independent items that would vary as
    much, p(1-p) / v with v the variance by leaving out one cluster at a time, and z is Student's t with the degrees of
    freedom of `_Spread.t` (the idea: Kott & Carr 1997; Dean & Pagano 2015, J Surv Stat Methodol 3:484). Where all items
    agree every cluster counts as one item. Each series leaves out its NaN values; no values give NaN, and so do the
    bounds of a single cluster whose items differ.
    """
    return _by_presence(values, clusters, lambda rows, codes: _clustered_shares(rows, codes, level))


def _clustered_shares(
    rows: Float[np.ndarray, "series item"], codes: Shaped[np.ndarray, "item"], level: float
) -> Float[np.ndarray, "3 series"]:
    clusters = int(codes.max()) + 1
    if clusters == len(codes):
        found = wilson(rows.sum(1), clusters, level)
        return np.stack([np.asarray(found.estimate), np.asarray(found.low), np.asarray(found.high)])
    spread = _Spread.of(rows, codes)
    share, agreed = spread.mean, np.isin(spread.mean, (0, 1))
    if clusters == 1:
        bound = np.where(agreed, share, np.nan)
        return np.stack([share, bound, bound])
    with np.errstate(divide="ignore", invalid="ignore"):
        items = np.where(spread.variance > 0, share * (1 - share) / spread.variance, len(codes))
    edge, inside = wilson(share * clusters * agreed, clusters, level), _score_interval(share, items, spread.t(level))
    bounds = zip((edge.low, edge.high), (inside.low, inside.high), strict=True)
    return np.stack([share, *(np.where(agreed, at_edge, within) for at_edge, within in bounds)])


def _score_interval(p: NDArray[np.float64], n: NDArray[np.float64], z: float | NDArray[np.float64]) -> Interval:
    with np.errstate(invalid="ignore", divide="ignore"):
        centre = p + z**2 / (2 * n)
        reach = z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
        low, high = ((centre + sign * reach) / (1 + z**2 / n) for sign in (-1, 1))
    # Where the bound is p itself, rounding must not push it past 0 or 1.
    return Interval(p[()], np.where(p == 0, p, low)[()], np.where(p == 1, p, high)[()])


@dataclass(frozen=True)
class _Spread:
    """How means over items vary when clusters of items come by chance; a number per series."""

    sizes: Float[np.ndarray, "cluster"]
    sums: Float[np.ndarray, "cluster series"]

    @classmethod
    def of(cls, rows: Float[np.ndarray, "series item"], codes: Shaped[np.ndarray, "item"]) -> _Spread:
        sizes = np.bincount(codes).astype(np.float64)
        sums = np.zeros((len(sizes), len(rows)))
        np.add.at(sums, codes, rows.T)
        return cls(sizes, sums)

    @property
    def mean(self) -> Float[np.ndarray, "series"]:
        return self.sums.sum(0) / self.sizes.sum()

    @cached_property
    def parts(self) -> Float[np.ndarray, "cluster series"]:
        """Mean without each cluster, less the mean of these means."""
        left = (self.sums.sum(0) - self.sums) / (self.sizes.sum() - self.sizes)[:, None]
        return left - left.mean(0)

    @property
    def variance(self) -> Float[np.ndarray, "series"]:
        """Of the mean, by leaving out one cluster at a time."""
        return (self.parts**2).sum(0) * (1 - 1 / len(self.sizes))

    @property
    def acceleration(self) -> Float[np.ndarray, "series"]:
        """How the standard error grows with the mean (Efron 1987, JASA 82:171)."""
        squares = (self.parts**2).sum(0)
        return -(self.parts**3).sum(0) / np.where(squares > 0, 6 * squares**1.5, 1)

    def t(self, level: float) -> Float[np.ndarray, "series"]:
        """Student's quantile for `variance`: 2 (Σc²)² / (Σc⁴ − (Σc²)²/G) degrees of freedom over the G clusters' parts.

        That is 2 mean² / variance of the estimate, by the parts' own kurtosis: few where few clusters carry the
        variance, as where a rare answer comes in clusters. At most what unequal sizes leave, (Σn)²/Σn² − 1, at least 1.
        """
        squares = self.parts**2
        most = max(float(self.sizes.sum() ** 2 / (self.sizes**2).sum()) - 1, 1.0)
        scale = squares.sum(0) ** 2
        excess = (squares**2).sum(0) - scale / len(squares)
        known = excess > 1e-12 * scale
        df = np.where(known, 2 * scale / np.where(known, excess, 1), most)
        return t_quantile(level, np.clip(df, 1, most))


def cluster_mean_interval(
    values: Float[np.ndarray, "*series item"] | ArrayLike,
    clusters: ArrayLike,
    level: float = 0.95,
    draws: int = 2000,
    seed: int = 0,
) -> Interval:
    """Bootstrap interval of the mean over items; items that share a cluster are drawn together.

    Whole clusters are drawn with replacement, as many as there are; quantiles of ``draws`` means of the items so drawn
    are the bounds. Which quantiles: those of BCa (Efron 1987, JASA 82:171), with Student's t and sqrt(G/(G-1)) for G
    clusters in the place of z (Hesterberg 2015, Am Stat 69:371): plain percentiles are too narrow where clusters are
    few or their means skewed. In the unit of the values.

    Each series leaves out its own NaN values; series with the same items share their draws. Equal values give
    exactly that number, no values NaN. A single cluster whose items differ has NaN for bounds: nothing says how
    clusters vary.
    """
    return _by_presence(values, clusters, lambda rows, codes: _bootstrap(rows, codes, level, draws, seed))


def _by_presence(
    values: ArrayLike,
    clusters: ArrayLike,
    interval: Callable[[Float[np.ndarray, "series item"], Shaped[np.ndarray, "item"]], Float[np.ndarray, "3 series"]],
) -> Interval:
    """Estimate and bounds of every series; those that lack the same items are taken together, without these."""
    array = np.asarray(values, np.float64)
    rows = array.reshape(prod(array.shape[:-1]), array.shape[-1])
    labels = np.asarray(clusters)
    masks, mask_of_row = np.unique(~np.isnan(rows), axis=0, return_inverse=True)
    found = np.full((3, len(rows)), np.nan)
    for number, present in enumerate(masks):
        chosen = mask_of_row.ravel() == number
        if present.any():
            found[:, chosen] = interval(rows[chosen][:, present], cluster_codes(labels[present]))
    estimate, low, high = found.reshape(3, *array.shape[:-1])
    return Interval(estimate[()], low[()], high[()])


def cluster_codes(labels: Shaped[np.ndarray, "item"]) -> Shaped[np.ndarray, "item"]:
    """Number of each item's cluster, in order of appearance: a name changes no draw."""
    _, first, codes = np.unique(labels, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[codes]


def _bootstrap(
    rows: Float[np.ndarray, "series item"], codes: Shaped[np.ndarray, "item"], level: float, draws: int, seed: int
) -> Float[np.ndarray, "3 series"]:
    """Estimate, low and high of the mean of every row."""
    start = rows[:, 0]  # taken off, so that equal values are exact zeros
    spread = _Spread.of(rows - start[:, None], codes)
    estimate, clusters = start + spread.mean, len(spread.sizes)
    if clusters == 1:
        bound = np.where(np.ptp(rows, axis=1) == 0, estimate, np.nan)
        return np.stack([estimate, bound, bound])
    rng, even = np.random.default_rng(seed), np.full(clusters, 1 / clusters)
    means = np.empty((draws, len(rows)))
    for block in np.array_split(means, draws * clusters // 1_000_000 + 1):  # views; megabytes at a time
        # How often each cluster is drawn, not which: the means are then one product of matrices.
        times = rng.multinomial(clusters, even, len(block)).astype(np.float64)
        block[:] = (times @ spread.sums) / (times @ spread.sizes)[:, None]
    bounds = [start + _quantiles(means, place) for place in _places(means, spread, level)]
    return np.stack([estimate, *bounds])


def _places(
    means: Float[np.ndarray, "draw series"], spread: _Spread, level: float
) -> list[Float[np.ndarray, "series"]]:
    """The two quantiles of each series' drawn means that are its bounds."""
    normal, clusters = NormalDist(), len(spread.sizes)
    # A mean that equals the estimate but for rounding is neither below nor above it.
    near = 1e-12 * np.maximum(1.0, np.abs(means).max(0))
    below = ((means < spread.mean - near).mean(0) + (means <= spread.mean + near).mean(0)) / 2
    shift = np.array([normal.inv_cdf(float(share)) for share in np.clip(below, 0.01, 0.99)])
    reach = spread.t(level) * sqrt(clusters / (clusters - 1))
    places = []
    for sign in (-1, 1):
        moved = shift + sign * reach
        squeeze = 1 - spread.acceleration * moved
        ends = shift + moved / np.where(squeeze > 0, squeeze, 1)
        inside = np.array([normal.cdf(float(end)) for end in ends])
        places.append(np.where(squeeze > 0, inside, (1 + sign) / 2))
    return places


def _quantiles(
    draws: Float[np.ndarray, "draw series"], places: Float[np.ndarray, "series"]
) -> Float[np.ndarray, "series"]:
    """A quantile of its own for every series, between the draws in a straight line."""
    at = places * (len(draws) - 1)
    whole = np.minimum(at.astype(int), len(draws) - 2)
    ordered, series = np.sort(draws, axis=0), np.arange(draws.shape[1])
    low, high = ordered[whole, series], ordered[whole + 1, series]
    return low + (at - whole) * (high - low)
