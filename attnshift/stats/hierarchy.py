"""Means over runs (seeds) and items: both are drawn by chance, and an interval has to say so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import xarray as xr
from jaxtyping import Float
from numpy.typing import ArrayLike

from attnshift.errors import AttnshiftError
from attnshift.stats.intervals import Interval, cluster_codes, cluster_mean_interval
from attnshift.stats.student import t_quantile


@dataclass(frozen=True)
class _Part:
    """What one source adds to the variance of the mean, and on how many draws that rests."""

    variance: float
    df: int


def seed_item_interval(
    runs: Sequence[ArrayLike],
    clusters: ArrayLike | None = None,
    level: float = 0.95,
    draws: int = 2000,
    seed: int = 0,
) -> Interval:
    """Interval of the mean over runs of each run's mean over items, in the unit of the values.

    With ``clusters`` (one per item) all runs have the same items in the same order, NaN where one is missing: runs and
    clusters are then drawn with replacement, each by itself, and a mean is taken of the runs and items so drawn (the
    pigeonhole bootstrap: Owen 2007, Ann Appl Stat 1:386). Without, every run has items of its own (worlds of a seed,
    say): runs alone are drawn, since how their means spread holds what their items add (Davison & Hinkley 1997, §3.8).

    Runs are few, and what is drawn of few varies too little: the draws' quantiles are stretched from the estimate until
    they are as far as Student's t asks for, by Satterthwaite's degrees of freedom of the two sources. A single run
    says nothing of how runs vary: then clusters alone are drawn, and the reader must be told.

    Raises AttnshiftError where there are no runs, or the runs' items don't match.
    """
    values = [np.asarray(run, np.float64) for run in runs]
    if not values or any(not np.isfinite(run).any() for run in values):
        raise AttnshiftError(f"{len(values)} runs, not each with a value", expected="values of the items of each run")
    if clusters is None:
        return _runs_alone(np.array([np.nanmean(run) for run in values]), level, draws, seed)
    labels = np.asarray(clusters)
    if any(run.shape != labels.shape for run in values):
        raise AttnshiftError(
            f"runs of {', '.join(str(len(run)) for run in values)} items, and {len(labels)} clusters",
            expected="the same items in every run",
        )
    if len(values) == 1:
        return cluster_mean_interval(values[0], labels, level, draws, seed)
    return _pigeonhole(np.stack(values), cluster_codes(labels), level, draws, seed)


def seed_item_means(
    traces: xr.Dataset, measure: str, shared_items: bool = True, level: float = 0.95, draws: int = 2000
) -> Interval:
    """`seed_item_interval` at every step of several runs as `open_traces` joins them (dims run, step, item).

    NaN at steps that a run lacks. In the unit of the variable. ``shared_items`` says whether an item's id names the
    same item in every run.

    Raises AttnshiftError where the measure hasn't these dims.
    """
    if measure not in traces or set(traces[measure].dims) != {"run", "step", "item"}:
        raise AttnshiftError(f"{measure!r} isn't per run, step and item here", expected="runs joined by open_traces")
    values = traces[measure].transpose("step", "run", "item").values.astype(np.float64)
    if "item_cluster" in traces.coords and traces["item_cluster"].dims == ("item",):
        clusters = traces["item_cluster"].values.astype(str)
    else:
        clusters = np.arange(values.shape[-1])
    found = np.full((3, len(values)), np.nan)
    for place, runs in enumerate(values):
        if np.isfinite(runs).any(-1).all():
            one = seed_item_interval(list(runs), clusters if shared_items else None, level, draws)
            found[:, place] = one.estimate, one.low, one.high
    return Interval(*found)


def _pigeonhole(
    values: Float[np.ndarray, "run item"], codes: np.ndarray, level: float, draws: int, seed: int
) -> Interval:
    runs, clusters = len(values), int(codes.max()) + 1
    sums, counts = np.zeros((runs, clusters)), np.zeros((runs, clusters))
    np.add.at(sums.T, codes, np.nan_to_num(values).T)
    np.add.at(counts.T, codes, np.isfinite(values).astype(np.float64).T)
    means = sums.sum(1) / counts.sum(1)
    estimate = float(means.mean())
    if clusters == 1:
        bound = estimate if np.ptp(means) == 0 else float("nan")
        return Interval(estimate, bound, bound)
    rng = np.random.default_rng(seed)
    of_clusters = rng.multinomial(clusters, np.full(clusters, 1 / clusters), draws).astype(np.float64)
    of_runs = rng.multinomial(runs, np.full(runs, 1 / runs), draws) / runs
    with np.errstate(invalid="ignore"):
        drawn = (of_runs * ((of_clusters @ sums.T) / (of_clusters @ counts.T))).sum(1)
    drawn = drawn[np.isfinite(drawn)]
    parts = _parts(sums, counts, means)
    variance = sum(part.variance for part in parts)
    df = variance**2 / sum(part.variance**2 / part.df for part in parts) if variance else 1.0
    return _stretched(drawn, estimate, variance, df, level)


def _runs_alone(means: Float[np.ndarray, "run"], level: float, draws: int, seed: int) -> Interval:
    runs, estimate = len(means), float(means.mean())
    if runs == 1:
        return Interval(estimate, float("nan"), float("nan"))
    drawn = np.random.default_rng(seed).multinomial(runs, np.full(runs, 1 / runs), draws) @ means / runs
    return _stretched(drawn, estimate, float(means.var(ddof=1)) / runs, runs - 1, level)


def _stretched(drawn: Float[np.ndarray, "draw"], estimate: float, variance: float, df: float, level: float) -> Interval:
    """The draws' quantiles, as far from the estimate as Student's t times the standard error, on the whole."""
    spread = float(drawn.std())
    if spread == 0 or variance == 0:
        return Interval(estimate, estimate, estimate)
    reach = float(t_quantile(level, max(df, 1.0))) * np.sqrt(variance)
    factor = reach / (NormalDist().inv_cdf((1 + level) / 2) * spread)
    low, high = (estimate + factor * (np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2]) - estimate)).tolist()
    return Interval(estimate, low, high)


def _parts(
    sums: Float[np.ndarray, "run cluster"], counts: Float[np.ndarray, "run cluster"], means: Float[np.ndarray, "run"]
) -> list[_Part]:
    """Variance of the mean by runs, and by leaving out one cluster at a time."""
    runs, clusters = sums.shape
    with np.errstate(invalid="ignore", divide="ignore"):
        left = ((sums.sum(1, keepdims=True) - sums) / (counts.sum(1, keepdims=True) - counts)).mean(0)
    left = left[np.isfinite(left)]
    by_clusters = float(((left - left.mean()) ** 2).sum() * (clusters - 1) / clusters) if len(left) else 0.0
    return [_Part(float(means.var(ddof=1)) / runs, runs - 1), _Part(by_clusters, clusters - 1)]
