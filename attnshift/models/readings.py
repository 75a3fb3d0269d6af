"""What a forward or a backward gives back, as arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32


@dataclass(frozen=True)
class TargetScores:
    """How a model predicts each token of the targets, given all tokens before it."""

    logprob: Float[np.ndarray, "sequence target_position"]
    """nats; NaN behind a target's end"""
    greedy: Bool[np.ndarray, "sequence target_position"]
    """whether the token is the most likely one; True behind a target's end"""


@dataclass(frozen=True)
class RoleAttention:
    """Attention from one row per sequence, by the role of the key tokens."""

    mass: Float32[np.ndarray, "sequence layer head role"]
    """probability; sums to 1 over KEY_ROLES"""
    visible: Float32[np.ndarray, "sequence layer role"]
    """how many tokens of each role the layer's mask lets the row see"""


@dataclass(frozen=True)
class GroupGradients:
    """Inner products of the groups' mean gradients, part by part."""

    groups: tuple[str, ...]
    parts: tuple[str, ...]
    product: Float[np.ndarray, "group group part"]
    """NaN for pairs of groups that nothing asked for"""
