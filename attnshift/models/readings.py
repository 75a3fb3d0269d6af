"""What a forward or a backward gives back, as arrays."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32
from numpy.typing import NDArray


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
class ExampleGradients:
    """Of each example's own loss (the mean over its target's tokens)."""

    norm: Float[np.ndarray, "example"]
    push: Mapping[str, Float[np.ndarray, "example"]]
    """minus the inner product with the gradient of what is pushed"""

    def put(self, places: NDArray[np.integer], part: ExampleGradients) -> None:
        """Fill in some examples."""
        self.norm[places] = part.norm
        for name, values in part.push.items():
            self.push[name][places] = values

    @classmethod
    def unknown(cls, count: int, pushed: Iterable[str]) -> ExampleGradients:
        """NaN for every example, to be filled in."""
        return cls(np.full(count, np.nan), {name: np.full(count, np.nan) for name in pushed})


@dataclass(frozen=True)
class GroupGradients:
    """Of the groups' mean losses, part by part."""

    groups: tuple[str, ...]
    parts: tuple[str, ...]
    product: Float[np.ndarray, "group group part"]
    """inner products of the groups' gradients; NaN for pairs that nothing asked for"""
    push: Mapping[str, Float[np.ndarray, "group part"]]
    """minus the inner product with the gradient of what is pushed"""
    examples: Mapping[str, ExampleGradients]
    """by group, in the order of its targets; empty unless watched"""
