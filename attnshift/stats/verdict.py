"""What a trace says in a few sentences: start, peak and end of context reliance, and what goes with them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import xarray as xr
from jaxtyping import Float

from attnshift.data.roles import CONTEXT_ROLES
from attnshift.errors import AttnshiftError
from attnshift.stats.certainty import Certainty, certainty
from attnshift.stats.readings import attention_by_roles, group_losses, loss_parts, total_push

CLEAR_FALL = 10.0
"""percentage points from which a rise or a fall is called one; a plain threshold, no test"""

_GROUPS = {"critical", "non_critical"}


@dataclass(frozen=True)
class Phases:
    """One quantity at the first step, at the step of highest counterfactual accuracy and at the last step."""

    start: float
    peak: float
    end: float

    def __iter__(self) -> Iterator[float]:
        return iter((self.start, self.peak, self.end))


@dataclass(frozen=True)
class Verdict:
    """What happened to context reliance; what the trace lacks is None."""

    steps: tuple[int, int, int]
    """first step, step of highest counterfactual accuracy (the earliest of equals), last step"""
    counterfactual: Phases
    """percent of the items whose greedy answer contains the context's answer"""
    parametric: Phases
    """percent of the items whose greedy answer contains the memorised one"""
    certainty: Certainty
    """how sure that is: the inversion test, intervals, paired tests, flips"""
    context_mass: Phases | None
    """attention mass (probability) on the context's tokens, mean over items, layers and heads"""
    highest_mass: tuple[int, float] | None
    """the step of the highest context mass, and that mass"""
    heldout: Phases | None
    """percent of the held-out examples whose greedy answer is exactly the target"""
    loss_share: Phases | None
    """the critical examples' percent of the training loss: share times mean loss, over both groups"""
    gradient_ratio: Phases | None
    """gradient norm of the critical group over that of the non-critical one"""
    margin_push: dict[str, Phases] | None
    """nats per unit of learning rate: what a step of SGD on the critical, the non-critical and all (``total``) training
    examples would change the mean margin by, weighted by share"""

    @property
    def rise(self) -> float:
        """Points that counterfactual accuracy gains from the start to the peak."""
        return self.counterfactual.peak - self.counterfactual.start

    @property
    def fall(self) -> float:
        """Points that counterfactual accuracy loses from the peak to the end. A maximum is biased upwards."""
        return self.counterfactual.peak - self.counterfactual.end

    @property
    def to_memory(self) -> float:
        """Percent of the fall that the memorised answer gains; NaN without a fall."""
        gained = self.parametric.end - self.parametric.peak
        return 100 * gained / self.fall if self.fall > 0 else float("nan")

    def sentences(self) -> list[str]:
        """Say it in words, the main thing first."""
        said = [self._main_sentence()]
        if self.fall >= CLEAR_FALL:
            said.append(
                f"{self.to_memory:.0f} % of that fall goes to the memorised answer, which is given for "
                f"{self.parametric.peak:.0f} % of the items at the peak and {self.parametric.end:.0f} % at the end."
            )
        said += self.certainty.sentences(self.steps[1], self.fall >= CLEAR_FALL)
        if self.context_mass is not None and self.highest_mass is not None:
            step, mass = self.highest_mass
            said.append(
                f"Attention mass on the context goes from {self.context_mass.start:.2f} to {mass:.2f} at step "
                f"{step:,} and ends at {self.context_mass.end:.2f}."
            )
        if self.heldout is not None:
            said.append(
                f"Meanwhile {self.heldout.peak:.1f} % of the held-out examples are answered right at the peak and "
                f"{self.heldout.end:.1f} % at the end."
            )
        if self.loss_share is not None:
            said.append(
                f"Critical examples carry {self.loss_share.start:.0f} % of the training loss at the start, "
                f"{self.loss_share.peak:.0f} % at the peak, {self.loss_share.end:.0f} % at the end."
            )
        if self.gradient_ratio is not None:
            start, peak, end = (f"{ratio:,.0f}" if ratio >= 10 else f"{ratio:.2g}" for ratio in self.gradient_ratio)
            said.append(
                f"Their gradient norm is {start}, {peak} and {end} times that of the non-critical ones: "
                "a ratio of norms alone doesn't show which group drives training."
            )
        if self.margin_push is not None:
            critical, other, total = (
                f"{push.start:+.2g}, {push.peak:+.2g} and {push.end:+.2g}" for push in self.margin_push.values()
            )
            said.append(
                f"A step of SGD on the critical examples pushes the mean margin by {critical} nats per unit of "
                "learning rate (start, peak, end; weighted by share), on the non-critical ones by "
                f"{other}, on all by {total}: "
                "first-order, of one checkpoint, no forecast of the next."
            )
        return said

    def _main_sentence(self) -> str:
        start, peak, end = self.steps
        values = self.counterfactual
        if peak == start:
            risen = f"is highest at step {start:,}, at {values.start:.0f} %"
        else:
            verb = "rises" if self.rise >= CLEAR_FALL else "goes"
            risen = f"{verb} from {values.start:.0f} to {values.peak:.0f} % at step {peak:,}"
        if self.fall >= CLEAR_FALL:
            fallen = f"then falls by {self.fall:.0f} points, to {values.end:.0f} % at step {end:,}"
        else:
            fallen = f"and does not fall clearly after that: {values.end:.0f} % at step {end:,}"
        return f"Counterfactual accuracy {risen}, {fallen}."


