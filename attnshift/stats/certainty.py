"""How sure a verdict is: what checkpoint noise explains, what other items would say, and which items flip."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr

from attnshift.stats.flips import Flips, flips
from attnshift.stats.intervals import cluster_wilson
from attnshift.stats.inversion import InversionTest, inversion_test, p_text
from attnshift.stats.items import ItemSeries, item_series
from attnshift.stats.paired import McNemar, holm, mcnemar, sign_flip


@dataclass(frozen=True)
class PairTest:
    """Two of the three checkpoints, compared on the same items."""

    between: str
    mcnemar: McNemar
    holm: float
    """McNemar's p-value, corrected for the three comparisons"""
    sign_flip: float
    """p-value by flipping whole clusters"""


@dataclass(frozen=True)
class Certainty:
    """Of counterfactual accuracy, in points."""

    intervals: tuple[tuple[float, float], tuple[float, float], tuple[float, float]]
    """95 % intervals at start, peak and end, for other items of the same kind (Wilson, by clusters)"""
    inversion: InversionTest
    """whether the fall from the peak is beyond checkpoint noise"""
    peak_range: tuple[int, int]
    """first and last step whose accuracy differs from the peak's by no more than two checkpoints do by noise (95 %);
    the peak alone where the noise isn't known"""
    pairs: tuple[PairTest, PairTest, PairTest]
    """start and peak, peak and end, start and end"""
    flips: Flips
    """between context and memory, from peak to end"""
    clusters: int

    def sentences(self, peak: int, clear: bool) -> list[str]:
        """Say it in words; ``clear`` is whether the verdict calls the fall one, ``peak`` the peak's step."""
        said = [self._noise_sentence(clear), self._interval_sentence()]
        first, last = self.peak_range
        if first < last:
            said.append(
                f"Checkpoints jump by chance ({self.inversion.noise.sd:.1f} points): the peak at step {peak:,} could "
                f"as well lie anywhere from step {first:,} to {last:,}."
            )
        if clear:
            said.append(self._flip_sentence())
        return [sentence for sentence in said if sentence]

    def _noise_sentence(self, clear: bool) -> str:
        test = self.inversion
        if test.reason is not None:
            return f"Whether that fall is more than checkpoint noise can't be said: {test.reason}." if clear else ""
        noise = f"{test.noise.sd:.1f} points from one checkpoint to the next"
        if test.p_value > 0.05:
            if not clear:
                return f"No fall beyond checkpoint noise ({noise}) is shown: {p_text(test.p_value)}."
            return f"That fall may be checkpoint noise ({noise}): {p_text(test.p_value)}."
        told = f"The fall is more than checkpoint noise ({noise}) explains: {p_text(test.p_value)}"
        still = "it may still be noise: " if test.p_correlated > 0.05 else ""
        told += (
            f"; it is at least {test.at_least:.0f} points (95 %). If noise persists from one checkpoint to the next, "
        )
        told += f"{still}{p_text(test.p_correlated)}"
        return told + (", and what smoothing leaves of the series looks as if it did." if test.suspicious else ".")

    def _interval_sentence(self) -> str:
        if not np.isfinite(self.intervals).all():
            return ""
        start, peak, end = (f"{low:.0f} to {high:.0f} %" for low, high in self.intervals)
        return f"For other items like these (95 %): {start} at the start, {peak} at the peak, {end} at the end."

    def _flip_sentence(self) -> str:
        found, tested = self.flips, self.pairs[1]
        told = (
            f"From the peak to the end {len(found.to_memory)} items flip to memory and {len(found.to_context)} to the "
            f"context; {found.robust_to_memory} and {found.robust_to_context} of these agree with their neighbouring "
            f"checkpoints. McNemar, corrected for three comparisons: {p_text(tested.holm)}"
        )
        shared = self.clusters < self.flips.items
        return told + (f"; flipping whole clusters: {p_text(tested.sign_flip)}." if shared else ".")


def certainty(trace: xr.Dataset, places: tuple[int, int, int]) -> Certainty:
    """How sure the verdict is of a trace at the places, among its steps, of start, peak and end."""
    series = item_series(trace)
    values = series.values / 100
    bounds = [cluster_wilson(values[place], series.clusters) for place in places]
    steps = series.steps
    test = inversion_test(series)
    return Certainty(
        intervals=tuple((100 * float(one.low), 100 * float(one.high)) for one in bounds),  # type: ignore[arg-type]
        inversion=test,
        peak_range=_peak_range(series, places[1], test.noise.sd),
        pairs=_pair_tests(series, places),
        flips=flips(trace, int(steps[places[1]]), int(steps[places[2]])),
        clusters=len(set(series.clusters.tolist())),
    )


def _peak_range(series: ItemSeries, peak: int, noise: float) -> tuple[int, int]:
    if not np.isfinite(noise):
        return int(series.steps[peak]), int(series.steps[peak])
    lowest = series.means[peak] - 1.96 * np.sqrt(2) * noise
    near = series.steps[np.isfinite(series.means) & (series.means >= lowest)]
    return int(near[0]), int(near[-1])


def _pair_tests(series: ItemSeries, places: tuple[int, int, int]) -> tuple[PairTest, PairTest, PairTest]:
    start, peak, end = (series.values[place] / 100 for place in places)
    named = {"start → peak": (start, peak), "peak → end": (peak, end), "start → end": (start, end)}
    tests = [mcnemar(*sides) for sides in named.values()]
    adjusted = holm([test.p_value for test in tests])
    found = [
        PairTest(name, test, corrected, sign_flip(*sides, series.clusters))
        for (name, sides), test, corrected in zip(named.items(), tests, adjusted, strict=True)
    ]
    return found[0], found[1], found[2]
