"""The inversion test: does a series fall from its peak by more than checkpoint noise explains?"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import sqrt

import numpy as np
import xarray as xr
from jaxtyping import Float

from attnshift.errors import AttnshiftError
from attnshift.stats.items import ItemSeries, item_series
from attnshift.stats.noise import SHORT, Noise, checkpoint_noise, null_series, raw_noise

LEAST_CHECKPOINTS = 7
"""below it even a fall of 30 points is mostly missed, since the curve itself is all that noise could be told from"""
RHO = 0.5
"""correlation of neighbouring checkpoints' noise that the cautious p-value allows for"""
_SUSPICIOUS = 0.9
"""quantile of the residuals' autocorrelation under independent noise, above which it is called suspicious"""


@dataclass(frozen=True)
class InversionTest:
    """Whether the fall from the peak is beyond checkpoint noise; in the unit of the series."""

    fall: float
    """highest mean of a few neighbouring checkpoints less the mean of the last ones; biased upwards, as any peak"""
    at_least: float
    """one-sided 95 % lower bound of the fall, free of that bias; below 0 where no fall is shown"""
    p_value: float
    """probability of such a fall in a series that never falls, if checkpoints' noise is independent: the larger of
    what Gaussian and what heavy-tailed noise give"""
    p_correlated: float
    """the same, or more, if the noise of neighbouring checkpoints correlates by RHO"""
    suspicious: bool
    """whether what is left of the series after smoothing is correlated more than nine in ten independent ones"""
    peak: tuple[int, int]
    """first and last step of the window with the highest mean"""
    end: tuple[int, int]
    """first and last step of the mean at the end"""
    noise: Noise
    checkpoints: int

    @property
    def reason(self) -> str | None:
        """Why nothing can be said; None where the test says something."""
        if self.checkpoints < LEAST_CHECKPOINTS:
            return (
                f"{self.checkpoints} checkpoints are too few to tell a fall from noise (at least {LEAST_CHECKPOINTS})"
            )
        return None

    @property
    def warning(self) -> str | None:
        """What a reader of ``p_value`` has to know; None where nothing."""
        if self.reason is None and self.suspicious:
            return (
                "what smoothing leaves of the series is correlated (noise that persists, or a sharp bend): trust the "
                f"p-value that allows for it, {p_text(self.p_correlated)}"
            )
        return None


def windows(checkpoints: int) -> tuple[int, int]:
    """How many checkpoints the mean at the peak and the mean at the end are taken over.

    Three and three; five from 24 checkpoints on and seven from 48; the last two alone below SHORT, where three would
    be a good part of the fall.
    """
    wide = 3 if checkpoints < 24 else 5 if checkpoints < 48 else 7
    return wide, 2 if checkpoints < SHORT else wide


def inversion_test(
    trace: xr.Dataset | ItemSeries | Float[np.ndarray, "step"],
    measure: str = "counterfactual_accuracy",
    known: bool = False,
    noise: float | None = None,
) -> InversionTest:
    """Test whether a series falls by more than checkpoint noise; items, and thus clusters, are held fixed.

    T = (highest mean of w neighbouring checkpoints − mean of the last ones) / σ̂, with σ̂ from second differences
    (`checkpoint_noise`) and never below what the items' own flips give. p is the share of flat series of independent
    noise whose T is as large: Gaussian, or Student's with 3 degrees of freedom, whichever gives more (real series jump
    now and then by several times their usual step). Of all series that never fall the flat one brings the largest T:
    under a rise every earlier mean is lower against the end, and its curvature only adds to σ̂. ``noise`` is a σ known
    from elsewhere (repeated runs, say). Give a trace and a measure, or a bare series in checkpoint order, whose places
    then stand for steps. docs/statistics.md has the false positives and the power, by simulation.

    Raises AttnshiftError as `item_series` does, and where ``noise`` isn't positive.
    """
    if noise is not None and not noise > 0:
        raise AttnshiftError(f"noise={noise}", expected="a standard deviation above 0, in the unit of the series")
    series = item_series(trace, measure, known) if isinstance(trace, xr.Dataset) else trace
    means = series.means if isinstance(series, ItemSeries) else np.asarray(series, np.float64)
    steps = series.steps if isinstance(series, ItemSeries) else np.arange(len(means))
    measured = np.isfinite(means)
    means, steps = means[measured], steps[measured]
    found, count = checkpoint_noise(series), len(means)
    if count < LEAST_CHECKPOINTS:
        nan, nowhere = float("nan"), (-1, -1)
        return InversionTest(nan, nan, nan, nan, False, nowhere, nowhere, found, count)
    wide, last = windows(count)
    at = int(_window_means(means[None], wide)[0, : count - wide - last + 1].argmax())
    fall = float(_fall(means[None])[0])
    sigma = max(float(raw_noise(means[None])[0]), found.items) if noise is None else noise
    nulls = [_null_statistics(count, *kind, noise is not None) for kind in ((0.0, False), (0.0, True), (RHO, False))]
    with np.errstate(divide="ignore", invalid="ignore"):
        statistic = fall / sigma if sigma else (np.inf if fall > 0 else -np.inf)
    gaussian, heavy, persistent = (_share_above(null, statistic) for null in nulls)
    critical = max(float(null[int(0.95 * len(null) + 2 * sqrt(0.05 * len(null)))]) for null in nulls[:2])
    return InversionTest(
        fall=fall,
        at_least=fall - critical * sigma,
        p_value=max(gaussian, heavy),
        p_correlated=max(gaussian, heavy, persistent),
        suspicious=bool(autocorrelation(means[None])[0] > _usual_autocorrelation(count)),
        peak=(int(steps[at]), int(steps[at + wide - 1])),
        end=(int(steps[-last]), int(steps[-1])),
        noise=found,
        checkpoints=count,
    )


