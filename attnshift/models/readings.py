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


@dataclass(frozen=True)
class AnswerRow:
    """The row that predicts the first token in which two answers differ, taken apart; nats of their logits' difference.

    NaN for items whose answers don't part. Heads, MLPs, embedding and bias sum to the difference of the two logits
    before a final softcap.
    """

    heads: Float32[np.ndarray, "item layer head role"]
    """by role of what the head reads; over KEY_ROLES (a learned sink has no value to read: 0)"""
    mlp: Float32[np.ndarray, "item layer"]
    embedding: Float32[np.ndarray, "item"]
    """of token and position embeddings"""
    bias: Float32[np.ndarray, "item"]
    """of the biases of output projections, norms and the unembedding"""
    lens: Float32[np.ndarray, "item layer"]
    """margin behind each layer, its norm's scale taken there"""
    lens_final_scale: Float32[np.ndarray, "item layer"]
    """margin behind each layer by the scale of the last"""
    margin: Float32[np.ndarray, "item"]
    """the model's own"""

    def put(self, places: NDArray[np.integer], part: AnswerRow) -> None:
        """Fill in some items."""
        for name, values in vars(self).items():
            values[places] = getattr(part, name)

    @classmethod
    def unknown(cls, count: int, like: AnswerRow) -> AnswerRow:
        """NaN for every item, to be filled in."""
        return cls(**{name: np.full((count, *v.shape[1:]), np.nan, np.float32) for name, v in vars(like).items()})


@dataclass(frozen=True)
class KnockoutEffects:
    """Margin minus margin with a role out of the answer row's sight, in nats; 0 for roles that an item lacks."""

    heads: Float32[np.ndarray, "item layer head role"] | None
    """in one head; None where only layers were asked for"""
    layers: Float32[np.ndarray, "item layer role"]
    """in all heads of a layer"""

    def among(self, count: int, places: NDArray[np.integer]) -> KnockoutEffects:
        """As some of ``count`` items; NaN for the others."""

        def spread(values: np.ndarray) -> np.ndarray:
            out = np.full((count, *values.shape[1:]), np.nan, np.float32)
            out[places] = values
            return out

        return KnockoutEffects(None if self.heads is None else spread(self.heads), spread(self.layers))
