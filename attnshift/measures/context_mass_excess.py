"""Attention to the context beyond what its length alone would bring."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from attnshift.data.roles import CONTEXT_ROLES, KEY_ROLES
from attnshift.measures.measure import Measure, Observation


@dataclass(frozen=True)
class ContextMassExcess(Measure):
    """Context mass minus the context's share of the visible tokens.

    excess = sum over context roles of mass[r] - (visible context tokens) / (visible tokens): 0 for a head that
    attends uniformly, whatever the length of the context. Visible as the layer's own mask says, so a sliding
    window counts only what lies inside it.
    """

    name = "context_mass_excess"
    unit = "probability"
    dims = ("item", "layer", "head")
    needs = frozenset({"item_attention"})

    def compute(self, seen: Observation) -> Float32[np.ndarray, "item layer head"]:
        attention = seen.get("item_attention")
        context = [KEY_ROLES.index(role) for role in CONTEXT_ROLES]
        share = attention.visible[..., context].sum(-1) / attention.visible.sum(-1)
        return (attention.mass[..., context].sum(-1) - share[..., None]).astype(np.float32)
