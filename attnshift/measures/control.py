"""The same question under control conditions: what tells ignoring the context from not being able to read it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from attnshift.measures.label import label_of
from attnshift.measures.measure import Measure, Observation
from attnshift.scoring.labels import SCORER_VERSION


@dataclass(frozen=True)
class ControlMargin(Measure):
    """``margin`` of the conflict's two answers under each control condition; NaN where the item has none.

    Agreeing context and unknown entity: what the model makes of a context that memory doesn't contradict. A margin that
    falls in the conflict and stays with the unknown entity is a context that is read and overruled. Irrelevant context:
    what any context does. The conditions' prompts are in ``control_token_ids``.
    """

    name = "control_margin"
    unit = "nats"
    dims = ("item", "condition")
    needs = frozenset({"control_margin"})

    def compute(self, seen: Observation) -> Float[np.ndarray, "item condition"]:
        return seen.get("control_margin")


@dataclass(frozen=True)
class ControlGeneration(Measure):
    """``generation`` under each control condition, raw; empty where the item has none."""

    name = "control_generation"
    unit = "text"
    dims = ("item", "condition")
    needs = frozenset({"control_generation"})

    def compute(self, seen: Observation) -> np.ndarray:
        return np.array([[text or "" for text in row] for row in seen.get("control_generation")], object)


@dataclass(frozen=True)
class ControlLabel(Measure):
    """``answer_label`` under each control condition, of the conflict's two answers; empty where the item has none.

    With an agreeing context the parametric answer is what the context says too.
    """

    name = "control_label"
    unit = "label"
    dims = ("item", "condition")
    needs = frozenset({"control_generation"})
    version = SCORER_VERSION

    def compute(self, seen: Observation) -> np.ndarray:
        rows = zip(seen.get("control_generation"), seen.answers, strict=True)
        labels = [["" if text is None else label_of(text, each) for text in row] for row, each in rows]
        return np.array(labels, object)
