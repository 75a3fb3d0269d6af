"""The homogeneous model is three numbers: the attention gaps of critical, non-critical and unseen points."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from attnshift.theory.setting import Setting
from attnshift.theory.weights import sigmoid


@dataclass(frozen=True)
class Gaps:
    """What homogeneous points go through, W_V frozen; each array may have further dims, one per setting."""

    critical: Float[np.ndarray, "step *setting"]
    """Δ_C = α_c − α_s of the critical points"""
    non_critical: Float[np.ndarray, "step *setting"]
    """Δ_M of the non-critical points"""
    test: Float[np.ndarray, "step *setting"]
    """Δ_test of unseen conflicts"""
    loss_critical: Float[np.ndarray, "step *setting"]
    """−log p of a critical point's answer, nats"""
    loss_non_critical: Float[np.ndarray, "step *setting"]
    push: Float[np.ndarray, "step *setting"]
    """change of Δ_test per unit of learning rate"""
    push_critical: Float[np.ndarray, "step *setting"]
    """the critical points' part of the push"""
    reliance: Float[np.ndarray, "step *setting"]
    """M of unseen conflicts"""

    @property
    def attention(self) -> Float[np.ndarray, "step *setting"]:
        """σ_c of unseen conflicts."""
        return sigmoid(self.test)


def follow_gaps(
    rates: ArrayLike,
    *,
    n_critical: ArrayLike,
    n_non_critical: ArrayLike,
    gap_context: ArrayLike,
    gap_memory: ArrayLike,
    offset: ArrayLike,
    known: ArrayLike = 0.0,
    start: ArrayLike = 0.0,
) -> Gaps:
    """Follow the three gaps through steps of the given learning rates, one per step or one per step and setting.

    With g = σ(1 − σ) m of either kind, m_C = L_C (1 − p_C), m_M = −(L_M − L_C)(1 − p_M), p = sigmoid(logit + offset):

        Δ_C    += (η/n) [(n_C + 1) g_C + n_M g_M]
        Δ_M    += (η/n) [n_C g_C + ((1 + ρ) n_M + 1 − ρ) g_M]
        Δ_test += (η/n) [n_C g_C + (1 + ρ) n_M g_M]

    All but ``rates`` may be arrays, which are broadcast: many settings at once. ``offset`` is
    o_c − log Z, ``start`` every gap before training. Counts may be fractions. Exact.
    """
    parts = (n_critical, n_non_critical, gap_context, gap_memory, offset, known, start)
    many_c, many_m, l_c, l_m, at_zero, rho, begin = np.broadcast_arrays(*(np.asarray(p, np.float64) for p in parts))
    n = many_c + many_m
    rates = np.asarray(rates, np.float64)
    found = np.empty((8, len(rates) + 1, *n.shape))
    delta_c, delta_m, delta = begin.copy(), begin.copy(), begin.copy()
    for step in range(len(rates) + 1):
        at_c, at_m, at = sigmoid(delta_c), sigmoid(delta_m), sigmoid(delta)
        logit_c = at_c * l_c + at_zero
        logit_m = at_m * l_c + (1 - at_m) * l_m + at_zero
        g_c = at_c * (1 - at_c) * l_c * sigmoid(-logit_c)
        g_m = at_m * (1 - at_m) * (l_c - l_m) * sigmoid(-logit_m)
        push_c, push_m = many_c * g_c / n, (1 + rho) * many_m * g_m / n
        losses = np.logaddexp(0, -logit_c), np.logaddexp(0, -logit_m)
        reliance = sigmoid(at * l_c - (1 - at) * l_m)
        found[:, step] = delta_c, delta_m, delta, *losses, push_c + push_m, push_c, reliance
        if step < len(rates):
            rate = rates[step]
            delta_c = delta_c + rate * (push_c + g_c / n + many_m * g_m / n)
            delta_m = delta_m + rate * (push_c + push_m + (1 - rho) * g_m / n)
            delta = delta + rate * (push_c + push_m)
    return Gaps(*found)


def gaps_of(setting: Setting) -> Gaps:
    """The gaps of a homogeneous setting without counterfactual and recall points, whose W_V is frozen."""
    return follow_gaps(
        np.full(setting.steps, setting.learning_rate),
        n_critical=setting.n_critical,
        n_non_critical=setting.n_non_critical - setting.n_dropped,
        gap_context=setting.gap_context,
        gap_memory=setting.gap_memory,
        offset=setting.answer_logit - setting.log_rest,
        known=setting.known,
    )
