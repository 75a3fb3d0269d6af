"""Full-batch gradient descent on the one-layer model, step by step."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np
from jaxtyping import Float, Int

from attnshift.errors import AttnshiftError
from attnshift.theory.points import KINDS, Conflicts, Points, make_conflicts, make_points
from attnshift.theory.setting import Setting
from attnshift.theory.weights import FrozenValues, KeyQuery, TrainedValues, Values, sigmoid

_DESCENT: Final = 0.25  # part of what its gradient promises that a step brings (Armijo); 1/2 up to 1 / curvature
_ROUNDING: Final = 1e-12  # nats; below that a change of the loss is rounding


@dataclass(frozen=True)
class Trajectory:
    """What a setting goes through, one number per step; step 0 is before finetuning.

    A group's gradient is what it brings to −∂loss/∂(attention gap), summed over its points and divided by the number
    of all: above 0 it pulls towards the context (a recall point: towards its subject).
    """

    setting: Setting
    step: Int[np.ndarray, "step"]
    attention: Float[np.ndarray, "step"]
    """σ_c of the test conflicts, mean over items"""
    reliance: Float[np.ndarray, "step"]
    """M = sigmoid(d), d = logit of the context's answer less that of the memorised one; mean over items"""
    counterfactual_accuracy: Float[np.ndarray, "step"]
    """share of the items with d > 0"""
    gradient_critical: Float[np.ndarray, "step"]
    """Σ σ_c σ_s m over critical points / n"""
    gradient_non_critical: Float[np.ndarray, "step"]
    gradient_counterfactual: Float[np.ndarray, "step"]
    gradient_recall: Float[np.ndarray, "step"]
    push: Float[np.ndarray, "step"]
    """change of the test conflicts' attention gap per unit of learning rate that training W_KQ brings; its change of
    sign is the peak of the attention"""
    attention_critical: Float[np.ndarray, "step"]
    """σ_c of the critical points; NaN without any"""
    attention_non_critical: Float[np.ndarray, "step"]
    loss: Float[np.ndarray, "step"]
    """mean −log p of the training points' labels, nats"""
    margin: Float[np.ndarray, "step item"] = field(repr=False)
    """d of every test conflict"""

    @property
    def peak(self) -> int:
        """The step of the highest reliance, the first where there are several."""
        return int(self.reliance.argmax())

    @property
    def ceiling(self) -> float:
        """M under full attention to a context of the setting's strength, sigmoid(L_C)."""
        return float(sigmoid(np.array(self.setting.gap_context)))

    @property
    def context_wins(self) -> tuple[int, int] | None:
        """First and last step at which more than half of the items are answered from the context."""
        won = np.flatnonzero(self.counterfactual_accuracy > 0.5)
        return (int(won[0]), int(won[-1])) if won.size else None


def simulate(setting: Setting) -> Trajectory:
    """Train the model that a setting describes.

    Raises AttnshiftError where gradient descent stops descending: the learning rate is too high.
    """
    points = make_points(setting)
    return train(setting, points, make_conflicts(setting, points))


def train(setting: Setting, points: Points, conflicts: Conflicts) -> Trajectory:
    """Train on given points, ask given conflicts; of the setting only the vocabulary and the training count.

    Raises AttnshiftError where gradient descent stops descending.
    """
    keys = KeyQuery(setting, points)
    values: Values = (FrozenValues if setting.trained == "qk" else TrainedValues)(setting, points)
    members = {kind: points.members(kind) for kind in KINDS}
    rows: list[tuple[float, ...]] = []
    margins = np.empty((setting.steps + 1, setting.n_test))
    before, promised = np.inf, 0.0
    for step in range(setting.steps + 1):
        attention, seen = keys.attention(), keys.attention_of(conflicts)
        reading = values.read(attention)
        pull = attention * (1 - attention) * reading.slope
        margins[step] = values.margin(conflicts, seen)
        loss = float(reading.loss.mean())
        _check_descent(setting, step, before, loss, promised)
        groups = [float(pull[chosen].sum()) / len(points) for chosen in members.values()]
        shown = [_mean(attention[members[kind]]) for kind in ("critical", "non_critical")]
        rows.append((float(seen.mean()), *groups, keys.push(pull), *shown, loss))
        before, promised = loss, 0.0
        if setting.trained != "v":
            promised += setting.learning_rate * keys.step(pull, setting.learning_rate)
        if setting.trained != "qk":
            promised += setting.learning_rate * values.step(attention, reading, setting.learning_rate)
    seen_mean, critical, non_critical, counterfactual, recall, push, at_critical, at_non_critical, losses = np.array(
        rows
    ).T
    return Trajectory(
        setting=setting,
        step=np.arange(setting.steps + 1),
        attention=seen_mean,
        reliance=sigmoid(margins).mean(1),
        counterfactual_accuracy=(margins > 0).mean(1),
        gradient_critical=critical,
        gradient_non_critical=non_critical,
        gradient_counterfactual=counterfactual,
        gradient_recall=recall,
        push=push,
        attention_critical=at_critical,
        attention_non_critical=at_non_critical,
        loss=losses,
        margin=margins,
    )


def _mean(values: Float[np.ndarray, "point"]) -> float:
    return float(values.mean()) if values.size else float("nan")


def _check_descent(setting: Setting, step: int, before: float, loss: float, promised: float) -> None:
    """Armijo's condition: a step that lowers the loss by far less than its gradient promised has overshot."""
    if np.isfinite(loss) and (before - loss >= _DESCENT * promised - _ROUNDING or not np.isfinite(before)):
        return
    raise AttnshiftError(
        f"learning_rate={setting.learning_rate!r} diverges: step {step} took the loss from {before:.4g} to {loss:.4g}",
        expected="a rate at which each step lowers the loss by a quarter of what its gradient promises, at least",
        remedy=f"a lower one, such as {float(f'{setting.learning_rate / 4:.1g}')!r}",
    )
