"""The points to train on and the conflicts to test on, in the two keys that the attention chooses between."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Bool, Float, Int

from attnshift.theory.setting import Setting

KINDS: Final = ("critical", "non_critical", "counterfactual", "recall")
"""What a point is; `Points.kind` counts in this order."""

CONTEXT, SUBJECT, KNOWN, RELATION = range(4)
"""Directions that embeddings share: θ_C of all contexts, θ_S of all subjects, θ_K of known ones, the relation."""

_PURPOSES: Final = ("critical", "non_critical", "counterfactual", "recall", "test")


@dataclass(frozen=True)
class Points:
    """Training points. The relation's row attends to two keys: context and subject, or subject and relation.

    A logit of an answer is that of its two values, weighted by attention (Σ σ = 1, so what all share drops out). Own
    directions are orthogonal; each point has a context and a subject of its own.
    """

    kind: Int[np.ndarray, "point"]
    """index into KINDS"""
    first_gap: Float[np.ndarray, "point"]
    """what the first key's value adds to the label's logit: L_C, or L_M of a recall point"""
    second_gap: Float[np.ndarray, "point"]
    """what the second key's value adds to the label's logit: L_M of a non-critical point, else 0"""
    other_gap: Float[np.ndarray, "point"]
    """what the second key's value adds to the logit of a wrong answer: L_M of a counterfactual point, else 0"""
    label: Int[np.ndarray, "point"]
    """the right answer, 0 to K_A − 1, handed out in turn"""
    other: Int[np.ndarray, "point"]
    """the memorised answer of a counterfactual point, else the label"""
    first: Float[np.ndarray, "point 4"]
    """1 where the first key has a shared direction"""
    second: Float[np.ndarray, "point 4"]
    first_own: Float[np.ndarray, "point"]
    """squared weight of the first key's own direction: 1/2, less ρ for a known subject"""
    second_own: Float[np.ndarray, "point"]

    def __len__(self) -> int:
        return len(self.kind)

    def members(self, kind: str) -> Bool[np.ndarray, "point"]:
        """Which points are of a kind."""
        return self.kind == KINDS.index(kind)


@dataclass(frozen=True)
class Conflicts:
    """What context reliance is read from: unseen contexts against unseen known subjects."""

    context_gap: Float[np.ndarray, "item"]
    """L_C of each item's context, for the context's answer"""
    memory_gap: Float[np.ndarray, "item"]
    """L_M of each item's subject, for the memorised answer"""
    attention_gap: Float[np.ndarray, "item"]
    """α_c − α_s before finetuning"""
    context_answer: Int[np.ndarray, "item"]
    """answers that training doesn't name, where there are two such"""
    memory_answer: Int[np.ndarray, "item"]


def shared_weights(setting: Setting) -> Float[np.ndarray, "4"]:
    """Squared weights of the shared directions: φ(c) = √½ θ_C + √½ e_c, φ(s) = √½ θ_S (+ √ρ θ_K) + √(½ − ρ) e_s."""
    return np.array([0.5, 0.5, setting.known, 1.0])


def make_points(setting: Setting) -> Points:
    """The points that training sees, those that the filter drops left out."""
    counts = (setting.n_critical, setting.n_non_critical, setting.n_counterfactual, setting.n_recall)
    kind = np.repeat(np.arange(len(KINDS)), counts)
    drawn = [_gaps(setting, name, count) for name, count in zip(KINDS, counts, strict=True)]
    context, memory = np.concatenate(drawn, axis=1)
    critical, non_critical, counterfactual, recall = (kind == number for number in range(len(KINDS)))
    known = ~critical
    first, second = np.zeros((2, len(kind), 4))
    first[~recall, CONTEXT] = 1
    first[recall, SUBJECT] = first[recall, KNOWN] = 1
    second[~recall, SUBJECT] = 1
    second[known & ~recall, KNOWN] = 1
    second[recall, RELATION] = 1
    own_known = 0.5 - setting.known
    label = np.arange(len(kind)) % setting.n_answers
    points = {
        "kind": kind,
        "first_gap": np.where(recall, memory, context),
        "second_gap": np.where(non_critical, memory, 0.0),
        "other_gap": np.where(counterfactual, memory, 0.0),
        "label": label,
        "other": np.where(counterfactual, (label + 1) % setting.n_answers, label),
        "first": first,
        "second": second,
        "first_own": np.where(recall, own_known, 0.5),
        "second_own": np.select([recall, known], [0.0, own_known], 0.5),
    }
    kept = ~_dropped(setting, non_critical, memory)
    return Points(**{name: values[kept] for name, values in points.items()})


def make_conflicts(setting: Setting, points: Points) -> Conflicts:
    """The test items: what they differ in is drawn apart from the points, so that settings share them."""
    context, memory = _gaps(setting, "test", setting.n_test)
    rng = np.random.default_rng([setting.seed, len(_PURPOSES)])
    unnamed = np.setdiff1d(np.arange(setting.n_answers), [points.label, points.other])
    answers = unnamed if len(unnamed) >= 2 else np.arange(setting.n_answers)
    turn = 2 * np.arange(setting.n_test)
    return Conflicts(
        context,
        memory,
        setting.attention_spread * rng.standard_normal(setting.n_test),
        answers[turn % len(answers)],
        answers[(turn + 1) % len(answers)],
    )


def _gaps(setting: Setting, purpose: str, count: int) -> Float[np.ndarray, "2 point"]:
    """L_C and L_M of points; the first ones stay what they are when there are more of them."""
    rng = np.random.default_rng([setting.seed, _PURPOSES.index(purpose)])
    return np.array([[setting.gap_context], [setting.gap_memory]]) + setting.spread * rng.standard_normal((count, 2)).T


def _dropped(
    setting: Setting, non_critical: Bool[np.ndarray, "point"], memory: Float[np.ndarray, "point"]
) -> Bool[np.ndarray, "point"]:
    """The points that the filter drops: of those with a context, the ones with the lowest loss without it.

    Without its context a non-critical point is answered from memory, the better the greater L_M; what memory says of
    all others is wrong or nothing.
    """
    order = np.argsort(np.where(non_critical, -memory, np.inf), kind="stable")
    dropped = np.zeros(len(memory), bool)
    dropped[order[: setting.n_dropped]] = True
    return dropped
