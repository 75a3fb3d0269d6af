"""Intervals of a mean over items, which may share a cluster."""

from __future__ import annotations

from dataclasses import dataclass
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
    freedom of `_Spread` (the idea: Kott & Carr 1997; Dean & Pagano 2015, J Surv Stat Methodol 3:484). Where all items
    agree every cluster counts as one item. Each series leaves out its NaN values; no values give NaN, and so do the
    bounds of a single cluster whose items differ.
    """
    array = np.asarray(values, np.float64)
    estimate, low, high = (np.full(array.shape[:-1], np.nan) for _ in range(3))
    for place in np.ndindex(array.shape[:-1]):
        row = array[place]
        present = np.isfinite(row)
        codes = cluster_codes(np.asarray(clusters)[present])
        count = codes.max() + 1 if len(codes) else 0
        if count == present.sum():
            share = wilson(row[present].sum(), count, level)
        else:
            share = _clustered_share(_Spread.of(row[present], codes), level)
        estimate[place], low[place], high[place] = share.estimate, share.low, share.high
    return Interval(estimate[()], low[()], high[()])


def _clustered_share(spread: _Spread, level: float) -> Interval:
    share, clusters = spread.mean, len(spread.sizes)
    if clusters == 1:
        bounds = (share, share) if share in (0, 1) else (np.nan, np.nan)
        return Interval(share, *bounds)
    if share in (0, 1):
        return wilson(share * clusters, clusters, level)
    effective = share * (1 - share) / spread.variance if spread.variance > 0 else float(spread.sizes.sum())
    return _score_interval(np.array(share), np.array(effective), float(t_quantile(level, spread.df)))


def _score_interval(p: NDArray[np.float64], n: NDArray[np.float64], z: float) -> Interval:
    with np.errstate(invalid="ignore", divide="ignore"):
        centre = p + z**2 / (2 * n)
        reach = z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
        low, high = ((centre + sign * reach) / (1 + z**2 / n) for sign in (-1, 1))
    # Where the bound is p itself, rounding must not push it past 0 or 1.
    return Interval(p[()], np.where(p == 0, p, low)[()], np.where(p == 1, p, high)[()])


@dataclass(frozen=True)
class _Spread:
    """How the mean over items varies when clusters of items come by chance."""

    sizes: Float[np.ndarray, "cluster"]
    sums: Float[np.ndarray, "cluster"]

    @classmethod
    def of(cls, values: Float[np.ndarray, "item"], codes: Shaped[np.ndarray, "item"]) -> _Spread:
        return cls(np.bincount(codes).astype(np.float64), np.bincount(codes, weights=values))

    @property
    def mean(self) -> float:
        return float(self.sums.sum() / self.sizes.sum())

    @property
    def without(self) -> Float[np.ndarray, "cluster"]:
        """Mean without each cluster, less the mean of these means."""
        left = (self.sums.sum() - self.sums) / (self.sizes.sum() - self.sizes)
        return left - left.mean()

    @property
    def variance(self) -> float:
        """Of the mean, by leaving out one cluster at a time."""
        clusters = len(self.sizes)
        return float((self.without**2).sum() * (clusters - 1) / clusters)

    @property
    def acceleration(self) -> float:
        """How the standard error grows with the mean (Efron 1987, JASA 82:171)."""
        squares = (self.without**2).sum()
        return float(-(self.without**3).sum() / (6 * squares**1.5)) if squares > 0 else 0.0

    @property
    def df(self) -> float:
        """Degrees of freedom of `variance`: 2 (Σc²)² / (Σc⁴ − (Σc²)²/G) over the G clusters' parts c.

        2 mean² / variance of the estimate, by the parts' own kurtosis: few where few clusters carry the variance, as
        where a rare answer comes in clusters. At most what unequal sizes leave, (Σn)²/Σn² − 1, at least 1.
        """
        squares = self.without**2
        most = max(float(self.sizes.sum() ** 2 / (self.sizes**2).sum()) - 1, 1.0)
        excess = (squares**2).sum() - squares.sum() ** 2 / len(squares)
        scale = squares.sum() ** 2
        return float(np.clip(2 * scale / excess, 1, most)) if excess > 1e-12 * scale else most


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


def cluster_codes(labels: Shaped[np.ndarray, "item"]) -> Shaped[np.ndarray, "item"]:
    """Number of each item's cluster, in order of appearance: a name changes no draw."""
    _, first, codes = np.unique(labels, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[codes]


def _bootstrap(
    rows: Float[np.ndarray, "series item"], labels: Shaped[np.ndarray, "item"], level: float, draws: int, seed: int
) -> Float[np.ndarray, "3 series"]:
    """Estimate, low and high of the mean of every row."""
    start = rows[:, 0]  # taken off, so that equal values are exact zeros
    codes = cluster_codes(labels)
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
    low, high = np.empty((2, len(rows)))
    for row, (mean, total) in enumerate(zip(means.T, sums.T, strict=True)):
        spread = _Spread(sizes.astype(np.float64), total)
        low[row], high[row] = np.quantile(mean, _places(mean, spread, level))
    return np.stack([estimate, start + low, start + high])


def _places(means: Float[np.ndarray, "draw"], spread: _Spread, level: float) -> list[float]:
    """The two quantiles of the drawn means that are the bounds."""
    normal, clusters = NormalDist(), len(spread.sizes)
    # A mean that equals the estimate but for rounding is neither below nor above it.
    near = 1e-12 * max(1.0, float(np.abs(means).max()))
    below = (np.mean(means < spread.mean - near) + np.mean(means <= spread.mean + near)) / 2
    shift = normal.inv_cdf(float(np.clip(below, 0.01, 0.99)))
    reach = float(t_quantile(level, spread.df)) * sqrt(clusters / (clusters - 1))
    places = []
    for sign in (-1, 1):
        moved = shift + sign * reach
        squeeze = 1 - spread.acceleration * moved
        places.append(normal.cdf(shift + moved / squeeze) if squeeze > 0 else (1 + sign) / 2)
    return places