def verdict(trace: xr.Dataset) -> Verdict:
    """Read the verdict off a trace.

    Raises AttnshiftError where the trace lacks the accuracies or has several runs.
    """
    missing = {"counterfactual_accuracy", "parametric_accuracy"} - set(trace.data_vars)
    if missing or "run" in trace.dims:
        raise AttnshiftError(
            f"no verdict from a trace with {'several runs' if not missing else 'no ' + ', '.join(sorted(missing))}",
            expected="the trace of one run, with counterfactual_accuracy and parametric_accuracy",
        )
    counterfactual, parametric = (
        100 * trace[f"{kind}_accuracy"].transpose("step", "item").mean("item").values.astype(np.float64)
        for kind in ("counterfactual", "parametric")
    )
    measured = np.flatnonzero(np.isfinite(counterfactual))
    if not len(measured):
        raise AttnshiftError("no step of the trace has an accuracy", expected="at least one measured checkpoint")
    places = int(measured[0]), int(measured[np.argmax(counterfactual[measured])]), int(measured[-1])
    mass = _context_mass(trace)
    highest = None if mass is None or np.isnan(mass).all() else int(np.nanargmax(mass))
    steps = trace["step"].values

    def phases(values: Float[np.ndarray, "step"] | None) -> Phases | None:
        return None if values is None else Phases(*(float(values[place]) for place in places))

    return Verdict(
        steps=(int(steps[places[0]]), int(steps[places[1]]), int(steps[places[2]])),
        counterfactual=Phases(*(float(counterfactual[place]) for place in places)),
        parametric=Phases(*(float(parametric[place]) for place in places)),
        certainty=certainty(trace, places),
        context_mass=phases(mass),
        highest_mass=None if mass is None or highest is None else (int(steps[highest]), float(mass[highest])),
        heldout=phases(_heldout_accuracy(trace)),
        loss_share=phases(_loss_share(trace)),
        gradient_ratio=phases(_gradient_ratio(trace)),
        margin_push={name: Phases(*(float(push[place]) for place in places)) for name, push in _margin_push(trace)}
        or None,
    )


def _context_mass(trace: xr.Dataset) -> Float[np.ndarray, "step"] | None:
    if "attention_mass" not in trace:
        return None
    return attention_by_roles(trace, {"context": CONTEXT_ROLES})["context"].mean(-1)


def _heldout_accuracy(trace: xr.Dataset) -> Float[np.ndarray, "step"] | None:
    if "exact_match" not in trace or not (heldout := (trace["split"] == "heldout").values).any():
        return None
    return 100 * trace["exact_match"].transpose("step", "example").values[:, heldout].mean(-1, dtype=np.float64)


def _loss_share(trace: xr.Dataset) -> Float[np.ndarray, "step"] | None:
    """The critical examples' part of the loss of the training examples that have a context, in percent."""
    if "loss" not in trace:
        return None
    means = group_losses(trace)
    return (
        loss_parts(trace, {group: means[group] for group in _GROUPS})["critical"] if means.keys() >= _GROUPS else None
    )


def _gradient_ratio(trace: xr.Dataset) -> Float[np.ndarray, "step"] | None:
    if "gradient_norm" not in trace or not set(trace["group"].values.tolist()) >= _GROUPS:
        return None
    norms = trace["gradient_norm"].astype(np.float64)
    return np.asarray((norms.sel(group="critical") / norms.sel(group="non_critical")).values)


def _margin_push(trace: xr.Dataset) -> list[tuple[str, Float[np.ndarray, "step"]]]:
    if not {"margin_push", "group_share"} <= set(trace.data_vars) or not set(trace["group"].values.tolist()) >= _GROUPS:
        return []
    weighted = trace["margin_push"] * trace["group_share"]
    by_group = [(group, np.asarray(weighted.sel(group=group).values)) for group in ("critical", "non_critical")]
    return [*by_group, ("total", total_push(trace, "margin_push"))]
