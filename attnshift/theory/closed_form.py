"""What needs no simulation: where the preference flips, where training starts, and where it ends up.

All but the flip hold for critical and non-critical points alone, homogeneous, with W_V frozen; they are derived for
this project from the recursion of `homogeneous.follow_gaps`, and give None where the setting is another. The time of
the peak has no closed form; its condition has: the push is 0, n_C g_C + (1 + ρ) n_M g_M = 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from attnshift.theory.setting import Setting


@dataclass(frozen=True)
class Late:
    """Where the attention gap of unseen conflicts goes in the end: Δ_test → drift · log t + constant."""

    drift: float
    """change of the gap per e-fold of steps; below 0 every rise is undone sooner or later"""
    constant: float

    def attention(self, step: float) -> float:
        """σ_c of unseen conflicts that the asymptote gives at a step."""
        return _sigmoid(self.drift * math.log(step) + self.constant)


def flip_attention(setting: Setting) -> float | None:
    """σ_c at which the preference flips, L_M / (L_C + L_M); None where one of the two never wins."""
    context, memory = setting.gap_context, setting.gap_memory
    return memory / (context + memory) if context > 0 and memory > 0 else None


def start_push(setting: Setting) -> float | None:
    """Push at step 0, [n_C g_C + (1 + ρ) n_M g_M] / n at σ = 1/2: above 0 attention to the context rises at first."""
    if not _is_plain(setting):
        return None
    n_c, n_m, rho = _counts(setting)
    return (n_c * _slope_critical(setting, 0.5) + (1 + rho) * n_m * _slope_non_critical(setting, 0.5)) / (
        4 * (n_c + n_m)
    )


def invariant(setting: Setting) -> tuple[float, float] | None:
    """x and y of Δ_test = x Δ_C + y Δ_M, which holds at every step exactly.

    Each gap moves by a fixed combination of g_C and g_M; two of them span the third. With
    D = (n_C + 1)((1 + ρ) n_M + 1 − ρ) − n_C n_M:  x = n_C (1 − ρ) / D,  y = n_M (1 + ρ + ρ n_C) / D.
    """
    if not _is_plain(setting):
        return None
    n_c, n_m, rho = _counts(setting)
    whole = (n_c + 1) * ((1 + rho) * n_m + 1 - rho) - n_c * n_m
    return n_c * (1 - rho) / whole, n_m * (1 + rho + rho * n_c) / whole


def late(setting: Setting) -> Late | None:
    """The asymptote of Δ_test; None where no group pulls each way (no memory that beats its context, say).

    In the end each group is served by its points' own directions: Δ_C = log t + a and Δ_M = −log t + b, where both
    gradients fall as 1/t. With A_C = L_C (1 − δ_C), A_M = (L_M − L_C)(1 − δ_M), the recursion gives

        e^{−a} A_C = (n/η) [(2 + ρ) n_M + 1 − ρ] / D,    e^{b} A_M = (n/η) (2 n_C + 1) / D,

    and the invariant the rest: drift x − y = [n_C (1 − ρ) − n_M (1 + ρ) − ρ n_C n_M] / D, constant x a + y b.
    """
    weights = invariant(setting)
    if weights is None or not _pulls_both_ways(setting):
        return None
    n_c, n_m, rho = _counts(setting)
    x, y = weights
    whole = (n_c + 1) * ((1 + rho) * n_m + 1 - rho) - n_c * n_m
    scale = (n_c + n_m) / (setting.learning_rate * whole)
    pull_c = setting.gap_context * (1 - setting.delta_context)
    pull_m = (setting.gap_memory - setting.gap_context) * (1 - setting.delta_memory)
    a = math.log(pull_c / (scale * ((2 + rho) * n_m + 1 - rho)))
    b = math.log(scale * (2 * n_c + 1) / pull_m)
    return Late(x - y, x * a + y * b)


def plateau(setting: Setting) -> float | None:
    """σ_c that unseen conflicts end on, where the drift is 0: as many critical as non-critical points, ρ = 0.

    sigmoid(n_C / (2 n_C + 1) · log[L_C (1 − δ_C) / ((L_M − L_C)(1 − δ_M))]); None where the drift isn't 0.
    """
    asymptote = late(setting)
    if asymptote is None or abs(asymptote.drift) > 1e-12:
        return None
    return _sigmoid(asymptote.constant)


def crowded_plateau(setting: Setting) -> float | None:
    """σ_c on which very many points level off (n → ∞ in the setting's proportions, ρ = 0); None where they don't.

    With many points no own direction counts, all gaps are one, and gradient flow on one number can't turn round: no
    inversion. It levels off where n_C L_C (1 − p_C(σ)) = n_M (L_M − L_C)(1 − p_M(σ)). Their difference falls in σ and
    p_C(1) = p_M(1) = δ_C, so there is such a σ only if n_M (L_M − L_C) > n_C L_C, and not so much more that memory wins
    from the first (attention then falls to 0). Below 1/2 attention falls to it, above it rises.
    """
    if not _is_plain(setting) or setting.known or not _pulls_both_ways(setting):
        return None
    n_c, n_m, _ = _counts(setting)

    def surplus(attention: float) -> float:
        return n_c * _slope_critical(setting, attention) + n_m * _slope_non_critical(setting, attention)

    low, high = 0.0, 1.0
    if surplus(low) <= 0 or surplus(high) >= 0:
        return None
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if surplus(middle) > 0 else (low, middle)
    return (low + high) / 2


def _is_plain(setting: Setting) -> bool:
    """Whether the three gaps are the whole story."""
    others = setting.n_counterfactual or setting.n_recall or setting.spread or setting.attention_spread
    return not others and setting.trained == "qk"


def _pulls_both_ways(setting: Setting) -> bool:
    n_c, n_m, _ = _counts(setting)
    return n_c > 0 and n_m > 0 and 0 < setting.gap_context < setting.gap_memory


def _counts(setting: Setting) -> tuple[float, float, float]:
    return setting.n_critical, setting.n_non_critical - setting.n_dropped, setting.known


def _slope_critical(setting: Setting, attention: float) -> float:
    """m_C = L_C (1 − p_C)."""
    logit = attention * setting.gap_context + setting.answer_logit - setting.log_rest
    return setting.gap_context * _sigmoid(-logit)


def _slope_non_critical(setting: Setting, attention: float) -> float:
    """m_M = −(L_M − L_C)(1 − p_M)."""
    context, memory = setting.gap_context, setting.gap_memory
    logit = attention * context + (1 - attention) * memory + setting.answer_logit - setting.log_rest
    return (context - memory) * _sigmoid(-logit)


def _sigmoid(value: float) -> float:
    return 0.5 * (1 + math.tanh(0.5 * value))
