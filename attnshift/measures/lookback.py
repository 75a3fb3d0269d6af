"""Whether a head looks back at the context or at what it has just written."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from attnshift.measures.measure import Measure, Observation


@dataclass(frozen=True)
class LookbackRatio(Measure):
    """Mean attention per context token, as a part of that and the mean per token of the answer written so far.

    A(context) / (A(context) + A(new)), mean over the rows that predict the context answer's second token and those
    after it, the answer being forced: Chuang et al. (2024, "Lookback Lens"). A(context) is the mean of a row's weights
    on tokens of the roles ``context``, ``context_answer`` and ``parametric_answer``, where the paper takes the whole
    prompt; A(new) is that on the answer's tokens up to the row itself. Tokens that a sliding window hides count, with a
    weight of 0. NaN for answers of one token: nothing was written before it.
    """

    name = "lookback_ratio"
    unit = "ratio"
    dims = ("item", "layer", "head")
    needs = frozenset({"lookback"})

    def compute(self, seen: Observation) -> Float32[np.ndarray, "item layer head"]:
        return seen.get("lookback")
