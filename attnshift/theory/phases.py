"""Where the inversion must come and where it can't: the outcome over share, memory strength and ρ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from jaxtyping import Float, Int

from attnshift.errors import AttnshiftError
from attnshift.theory.homogeneous import follow_gaps
from attnshift.theory.setting import Setting
from attnshift.theory.weights import sigmoid

PHASES: Final = ("no rise", "monotone", "plateau", "inversion")
"""What reliance does within the steps; `phase_of` counts in this order."""

TOLERANCE: Final = 0.01
"""How far reliance must move to have moved."""

NEAR: Final = 0.05
"""How near the ceiling a rise has arrived."""

_CHOSEN_KNOWN: Final = (0.0, 0.02, 0.1)


@dataclass(frozen=True)
class PhaseDiagram:
    """Outcomes of homogeneous settings that differ in three numbers."""

    setting: Setting
    """what they have in common"""
    known: Float[np.ndarray, "rho"]
    """ρ"""
    delta_memory: Float[np.ndarray, "memory"]
    """δ_M"""
    share: Float[np.ndarray, "share"]
    """non-critical points' part of all"""
    phase: Int[np.ndarray, "rho memory share"]
    """index into PHASES"""
    rise: Float[np.ndarray, "rho memory share"]
    """highest reliance less that before finetuning"""
    fall: Float[np.ndarray, "rho memory share"]
    """highest reliance less the last"""


def phase_of(reliance: Float[np.ndarray, "step *setting"], ceiling: float = 1.0) -> Int[np.ndarray, "*setting"]:
    """What a course of reliance is, an index into PHASES.

    *no rise*: it never gains `TOLERANCE`. *inversion*: it does, and loses as much again from its highest to its last
    value. Of the rest, *monotone* still gains as much over the second half of the steps, or has come within `NEAR` of
    the ceiling, sigmoid(L_C), M under full attention to the context; a *plateau* is held back below it.
    """
    top = reliance.max(0)
    rises, falls = top - reliance[0] > TOLERANCE, top - reliance[-1] > TOLERANCE
    gains = reliance[-1] - reliance[len(reliance) // 2] > TOLERANCE
    return np.select([~rises, falls, gains | (ceiling - reliance[-1] < NEAR)], [0, 3, 1], 2)


def phase_diagram(
    setting: Setting,
    known: Sequence[float] = _CHOSEN_KNOWN,
    delta_memory: Sequence[float] | None = None,
    share: Sequence[float] | None = None,
) -> PhaseDiagram:
    """Outcomes over ρ, δ_M and the share of non-critical points; the number of points stays the setting's.

    By default ρ of 0, .02 and .1, δ_M of .02 to .98 and every twentieth as a share. Shares are rounded to whole points.

    Raises AttnshiftError for a setting with a spread, counterfactual or recall points, a filter or trained values,
    and for values out of range.
    """
    plain = replace(
        setting, spread=0.0, attention_spread=0.0, n_recall=0, n_counterfactual=0, filtered=0.0, trained="qk"
    )
    if plain != setting:
        told = "n_recall=n_counterfactual=0, spread=attention_spread=filtered=0, trained='qk'"
        raise AttnshiftError("the phase diagram is of homogeneous critical and non-critical points", expected=told)
    n = setting.n_critical + setting.n_non_critical
    memory = np.linspace(0.02, 0.98, 25) if delta_memory is None else np.asarray(delta_memory, np.float64)
    parts = np.arange(21) / 20 if share is None else np.asarray(share, np.float64)
    if parts.size == 0 or memory.size == 0 or not len(known) or ((parts < 0) | (parts > 1)).any():
        raise AttnshiftError(f"shares of {parts.tolist()} make no axis", expected="one or more from 0 to 1")
    rho = np.array([replace(setting, known=value).known for value in known])
    gaps = np.array([replace(setting, delta_memory=float(value)).gap_memory for value in memory])
    non_critical = np.unique(np.round(parts * n))
    followed = follow_gaps(
        np.full(setting.steps, setting.learning_rate),
        n_critical=n - non_critical,
        n_non_critical=non_critical,
        gap_context=setting.gap_context,
        gap_memory=gaps[:, None],
        offset=setting.answer_logit - setting.log_rest,
        known=rho[:, None, None],
    )
    top = followed.reliance.max(0)
    phase = phase_of(followed.reliance, ceiling=float(sigmoid(np.array(setting.gap_context))))
    rise, fall = top - followed.reliance[0], top - followed.reliance[-1]
    return PhaseDiagram(setting, rho, memory, non_critical / n, phase, rise, fall)
