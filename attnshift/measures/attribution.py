"""What heads and MLPs bring to the choice between the two answers: direct logit attribution."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from attnshift.data.roles import CONTEXT_ROLES, KEY_ROLES
from attnshift.measures.measure import Measure, Need, Observation

_NEEDS: frozenset[Need] = frozenset({"answer_row"})


@dataclass(frozen=True)
class HeadAttribution(Measure):
    """What a head writes towards the context's answer and away from the memorised one, by role of the token it reads.

    At the row that predicts the first token in which the answers differ:
    sum over keys k with role r of p_k <W_O v_k, u>, where p is the head's attention, v its values and
    u = (w_context - w_parametric) through the final norm, whose scale is frozen at that row (likewise the scale of a
    norm behind W_O). Roles sum to the head. With ``mlp_attribution``, ``embedding_attribution`` and
    ``bias_attribution`` it sums to the difference of the two logits, before a final softcap where there is one.

    Direct only: what a head does through later layers is theirs. Values carry W_V's bias; W_O's is in
    ``bias_attribution``; a learned sink has no value: 0.
    """

    name = "head_attribution"
    unit = "nats"
    dims = ("item", "layer", "head", "role")
    needs = _NEEDS

    def compute(self, seen: Observation) -> Float32[np.ndarray, "item layer head role"]:
        return seen.get("answer_row").heads


@dataclass(frozen=True)
class MlpAttribution(Measure):
    """What an MLP writes towards the context's answer and away from the memorised one; see ``head_attribution``.

    <MLP output, u> at the answer row, the MLP's own biases and a norm behind it included.
    """

    name = "mlp_attribution"
    unit = "nats"
    dims = ("item", "layer")
    needs = _NEEDS

    def compute(self, seen: Observation) -> Float32[np.ndarray, "item layer"]:
        return seen.get("answer_row").mlp


@dataclass(frozen=True)
class EmbeddingAttribution(Measure):
    """What token and position embedding of the answer row bring; see ``head_attribution``."""

    name = "embedding_attribution"
    unit = "nats"
    dims = ("item",)
    needs = _NEEDS

    def compute(self, seen: Observation) -> Float32[np.ndarray, "item"]:
        return seen.get("answer_row").embedding


@dataclass(frozen=True)
class BiasAttribution(Measure):
    """What the biases of W_O, of norms and of the unembedding bring; see ``head_attribution``."""

    name = "bias_attribution"
    unit = "nats"
    dims = ("item",)
    needs = _NEEDS

    def compute(self, seen: Observation) -> Float32[np.ndarray, "item"]:
        return seen.get("answer_row").bias


@dataclass(frozen=True)
class ContextBudget(Measure):
    """All that heads bring from the context in favour of the context's answer.

    sum over layers and heads of max(0, sum over context roles of head_attribution): gross, so that heads which bring
    the memorised answer from the context don't cancel heads which bring the context's.
    """

    name = "context_budget"
    unit = "nats"
    dims = ("item",)
    needs = _NEEDS

    def compute(self, seen: Observation) -> Float32[np.ndarray, "item"]:
        heads = seen.get("answer_row").heads
        context = heads[..., [KEY_ROLES.index(role) for role in CONTEXT_ROLES]].sum(-1)
        return np.maximum(context, 0).sum((1, 2))


@dataclass(frozen=True)
class MemoryBudget(Measure):
    """All that MLPs, and heads from outside the context, bring in favour of the memorised answer.

    sum over layers of max(0, -mlp_attribution), plus sum over layers and heads of
    max(0, -(sum over the other roles of head_attribution)): gross, as ``context_budget``.
    """

    name = "memory_budget"
    unit = "nats"
    dims = ("item",)
    needs = _NEEDS

    def compute(self, seen: Observation) -> Float32[np.ndarray, "item"]:
        row = seen.get("answer_row")
        others = [i for i, role in enumerate(KEY_ROLES) if role not in CONTEXT_ROLES]
        heads = np.maximum(-row.heads[..., others].sum(-1), 0).sum((1, 2))
        return heads + np.maximum(-row.mlp, 0).sum(1)
