"""The one-layer theory fitted to what was measured of a run so far: a few numbers, by least squares."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Float, Int

from attnshift.errors import AttnshiftError
from attnshift.stats.least_squares import multistart
from attnshift.stats.measured import Measured
from attnshift.theory.homogeneous import follow_gaps

NOISE: Final = {
    "margin": 1.0,
    "context_mass": 0.04,
    "loss_critical": 0.3,
    "loss_non_critical": 0.2,
    "push_share": 0.3,
}
"""How far a checkpoint may stray from the theory before it counts, in each quantity's unit."""

_STARTS, _UPDATES, _FIRST_UPDATE = 300, 160, 100


@dataclass(frozen=True)
class Parameter:
    """A number that is fitted, with what is believed of it before anything is fitted."""

    about: str
    centre: float
    spread: float
    """standard deviation of a normal belief; of the number's natural logarithm where it is above 0 by its nature"""
    positive: bool = True
    most: float = np.inf


@dataclass(frozen=True)
class Fit:
    """The course of the theory that comes nearest to a run."""

    parameters: Mapping[str, float]
    """`beliefs` says what each is"""
    step: Int[np.ndarray, "step"]
    """the steps of ``path``: those that were fitted, then those ahead"""
    path: dict[str, Float[np.ndarray, "step"]]
    """the quantities of `Measured.series`"""
    misfit: Mapping[str, float]
    """root mean square of what was measured less ``path``, each in its own unit"""


def beliefs(measured: Measured) -> dict[str, Parameter]:
    """What is fitted, and what is believed of it: general, or read off the first checkpoint.

    The rest is known: the groups' shares, and o_c − log Z, the log-odds of an answer that nothing speaks for, which is
    −log(e^{loss} − 1) of the critical examples' loss without their context at the first checkpoint.
    """
    margin, mass = (float(measured.series[name][0]) for name in ("margin", "context_mass"))
    return {
        "gap_context": Parameter("L_C, nats that the context's value adds to its answer", 8.0, 0.5),
        "gap_memory": Parameter("L_M, nats that memory adds to its answer", max(0.3 - margin, 1.0), 0.15),
        "start": Parameter("attention gap α_c − α_s before finetuning", -3.5, 1.5, positive=False),
        "points": Parameter("n, how many points share the shared directions", 20.0, 1.5),
        "known": Parameter("ρ, squared part of the direction that known subjects share", 0.2, 1.0, most=0.49),
        "elapsed": Parameter("learning rate × steps of the theory up to the last checkpoint seen", 500.0, 2.0),
        "floor": Parameter("context mass without any attention to the context", mass, 0.05, positive=False),
        "reach": Parameter("context mass that full attention adds to that", 0.4, 0.6),
    }


def fit_theory(
    measured: Measured, ahead: Int[np.ndarray, "later"], noise: Mapping[str, float] = NOISE, seed: int = 0
) -> Fit:
    """Fit the homogeneous model, W_V frozen, to a run, and follow it through the steps ahead.

    One unit of the theory's time is a fixed number of optimizer steps. Minimised is Σ ((measured − path) / noise)²
    over checkpoints and quantities, plus Σ ((parameter − centre) / spread)² over `beliefs`. Nothing but ``measured`` is
    used: no later checkpoint, no scale taken from one. ``seed`` draws the starts.

    Raises AttnshiftError where the first checkpoint lacks what the beliefs are read from.
    """
    _check_first(measured)
    known = beliefs(measured)
    course = _Course(measured, ahead)
    centre = np.array([_to_search(one, one.centre) for one in known.values()])
    spread = np.array([one.spread for one in known.values()])
    seen = np.stack([measured.series[name] for name in noise])
    present = np.isfinite(seen)
    scale = np.broadcast_to(np.array(list(noise.values()))[:, None], seen.shape)[present]

    def residuals(at: Float[np.ndarray, "start parameter"]) -> Float[np.ndarray, "residual start"]:
        path = course.follow(_from_search(known, at), seen.shape[1])
        apart = (np.stack([path[name] for name in noise])[present] - seen[present][:, None]) / scale[:, None]
        return np.concatenate([apart, ((at - centre) / spread).T])

    draws = np.random.default_rng(seed).standard_normal((_STARTS, len(known)))
    draws[0] = 0  # the beliefs themselves
    found = multistart(residuals, centre + spread * draws)
    values = _from_search(known, found.parameters[None])
    path = {name: values_[:, 0] for name, values_ in course.follow(values, len(course.step)).items()}
    return Fit(
        parameters={name: float(value[0]) for name, value in values.items()},
        step=course.step,
        path=path,
        misfit={name: _root_mean_square(measured.series[name] - path[name][: seen.shape[1]]) for name in noise},
    )


