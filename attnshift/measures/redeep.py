"""What heads take from the context, and what MLPs add of their own: the two scores of ReDeEP."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from attnshift.measures.measure import Measure, Observation


@dataclass(frozen=True)
class ExternalContextScore(Measure):
    """Cosine of the context tokens that a head attends to most with the row that attends to them.

    Sun et al. (2024, "ReDeEP", the external context score): e_n = mean of x_j over the 10 % of the context's tokens j
    with the row's highest weights, cos(e_n, x_n), mean over the rows n that predict the context answer's tokens, the
    answer being forced where they read one that the model wrote. x is the hidden state behind the last layer and the
    final norm, as in their code. The 10 % are rounded down, but one token at least; ties go to the earlier token, and
    tokens with a weight of 0 (hidden by a sliding window) don't count. The context is the tokens of the roles
    ``context``, ``context_answer`` and ``parametric_answer``, as in the paper's formula; their code takes the whole
    prompt, template and attention sink included. It is given for every head: which of them are copying heads, and the
    sum over those by which the paper predicts hallucinations, is left to the reader. NaN for items without a context.

    A cosine isn't an amount: that a head attends to tokens like the answer's row doesn't say that it attends much.
    """

    name = "external_context_score"
    unit = "cosine similarity"
    dims = ("item", "layer", "head")
    needs = frozenset({"external_context"})

    def compute(self, seen: Observation) -> Float32[np.ndarray, "item layer head"]:
        return seen.get("external_context")


@dataclass(frozen=True)
class ParametricKnowledgeScore(Measure):
    """How much an MLP changes what the logit lens says comes next: Jensen-Shannon divergence before against after.

    Sun et al. (2024, "ReDeEP", the parametric knowledge score): (KL(p || m) + KL(q || m)) / 2 with m = (p + q) / 2, p
    and q the softmax of unembed(norm(residual)) before and after the layer's MLP, softcapped where the model's logits
    are; mean over the rows that predict the context answer's tokens, the answer being forced. Between 0 and log 2; the
    formula is the paper's. Their code takes KL(m || p) and KL(m || q), which have no bound, and a million times their
    mean over the vocabulary. "Before" is the layer's input plus what its attention adds; where attention and MLP run in
    parallel (GPT-NeoX, GPT-J) the MLP hasn't read that sum, and the score is still what it alone changes. A model whose
    lens behind the last layer isn't its own answer is refused.

    That an MLP changes much doesn't say towards what: knowledge of the fact and habits of form count alike.
    """

    name = "parametric_knowledge_score"
    unit = "nats"
    dims = ("item", "layer")
    needs = frozenset({"parametric_knowledge"})

    def compute(self, seen: Observation) -> Float32[np.ndarray, "item layer"]:
        return seen.get("parametric_knowledge")
