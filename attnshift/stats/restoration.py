"""How much of the difference between two checkpoints an intervention brings back."""

from __future__ import annotations

import warnings

import numpy as np
from jaxtyping import Float, Shaped

from attnshift.stats.intervals import Interval

DRAWS = 2000


def restoration(
    values: Float[np.ndarray, "*series item"],
    source: Float[np.ndarray, "item"],
    target: Float[np.ndarray, "item"],
    clusters: Shaped[np.ndarray, "item"],
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """(mean of values - mean of target) / (mean of source - mean of target), with a cluster bootstrap.

    1 is the source's mean, 0 the target's; below 0 and above 1 mean what they say. Whole clusters of items are drawn
    with replacement, the same for all series and for both ends of the ratio; the bounds are the quantiles of its
    draws. Items with a NaN in source, target or a series are left out of that series. NaN where source and target
    have the same mean, and for bounds where there is one cluster alone.
    """
    array = np.asarray(values, np.float64)
    gained, lost = array - target, np.broadcast_to(source - target, array.shape)
    known = np.isfinite(gained) & np.isfinite(lost)
    _, codes = np.unique(clusters, return_inverse=True)
    sizes = np.zeros((codes.max() + 1, array.shape[-1]))
    sizes[codes, np.arange(array.shape[-1])] = 1
    gains, losses = (np.where(known, each, 0.0) @ sizes.T for each in (gained, lost))
    estimate = _ratio(gains.sum(-1), losses.sum(-1))
    count = len(sizes)
    if count == 1:
        return Interval(estimate[()], np.full_like(estimate, np.nan)[()], np.full_like(estimate, np.nan)[()])
    times = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), DRAWS).astype(np.float64)
    drawn = _ratio(gains @ times.T, losses @ times.T)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "All-NaN slice", RuntimeWarning)  # no difference in any draw: NaN it is
        low, high = np.nanquantile(drawn, [(1 - level) / 2, (1 + level) / 2], axis=-1)
    return Interval(estimate[()], low[()], high[()])


def _ratio(above: Float[np.ndarray, "*any"], below: Float[np.ndarray, "*any"]) -> Float[np.ndarray, "*any"]:
    return np.divide(above, below, out=np.full(np.shape(above), np.nan), where=below != 0)
