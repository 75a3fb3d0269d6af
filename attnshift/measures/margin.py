"""How much more likely the context's answer is than the memorised one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from attnshift.measures.measure import Measure, Need, Observation

_NEEDS: frozenset[Need] = frozenset({"context_answer", "parametric_answer"})


@dataclass(frozen=True)
class Margin(Measure):
    """log p(context answer) - log p(parametric answer), given the context, each summed over its tokens.

    sigmoid(margin) is the context reliance M of the one-layer theory (Goyal et al. 2025). Favours the answer
    with fewer tokens: see ``margin_per_token`` and ``margin_first_token``.
    """

    name = "margin"
    unit = "nats"
    dims = ("item",)
    needs = _NEEDS

    def compute(self, seen: Observation) -> Float[np.ndarray, "item"]:
        context, parametric = seen.get("context_answer"), seen.get("parametric_answer")
        return np.nansum(context.logprob, -1) - np.nansum(parametric.logprob, -1)


@dataclass(frozen=True)
class MarginPerToken(Measure):
    """Mean log-probability per token of the context's answer minus that of the parametric answer."""

    name = "margin_per_token"
    unit = "nats per token"
    dims = ("item",)
    needs = _NEEDS

    def compute(self, seen: Observation) -> Float[np.ndarray, "item"]:
        context, parametric = seen.get("context_answer"), seen.get("parametric_answer")
        return np.nanmean(context.logprob, -1) - np.nanmean(parametric.logprob, -1)


@dataclass(frozen=True)
class MarginFirstToken(Measure):
    """Difference of log-probability at the first token where the two answers differ.

    Both are conditioned on the same prefix (prompt and shared tokens), so this is a difference of two logits.
    NaN where one answer's tokens begin with all of the other's.
    """

    name = "margin_first_token"
    unit = "nats"
    dims = ("item",)
    needs = _NEEDS

    def compute(self, seen: Observation) -> Float[np.ndarray, "item"]:
        context, parametric = seen.get("context_answer"), seen.get("parametric_answer")
        margins = np.full(len(seen.context_answer_ids), np.nan)
        for item, (a, b) in enumerate(zip(seen.context_answer_ids, seen.parametric_answer_ids, strict=True)):
            differs = np.flatnonzero(a[: len(b)] != b[: len(a)])
            if len(differs):
                margins[item] = context.logprob[item, differs[0]] - parametric.logprob[item, differs[0]]
        return margins
