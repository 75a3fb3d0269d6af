"""Whether a memorised answer is known at all: without the context, against the answers of other items."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from attnshift.measures.measure import Measure, Need, Observation

_NEEDS: frozenset[Need] = frozenset({"known"})


@dataclass(frozen=True)
class KnownMargin(Measure):
    """How much likelier the parametric answer is, closed book, than the likeliest of its distractors; per token.

    mean over tokens of log p(parametric answer | prompt without context) - max over distractors of the same mean.
    Distractors are other items' parametric answers of the same stratum and length (``known_distractors``). NaN where
    there is none. A model may know a fact and still not be asked for it by this prompt.
    """

    name = "known_margin"
    unit = "nats per token"
    dims = ("item",)
    needs = _NEEDS

    def compute(self, seen: Observation) -> Float[np.ndarray, "item"]:
        return seen.get("known")


@dataclass(frozen=True)
class StillKnown(Measure):
    """1 where ``known_margin`` is above 0: the parametric answer beats every distractor, closed book; NaN without any.

    By chance one item in (distractors + 1) would. ``known_item`` is this of the base or first checkpoint, frozen.
    """

    name = "still_known"
    unit = "0/1"
    dims = ("item",)
    needs = _NEEDS

    def compute(self, seen: Observation) -> Float[np.ndarray, "item"]:
        margin = seen.get("known")
        return np.where(np.isnan(margin), np.nan, margin > 0)
