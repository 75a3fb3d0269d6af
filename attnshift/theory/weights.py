"""The two matrices that finetuning moves, as exactly the few numbers that a gradient step can change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from jaxtyping import Float

from attnshift.theory.points import Conflicts, Points, shared_weights
from attnshift.theory.setting import Setting


def sigmoid(values: Float[np.ndarray, "*any"]) -> Float[np.ndarray, "*any"]:
    """1 / (1 + e^{−x}), without overflow."""
    return 0.5 * (1 + np.tanh(0.5 * values))


class KeyQuery:
    """W_KQ: what each direction adds to the attention logit that the relation gives it.

    ∂α_i/∂W_KQ = φ(i) φ(r)ᵀ, so that a step moves the logit of j by Σ_i (∂α_i) ⟨φ(i), φ(j)⟩: one number per shared
    direction, and one per point for its own two directions, whose gap alone matters. Exact, O(points) per step.
    """

    def __init__(self, setting: Setting, points: Points) -> None:
        self._weights = shared_weights(setting)
        self._directions = points.first - points.second
        self._own = points.first_own + points.second_own
        self.shared = np.zeros(4)
        self.own = np.zeros(len(points))

    def attention(self) -> Float[np.ndarray, "point"]:
        """Attention to each point's first key."""
        return sigmoid(self._directions @ self.shared + self.own)

    def attention_of(self, conflicts: Conflicts) -> Float[np.ndarray, "item"]:
        """Attention of unseen conflicts to their context: α_c − α_s comes from shared directions alone."""
        context, subject, known, _ = self.shared
        return sigmoid(conflicts.attention_gap + context - subject - known)

    def push(self, pull: Float[np.ndarray, "point"]) -> float:
        """Change of an unseen conflict's attention gap per unit of learning rate, from each point's pull."""
        context, subject, known, _ = self._weights * (self._directions.T @ pull) / len(pull)
        return float(context - subject - known)

    def step(self, pull: Float[np.ndarray, "point"], learning_rate: float) -> float:
        """One step of gradient descent; returns the squared norm of the gradient."""
        together = self._directions.T @ pull / len(pull)
        alone = pull / len(pull)
        self.shared += learning_rate * self._weights * together
        self.own += learning_rate * self._own * alone
        return float(self._weights @ together**2 + self._own @ alone**2)


@dataclass(frozen=True)
class Reading:
    """What the answer's softmax makes of every point under its attention."""

    loss: Float[np.ndarray, "point"]
    """−log p of the label, in nats"""
    slope: Float[np.ndarray, "point"]
    """−∂loss/∂σ of the first key: the paper's m, ⟨y − p, v(first) − v(second)⟩"""
    residual: Float[np.ndarray, "point class"] | None = None
    """y − p, where the values are trained"""


class Values(Protocol):
    """W_V, seen through the answer's logits."""

    def read(self, attention: Float[np.ndarray, "point"]) -> Reading:
        """Losses and slopes under an attention to the first keys."""

    def margin(self, conflicts: Conflicts, attention: Float[np.ndarray, "item"]) -> Float[np.ndarray, "item"]:
        """Logit of the context's answer less that of the memorised one."""

    def step(self, attention: Float[np.ndarray, "point"], reading: Reading, learning_rate: float) -> float:
        """One step of gradient descent; returns the squared norm of the gradient."""


class FrozenValues:
    """W_V as pretraining left it: a label's logit is o_c plus its gaps, all others keep theirs."""

    def __init__(self, setting: Setting, points: Points) -> None:
        self._points = points
        self._answer_logit = setting.answer_logit
        # The memorised wrong answer of a counterfactual point has a term of its own, and so leaves the rest.
        lone = np.exp(setting.log_rest) - (points.other != points.label) * np.exp(setting.answer_logit)
        self._log_rest = np.log(lone)

    def read(self, attention: Float[np.ndarray, "point"]) -> Reading:
        """p = e^{z_y} / (e^{z_y} + e^{z_other} + rest)."""
        points, away = self._points, 1 - attention
        label = self._answer_logit + attention * points.first_gap + away * points.second_gap
        other = np.where(points.other != points.label, self._answer_logit + away * points.other_gap, -np.inf)
        whole = np.logaddexp(np.logaddexp(label, other), self._log_rest)
        right, wrong = np.exp(label - whole), np.exp(other - whole)
        slope = (points.first_gap - points.second_gap) * (1 - right) + points.other_gap * wrong
        return Reading(whole - label, slope)

    def margin(self, conflicts: Conflicts, attention: Float[np.ndarray, "item"]) -> Float[np.ndarray, "item"]:
        """d = σ_c L_C − σ_s L_M."""
        return attention * conflicts.context_gap - (1 - attention) * conflicts.memory_gap

    def step(self, attention: Float[np.ndarray, "point"], reading: Reading, learning_rate: float) -> float:
        """Nothing moves."""
        return 0.0