class _Course:
    """The theory between a run's checkpoints.

    Updates grow with the time gone by, as the theory slows down: 160 of them spaced evenly in log time, and one at
    every checkpoint. The clock counts in units of the time of the last checkpoint seen.
    """

    def __init__(self, measured: Measured, ahead: Int[np.ndarray, "later"]) -> None:
        self.step = np.concatenate([measured.step, np.asarray(ahead, np.int64)])
        clock = (self.step - measured.step[0]) / (measured.step[-1] - measured.step[0])
        even = np.geomspace(clock[1] / _FIRST_UPDATE, clock[-1], _UPDATES)
        self._times = np.union1d(even[:-1], clock)
        self._places = np.searchsorted(self._times, clock)
        self._offset = -np.log(np.expm1(measured.closed_book))
        self._share = measured.share

    def follow(
        self, values: Mapping[str, Float[np.ndarray, "start"]], checkpoints: int
    ) -> dict[str, Float[np.ndarray, "step start"]]:
        """The quantities at the first so many checkpoints, for many parameters at once."""
        places = self._places[:checkpoints]
        times = self._times[: places[-1] + 1]
        gaps = follow_gaps(
            np.diff(times)[:, None] * values["elapsed"],
            n_critical=self._share * values["points"],
            n_non_critical=(1 - self._share) * values["points"],
            gap_context=values["gap_context"],
            gap_memory=values["gap_memory"],
            offset=self._offset,
            known=values["known"],
            start=values["start"],
        )
        attention, push = gaps.attention[places], gaps.push_critical[places]
        return {
            "margin": attention * values["gap_context"] - (1 - attention) * values["gap_memory"],
            "context_mass": values["floor"] + values["reach"] * attention,
            "loss_critical": gaps.loss_critical[places],
            "loss_non_critical": gaps.loss_non_critical[places],
            "push_share": push / (push + np.abs(gaps.push[places] - push)),
        }


def _to_search(parameter: Parameter, value: float) -> float:
    return float(np.log(value)) if parameter.positive else value


def _from_search(
    known: Mapping[str, Parameter], at: Float[np.ndarray, "start parameter"]
) -> dict[str, Float[np.ndarray, "start"]]:
    """Numbers in their own units from what is searched over: logarithms of the positive ones."""
    return {
        name: np.minimum(np.exp(np.minimum(column, 50.0)), one.most) if one.positive else column
        for (name, one), column in zip(known.items(), at.T, strict=True)
    }


def _check_first(measured: Measured) -> None:
    firsts = {name: float(measured.series[name][0]) for name in ("margin", "context_mass")}
    firsts["closed-book loss of the critical examples"] = measured.closed_book
    for name, value in firsts.items():
        if not np.isfinite(value) or (name not in measured.series and value <= 0):
            raise AttnshiftError(
                f"the first checkpoint (step {measured.step[0]}) has no {name}",
                expected="a measured first checkpoint: what the theory starts from is read there",
            )


def _root_mean_square(values: Float[np.ndarray, "step"]) -> float:
    present = values[np.isfinite(values)]
    return float(np.sqrt(np.mean(present**2))) if present.size else float("nan")
