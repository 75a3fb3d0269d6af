"""Where a run goes next and where it peaks: said by the one-layer theory from the checkpoints so far."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import xarray as xr
from jaxtyping import Float, Int

from attnshift.errors import AttnshiftError
from attnshift.stats.measured import read_measured
from attnshift.stats.theory_fit import Fit, fit_theory

QUANTITIES: Final = ("margin", "counterfactual_accuracy", "context_mass")
"""What a forecast is about. Accuracy moves as the margin does: the theory's items are alike."""


@dataclass(frozen=True)
class Said:
    """What somebody says of one quantity, from its past."""

    change: float
    """up to the next checkpoint, in the quantity's unit; its sign is the forecast"""
    peak: int
    """index of the highest checkpoint, among those seen and those ahead"""


@dataclass(frozen=True)
class Forecast:
    """The theory's forecast from the checkpoints up to a step."""

    seen: int
    """how many checkpoints were fitted: the first so many of ``fit.step``"""
    fit: Fit
    said: dict[str, Said]
    """by quantity, those of `QUANTITIES` that the trace has; the change of counterfactual accuracy is the margin's"""

    def peak_step(self, quantity: str) -> int:
        """The step at which a quantity is said to be highest."""
        return int(self.fit.step[self.said[quantity].peak])


def forecast(trace: xr.Dataset, upto: int | None = None, ahead: Sequence[int] | None = None) -> Forecast:
    """Fit the one-layer theory to the checkpoints up to a step, and let it say the rest.

    Of a trace nothing later than ``upto`` is read (default: nothing is left out), but for where the checkpoints ahead
    lie: ``ahead``, by default the trace's own later steps. A quantity's next change is that of the fitted course; its
    peak is the course's highest checkpoint where that lies ahead, else the highest measured so far.

    Raises AttnshiftError where nothing lies ahead, fewer than `measured.FEWEST` checkpoints are seen, or the trace
    lacks margin, attention mass, losses with and without context, or one of the groups.
    """
    steps = trace["step"].values.astype(np.int64)
    until = int(steps[-1]) if upto is None else upto
    later = np.asarray(steps[steps > until] if ahead is None else ahead, np.int64)
    if not len(later) or (np.diff(later, prepend=until) <= 0).any():
        raise AttnshiftError(
            f"there is nothing to forecast: upto={until}, ahead={later.tolist()}",
            expected="a step with checkpoints after it, or rising steps ahead",
            remedy=f"upto={steps[-2]} or earlier" if len(steps) > 1 else "trace more checkpoints",
        )
    past = trace.sel(step=steps[steps <= until])
    measured = read_measured(past)
    fit = fit_theory(measured, later)
    values = {name: measured.series[name] for name in ("margin", "context_mass")}
    if "counterfactual_accuracy" in past:
        values["counterfactual_accuracy"] = accuracy_of(past)
    courses = {**fit.path, "counterfactual_accuracy": fit.path["margin"]}
    said: dict[str, Said] = {name: along(courses[name], values[name]) for name in QUANTITIES if name in values}
    return Forecast(len(measured.step), fit, said)


def accuracy_of(trace: xr.Dataset) -> Float[np.ndarray, "step"]:
    """Counterfactual accuracy, mean over items."""
    return trace["counterfactual_accuracy"].transpose("step", "item").values.astype(np.float64).mean(-1)


def along(course: Float[np.ndarray, "step"], seen: Float[np.ndarray, "past"]) -> Said:
    """What a course through past and future says."""
    n, top = len(seen), int(course.argmax())
    return Said(float(course[n] - course[n - 1]), top if top >= n else _highest(seen))


def last_change_persists(steps: Int[np.ndarray, "step"], seen: Float[np.ndarray, "past"]) -> Said:
    """Baseline: every checkpoint ahead changes by what the last one did."""
    change = seen[-1] - seen[-2]
    return along(np.concatenate([seen, seen[-1] + change * np.arange(1, len(steps) - len(seen) + 1)]), seen)


def quadratic(steps: Int[np.ndarray, "step"], seen: Float[np.ndarray, "past"]) -> Said:
    """Baseline: the parabola in log step through the past, by least squares; step 0 has no logarithm."""
    later = steps > 0
    past = later[: len(seen)]
    x = np.log(np.where(later, steps, 1))
    return along(np.polyval(np.polyfit(x[: len(seen)][past], seen[past], 2), x), seen)


BASELINES: Final[dict[str, Callable[[Int[np.ndarray, "step"], Float[np.ndarray, "past"]], Said]]] = {
    "last change persists": last_change_persists,
    "quadratic in log step": quadratic,
}
"""What a forecast has to beat, by name."""


def _highest(values: Float[np.ndarray, "step"]) -> int:
    return int(np.nanargmax(values))