class TrainedValues:
    """W_V under gradient descent: a vector of logits per shared direction and per own direction.

    ∂z/∂W_V brings (y − p) Σ_i σ_i φ(i)ᵀ, so that the value of j moves by Σ_i σ_i ⟨φ(i), φ(j)⟩ (y − p). Classes that no
    point names move alike, and are kept once, with their number. Exact, O(points × named answers) per step.
    """

    def __init__(self, setting: Setting, points: Points) -> None:
        self._points, self._frozen = points, FrozenValues(setting, points)
        self._weights = shared_weights(setting)[:, None]
        named = np.union1d(points.label, points.other)
        unnamed = setting.n_answers - len(named)
        self._column = np.full(setting.n_answers, len(named))  # of an answer; the unnamed ones share one
        self._column[named] = np.arange(len(named))
        self._count = np.array([1.0] * len(named) + [unnamed, 1, setting.n_subjects])
        base = [setting.answer_logit] * (len(named) + 1) + [setting.relation_logit, 0.0]
        rows, size = np.arange(len(points)), (len(points), len(self._count))
        self._label = np.zeros(size)
        self._label[rows, self._column[points.label]] = 1
        self._first, self._second = np.tile(base, (2, len(points), 1))
        self._first[rows, self._column[points.label]] += points.first_gap
        self._second[rows, self._column[points.label]] += points.second_gap
        self._second[rows, self._column[points.other]] += points.other_gap
        self.shared = np.zeros((4, len(self._count)))

    def read(self, attention: Float[np.ndarray, "point"]) -> Reading:
        """p = softmax(σ v(first) + (1 − σ) v(second))."""
        first = self._first + self._points.first @ self.shared
        second = self._second + self._points.second @ self.shared
        logits = attention[:, None] * first + (1 - attention)[:, None] * second
        top = logits.max(1, keepdims=True)
        whole = top + np.log(np.exp(logits - top) @ self._count)[:, None]
        residual = self._label - np.exp(logits - whole)
        loss = whole[:, 0] - (logits * self._label).sum(1)
        return Reading(loss, (residual * (first - second)) @ self._count, residual)

    def margin(self, conflicts: Conflicts, attention: Float[np.ndarray, "item"]) -> Float[np.ndarray, "item"]:
        """d = σ_c L_C − σ_s L_M, and what the shared directions have learnt of either answer."""
        context, subject, known, _ = self.shared[:, self._column]
        taught = context * attention[:, None] + (subject + known) * (1 - attention)[:, None]
        rows = np.arange(len(attention))
        learnt = taught[rows, conflicts.context_answer] - taught[rows, conflicts.memory_answer]
        return self._frozen.margin(conflicts, attention) + learnt

    def step(self, attention: Float[np.ndarray, "point"], reading: Reading, learning_rate: float) -> float:
        """Both keys' values move along the residual, as far as each is attended to."""
        assert reading.residual is not None  # noqa: S101  (read() always gives it)
        points = self._points
        mean = reading.residual / len(points)
        to_first, to_second = attention[:, None] * mean, (1 - attention)[:, None] * mean
        together = points.first.T @ to_first + points.second.T @ to_second
        self.shared += learning_rate * self._weights * together
        self._first += learning_rate * points.first_own[:, None] * to_first
        self._second += learning_rate * points.second_own[:, None] * to_second
        alone = points.first_own @ to_first**2 + points.second_own @ to_second**2
        return float(((self._weights * together**2).sum(0) + alone) @ self._count)
