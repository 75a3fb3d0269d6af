"""What the answer row loses when it may not see a role: effect, beside attention mass."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from attnshift.measures.measure import Measure, Observation


@dataclass(frozen=True)
class KnockoutEffect(Measure):
    """Margin minus the margin when one head's answer row may not see the tokens of a role.

    margin_first_token - margin_first_token with the role's keys masked out of that row of that head and the softmax
    renormalised over the rest; above 0 seeing the role helped the context's answer. The row itself is among the tokens
    of its role. 0 for a role that the item lacks. Through all later layers: the whole effect of the one edge, not the
    direct one of ``head_attribution``.
    """

    name = "knockout_effect"
    unit = "nats"
    dims = ("item", "layer", "head", "role")
    needs = frozenset({"knockout"})

    def compute(self, seen: Observation) -> Float32[np.ndarray, "item layer head role"]:
        return seen.get("knockout").heads


@dataclass(frozen=True)
class KnockoutEffectByLayer(Measure):
    """``knockout_effect`` of all heads of a layer at once."""

    name = "knockout_effect_by_layer"
    unit = "nats"
    dims = ("item", "layer", "role")
    needs = frozenset({"knockout_by_layer"})

    def compute(self, seen: Observation) -> Float32[np.ndarray, "item layer role"]:
        return seen.get("knockout").layers
