"""Whose answer the model asserts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from attnshift.measures.measure import Answers, Measure, Observation
from attnshift.scoring.labels import SCORER_VERSION, Label, label_answer


@dataclass(frozen=True)
class AnswerLabel(Measure):
    """Whose answer the greedy text asserts: context, parametric, both or neither.

    ``label_answer`` of the raw text and the item's answers with their aliases (docs/scoring.md). The version in the key
    is the scorer's: labels of another version are stale, and `rescore` renews them without a model. No containment:
    that is ``counterfactual_accuracy`` and ``parametric_accuracy``.
    """

    name = "answer_label"
    unit = "label"
    dims = ("item",)
    needs = frozenset({"generation"})
    version = SCORER_VERSION

    def compute(self, seen: Observation) -> np.ndarray:
        texts = seen.get("generation")
        return np.array([label_of(text, each) for text, each in zip(texts, seen.answers, strict=True)], object)


def label_of(text: str, answers: Answers) -> Label:
    """The label of a text by an item's answers."""
    return label_answer(text, answers.context[0], answers.parametric[0], answers.context[1:], answers.parametric[1:])
