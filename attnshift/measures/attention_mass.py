"""Attention probability by the role of the token that is attended to."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float32
from numpy import ndarray

from attnshift.measures.measure import Measure, Observation


@dataclass(frozen=True)
class AttentionMass(Measure):
    """Attention of the row that predicts the answer, summed by role of the key.

    mass[r] = sum over keys k with role r of softmax(scores)_k, over the keys that the layer's mask leaves
    visible; learned sinks are in the denominator and have a role of their own. Sums to 1 over role.

    Not an effect: a head may look at the context and bring nothing from it.
    """

    name = "attention_mass"
    unit = "probability"
    dims = ("item", "layer", "head", "role")
    needs = frozenset({"item_attention"})

    def compute(self, seen: Observation) -> Float32[ndarray, "item layer head role"]:
        return seen.get("item_attention").mass


@dataclass(frozen=True)
class IftAttentionMass(Measure):
    """Attention mass by role on the finetuning examples; the formula of ``attention_mass``."""

    name = "ift_attention_mass"
    unit = "probability"
    dims = ("example", "layer", "head", "role")
    needs = frozenset({"example_attention"})

    def compute(self, seen: Observation) -> Float32[ndarray, "example layer head role"]:
        return seen.get("example_attention").mass
