"""Traces of runs that are the one-layer theory itself, with what is drawn on top."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from attnshift.theory import follow_gaps

STEPS = (0, 4, 6, 9, 13, 20, 30, 45, 67, 100, 150, 225, 340, 500)
TRUE = {
    "gap_context": 5.0,
    "gap_memory": 10.0,
    "start": -2.5,
    "points": 60.0,
    "known": 0.15,
    "floor": 0.2,
    "reach": 0.5,
}
"""Inverts: the mean margin goes −8.9 → 3.6 at checkpoint 7 → −0.9."""


def theory_trace(steps: Sequence[int] = STEPS, noise: float = 0.0, seed: int = 0, **changes: float) -> xr.Dataset:
    """Critical and non-critical examples in equal parts, o_c − log Z = −4; noise in nats, a twentieth of it in mass.

    One update of plain gradient descent at learning rate 1 per step.
    """
    true = TRUE | changes
    gaps = follow_gaps(
        np.ones(max(steps)),
        n_critical=true["points"] / 2,
        n_non_critical=true["points"] / 2,
        gap_context=true["gap_context"],
        gap_memory=true["gap_memory"],
        offset=-4.0,
        known=true["known"],
        start=true["start"],
    )
    at, rng, n = list(steps), np.random.default_rng(seed), len(steps)
    attention = gaps.attention[at]
    margin = attention * true["gap_context"] - (1 - attention) * true["gap_memory"] + noise * rng.standard_normal(n)
    mass = true["floor"] + true["reach"] * attention + noise / 20 * rng.standard_normal(n)
    spread = np.array([-1.0, 0.0, 1.0])  # items differ, and their mean is the theory's
    push = np.stack([2 * gaps.push_critical[at], 2 * (gaps.push - gaps.push_critical)[at]], -1)
    losses = np.stack([gaps.loss_critical[at], gaps.loss_non_critical[at]], -1)
    masses = np.stack([1 - mass, mass], -1)[:, None, None, None] * np.ones((1, 3, 1, 1, 1))
    return xr.Dataset(
        {
            "margin": (("step", "item"), margin[:, None] + spread),
            "counterfactual_accuracy": (("step", "item"), (margin[:, None] + spread > 0).astype(float)),
            "attention_mass": (("step", "item", "layer", "head", "role"), np.pad(masses, [(0, 0)] * 4 + [(0, 2)])),
            "loss": (("step", "example"), losses),
            "loss_closed_book": (("step", "example"), np.full((n, 2), np.logaddexp(0, 4.0))),
            "attention_push": (("step", "group"), push),
            "group_share": (("group",), np.array([0.5, 0.5])),
        },
        {
            "step": at,
            "item": ["a", "b", "c"],
            "item_cluster": ("item", ["a", "b", "c"]),
            "role": ["question", "context", "context_answer", "parametric_answer"],
            "group": ["critical", "non_critical"],
            "group_of_example": ("example", ["critical", "non_critical"]),
            "split": ("example", ["train", "train"]),
        },
    )
