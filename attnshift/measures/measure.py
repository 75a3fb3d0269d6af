"""What a measure is, and the raw material that measures are computed from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from jaxtyping import Float

from attnshift.errors import AttnshiftError
from attnshift.models.readings import (
    AnswerRow,
    ExampleGradients,
    GroupGradients,
    KnockoutEffects,
    RoleAttention,
    TargetScores,
)

Need = Literal[
    "item_attention",
    "context_answer",
    "parametric_answer",
    "parametric_closed_book",
    "known",
    "persuasion",
    "lookback",
    "retrieval",
    "external_context",
    "parametric_knowledge",
    "generation",
    "control_margin",
    "control_generation",
    "answer_row",
    "knockout",
    "knockout_by_layer",
    "example_attention",
    "target",
    "target_closed_book",
    "group_gradient",
    "gradient_cross_product",
    "example_gradient",
    "attention_push",
    "margin_push",
    "preconditioner",
]
"""What can be observed of a checkpoint: the first sixteen of conflict items, then of IFT examples, pushes of both."""

_PUSHES: frozenset[Need] = frozenset({"attention_push", "margin_push"})
ITEM_NEEDS: frozenset[Need] = _PUSHES | {
    "item_attention",
    "context_answer",
    "parametric_answer",
    "parametric_closed_book",
    "known",
    "persuasion",
    "lookback",
    "retrieval",
    "external_context",
    "parametric_knowledge",
    "generation",
    "control_margin",
    "control_generation",
    "answer_row",
    "knockout",
    "knockout_by_layer",
}


@dataclass(frozen=True)
class Answers:
    """What an item's generation is compared with."""

    context: tuple[str, ...]
    """the context's answer, then its aliases"""
    parametric: tuple[str, ...]


@dataclass(frozen=True)
class Observation:
    """What was seen of one checkpoint. What no measure asked for is None."""

    answers: Sequence[Answers] = ()
    context_answer_ids: Sequence[np.ndarray] = ()
    parametric_answer_ids: Sequence[np.ndarray] = ()
    item_attention: RoleAttention | None = None
    context_answer: TargetScores | None = None
    parametric_answer: TargetScores | None = None
    parametric_closed_book: TargetScores | None = None
    known: Float[np.ndarray, "item"] | None = None
    """nats per token by which the parametric answer beats its distractors, closed book"""
    persuasion: Float[np.ndarray, "item"] | None = None
    lookback: Float[np.ndarray, "item layer head"] | None = None
    retrieval: Float[np.ndarray, "item layer head"] | None = None
    external_context: Float[np.ndarray, "item layer head"] | None = None
    parametric_knowledge: Float[np.ndarray, "item layer"] | None = None
    generation: Sequence[str] | None = None
    control_margin: Float[np.ndarray, "item condition"] | None = None
    control_generation: Sequence[Sequence[str | None]] | None = None
    """by item and condition; None where an item has none"""
    answer_row: AnswerRow | None = None
    knockout: KnockoutEffects | None = None
    example_attention: RoleAttention | None = None
    target: TargetScores | None = None
    target_closed_book: TargetScores | None = None
    group_gradient: GroupGradients | None = None
    example_gradient: ExampleGradients | None = None

    def get(self, need: str) -> Any:
        """What was asked for; a bug in the measure if it hadn't been."""
        value = getattr(self, need, None)
        if value is None:
            raise AttnshiftError(f"a measure uses {need!r} without naming it among its needs")
        return value


@dataclass(frozen=True)
class Measure(ABC):
    """One variable of a trace.

    A subclass is a frozen dataclass: its class variables say what the variable is, its fields (if any) are
    its options, its docstring holds the formula.
    """

    name: ClassVar[str]
    unit: ClassVar[str]
    dims: ClassVar[tuple[str, ...]]
    """without ``step``, which every measure has"""
    needs: ClassVar[frozenset[Need]]
    version: ClassVar[int] = 1
    """rises when the formula changes, so that old and new numbers are never mixed"""

    @abstractmethod
    def compute(self, seen: Observation) -> np.ndarray:
        """The variable at one checkpoint, in the order of ``dims``."""

    @property
    def key(self) -> str:
        """Names formula and options; cells with another key are stale."""
        options = ",".join(f"{name}={value}" for name, value in sorted(vars(self).items()))
        return f"{self.name}/{self.version}" + (f"[{options}]" if options else "")

    @property
    def meaning(self) -> str:
        """The docstring's first line."""
        return (self.__doc__ or "").strip().splitlines()[0]


def by_name(measures: Sequence[Measure]) -> Mapping[str, Measure]:
    """The measures by their variable's name; raises where two share one."""
    out: dict[str, Measure] = {}
    for measure in measures:
        if measure.name in out:
            raise AttnshiftError(f"two measures are called {measure.name!r}", remedy="give yours a name of its own")
        out[measure.name] = measure
    return out
