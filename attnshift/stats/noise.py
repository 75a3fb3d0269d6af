"""Checkpoint noise: how far neighbouring checkpoints jump though nothing trends."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Float

from attnshift.errors import AttnshiftError
from attnshift.stats.items import ItemSeries

SHORT = 12
"""checkpoints below which the sharpest turn of the series isn't counted as noise: it may well be its peak"""
LEAST = 4
"""checkpoints from which noise can be told at all"""
_DRAWS = 40_000


@dataclass(frozen=True)
class Noise:
    """Standard deviation of a checkpoint's number around the trend of its neighbours, in the unit of the series."""

    sd: float
    """NaN for fewer than LEAST checkpoints"""
    low: float
    """95 % interval of ``sd``, for independent Gaussian noise"""
    high: float
    items: float
    """the sd that the items' changes from one checkpoint to the next would give if they went either way by chance"""
    checkpoints: int

    @property
    def band(self) -> float:
        """How far a checkpoint's number strays from the trend by chance, with 95 %: 1.96 sd."""
        return 1.96 * self.sd


def checkpoint_noise(series: ItemSeries | Float[np.ndarray, "step"]) -> Noise:
    """Noise of a series in the order of its checkpoints, from second differences.

    d_k = y_(k−1) − 2 y_k + y_(k+1) is free of any linear trend, and has variance 6 σ² under independent noise of
    variance σ² (Gasser, Sroka & Jennen-Steinmetz 1986, Biometrika 73:625). σ̂² = mean d²/6, for fewer than SHORT
    checkpoints without the largest d², and corrected for that. Curvature of the trend counts as noise: the estimate
    is too large rather than too small. Steps without a number are passed over.
    """
    values = series.means if isinstance(series, ItemSeries) else np.asarray(series, np.float64)
    if values.ndim != 1:
        raise AttnshiftError(f"a series of shape {values.shape}", expected="a number per step")
    values = values[np.isfinite(values)]
    items = item_noise(series) if isinstance(series, ItemSeries) else 0.0
    if len(values) < LEAST:
        return Noise(float("nan"), float("nan"), float("nan"), items, len(values))
    estimate = float(raw_noise(values[None])[0])
    sd, low, high = (max(estimate / usual, items) for usual in _usual(len(values)))
    return Noise(sd, low, high, items, len(values))


def raw_noise(series: Float[np.ndarray, "draw step"]) -> Float[np.ndarray, "draw"]:
    """σ̂ of each series, uncorrected for the largest second difference that short ones leave out."""
    squares = np.diff(series, 2, axis=-1) ** 2 / 6
    if series.shape[-1] < SHORT and squares.shape[-1] > 1:
        squares = np.sort(squares, axis=-1)[:, :-1]
    return np.sqrt(squares.mean(-1))


def item_noise(series: ItemSeries) -> float:
    """The least noise that the items' changes allow, in the unit of the series.

    If the changes of an item (of a whole cluster, where items share one) between neighbouring checkpoints went either
    way by chance, a checkpoint's mean would have variance Σ_clusters (Σ_items Δ)² / 2n²; mean over all neighbours.
    """
    measured = np.isfinite(series.values).any(-1)
    changes = np.diff(series.values[measured], axis=0)
    if not len(changes):
        return 0.0
    _, codes = np.unique(series.clusters, return_inverse=True)
    by_cluster = np.zeros((len(changes), codes.max() + 1))
    np.add.at(by_cluster.T, codes, np.nan_to_num(changes).T)
    counted = np.isfinite(changes).sum(-1)
    if not counted.any():
        return 0.0
    return float(np.sqrt(((by_cluster**2).sum(-1)[counted > 0] / (2 * counted[counted > 0] ** 2)).mean()))


def correlated(draws: Float[np.ndarray, "draw step"], rho: float) -> Float[np.ndarray, "draw step"]:
    """Standard normal noise whose neighbours correlate by ``rho`` (AR(1)), from independent ones."""
    if rho == 0:
        return draws
    made = draws.copy()
    for place in range(1, draws.shape[-1]):
        made[:, place] = rho * made[:, place - 1] + np.sqrt(1 - rho**2) * draws[:, place]
    return made


@lru_cache(maxsize=32)
def null_series(checkpoints: int, rho: float = 0.0, heavy: bool = False) -> Float[np.ndarray, "draw step"]:
    """Flat series of unit noise, always the same ones; Gaussian, or ``heavy``-tailed (Student's t, 3 df)."""
    rng, shape = np.random.default_rng([checkpoints, 20241014]), (_DRAWS, checkpoints)
    made = correlated(rng.standard_t(3, shape) / np.sqrt(3) if heavy else rng.standard_normal(shape), rho)
    made.flags.writeable = False
    return made


@lru_cache(maxsize=32)
def _usual(checkpoints: int) -> tuple[float, float, float]:
    """σ̂ of flat series of unit noise: root mean square, 97.5 % and 2.5 % quantile."""
    null = raw_noise(null_series(checkpoints))
    return float(np.sqrt((null**2).mean())), float(np.quantile(null, 0.975)), float(np.quantile(null, 0.025))
