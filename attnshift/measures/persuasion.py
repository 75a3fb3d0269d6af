"""How far the context moves the model, whichever way."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from attnshift.measures.measure import Measure, Observation


@dataclass(frozen=True)
class ContextPersuasion(Measure):
    """How far the context moves what comes next: KL(p(. | prompt) || p(. | prompt without context)).

    Over the first token of the answer, all of the vocabulary: the persuasion score of Du et al. (2024, "Context versus
    prior knowledge in language models"). At least 0, and 0 where the context changes nothing. Without a direction: a
    context that makes the model surer of its memory persuades as well; for the direction see ``margin``.
    """

    name = "context_persuasion"
    unit = "nats"
    dims = ("item",)
    needs = frozenset({"persuasion"})

    def compute(self, seen: Observation) -> Float[np.ndarray, "item"]:
        return seen.get("persuasion")
