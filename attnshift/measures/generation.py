"""What the model writes, and whether it contains the answers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from attnshift.measures.measure import Measure, Observation
from attnshift.scoring.containment import contains_answer


@dataclass(frozen=True)
class Generation(Measure):
    """The greedy continuation of the prompt, as decoded without special tokens, kept raw.

    It ends at EOS, with the first new line behind some content (blank lines at the start end nothing), with EOS spelt
    out as text, or after ``max_new_tokens``. What ended it, if it was text, is its last piece.
    """

    name = "generation"
    unit = "text"
    dims = ("item",)
    needs = frozenset({"generation"})
    version = 2

    def compute(self, seen: Observation) -> np.ndarray:
        return np.array(seen.get("generation"), object)


@dataclass(frozen=True)
class CounterfactualAccuracy(Measure):
    """1 where the greedy text contains the context's answer or an alias of it: the paper's containment.

    Not a partition with ``parametric_accuracy``: a text may contain both or neither, or deny what it contains.
    """

    name = "counterfactual_accuracy"
    unit = "0/1"
    dims = ("item",)
    needs = frozenset({"generation"})
    version = 2

    def compute(self, seen: Observation) -> Float[np.ndarray, "item"]:
        return _contained(seen, [answers.context for answers in seen.answers])


@dataclass(frozen=True)
class ParametricAccuracy(Measure):
    """1 where the greedy text contains the memorised answer or an alias of it: the paper's containment."""

    name = "parametric_accuracy"
    unit = "0/1"
    dims = ("item",)
    needs = frozenset({"generation"})
    version = 2

    def compute(self, seen: Observation) -> Float[np.ndarray, "item"]:
        return _contained(seen, [answers.parametric for answers in seen.answers])


def _contained(seen: Observation, answers: list[tuple[str, ...]]) -> Float[np.ndarray, "item"]:
    texts = seen.get("generation")
    return np.array([contains_answer(text, a[0], a[1:]) for text, a in zip(texts, answers, strict=True)], np.float64)
