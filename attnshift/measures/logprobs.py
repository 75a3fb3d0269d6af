"""Log-probabilities of the two answers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from attnshift.measures.measure import Measure, Observation


@dataclass(frozen=True)
class LogprobContextAnswer(Measure):
    """log p(context answer | prompt with context), summed over the answer's tokens; EOS not scored."""

    name = "logprob_context_answer"
    unit = "nats"
    dims = ("item",)
    needs = frozenset({"context_answer"})

    def compute(self, seen: Observation) -> Float[np.ndarray, "item"]:
        return np.nansum(seen.get("context_answer").logprob, -1)


@dataclass(frozen=True)
class LogprobParametricAnswer(Measure):
    """log p(parametric answer | prompt with context), summed over the answer's tokens; EOS not scored."""

    name = "logprob_parametric_answer"
    unit = "nats"
    dims = ("item",)
    needs = frozenset({"parametric_answer"})

    def compute(self, seen: Observation) -> Float[np.ndarray, "item"]:
        return np.nansum(seen.get("parametric_answer").logprob, -1)


@dataclass(frozen=True)
class LogprobParametricClosedBook(Measure):
    """log p(parametric answer | prompt without context), summed: is the fact still known?"""

    name = "logprob_parametric_closed_book"
    unit = "nats"
    dims = ("item",)
    needs = frozenset({"parametric_closed_book"})

    def compute(self, seen: Observation) -> Float[np.ndarray, "item"]:
        return np.nansum(seen.get("parametric_closed_book").logprob, -1)