def autocorrelation(series: Float[np.ndarray, "draw step"]) -> Float[np.ndarray, "draw"]:
    """Correlation of neighbours in what a local polynomial leaves of each series; 0 where it leaves nothing."""
    rest = series @ _rest(series.shape[-1]).T
    rest = rest - rest.mean(-1, keepdims=True)
    squares = (rest**2).sum(-1)
    products = (rest[:, 1:] * rest[:, :-1]).sum(-1)
    return np.divide(products, squares, out=np.zeros_like(products), where=squares > 1e-18)


def p_text(p: float) -> str:
    """A p-value for people."""
    if p < 0.001:
        return "p < .001"
    return "p = " + (f"{p:.3f}" if p < 0.1 else f"{p:.2f}").removeprefix("0")


def _fall(series: Float[np.ndarray, "draw step"]) -> Float[np.ndarray, "draw"]:
    count = series.shape[-1]
    wide, last = windows(count)
    return _window_means(series, wide)[:, : count - wide - last + 1].max(-1) - series[:, -last:].mean(-1)


def _window_means(series: Float[np.ndarray, "draw step"], width: int) -> Float[np.ndarray, "draw window"]:
    return np.lib.stride_tricks.sliding_window_view(series, width, axis=-1).mean(-1)


def _share_above(null: Float[np.ndarray, "draw"], statistic: float) -> float:
    """Share of the null's draws at or above; two standard errors of the simulation count against the finding."""
    above = len(null) - int(np.searchsorted(null, statistic))
    return min(1.0, (1 + above + 2 * sqrt(above)) / (1 + len(null)))


@lru_cache(maxsize=64)
def _null_statistics(checkpoints: int, rho: float, heavy: bool, noise_known: bool) -> Float[np.ndarray, "draw"]:
    """T of flat series, in ascending order."""
    series = null_series(checkpoints, rho, heavy)
    return np.sort(_fall(series) if noise_known else _fall(series) / raw_noise(series))


@lru_cache(maxsize=32)
def _usual_autocorrelation(checkpoints: int) -> float:
    return float(np.quantile(autocorrelation(null_series(checkpoints)), _SUSPICIOUS))


@lru_cache(maxsize=32)
def _rest(checkpoints: int) -> Float[np.ndarray, "step step"]:
    """The matrix that takes off a local polynomial: a parabola over 7 checkpoints, a cubic over 9 from 24 on."""
    width, degree = (7, 2) if checkpoints < 24 else (9, 3)
    matrix = np.eye(checkpoints)
    for place in range(checkpoints):
        start = min(max(place - width // 2, 0), checkpoints - width)
        powers = np.vander(np.arange(start - place, start - place + width), degree + 1)
        matrix[place, start : start + width] -= np.linalg.pinv(powers)[-1]
    return matrix
