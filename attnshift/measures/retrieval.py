"""Whether a head copies the answer from the context."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from attnshift.measures.measure import Measure, Observation


@dataclass(frozen=True)
class RetrievalScore(Measure):
    """Share of the context answer's tokens that a head looks up: its highest weight is on that token in the context.

    After Wu et al. (2024, "Retrieval head mechanistically explains long-context factuality"), with the answer forced
    where they count tokens that the model generates itself: of the rows that predict the answer's tokens, the part
    whose highest attention weight, over all keys but a learned sink, is on a token of the role ``context_answer`` with
    the id of the token that is predicted. A token that the context spells otherwise can't be looked up and counts as
    not; NaN for items of whose answer no token is there.
    """

    name = "retrieval_score"
    unit = "share"
    dims = ("item", "layer", "head")
    needs = frozenset({"retrieval"})

    def compute(self, seen: Observation) -> Float32[np.ndarray, "item layer head"]:
        return seen.get("retrieval")
