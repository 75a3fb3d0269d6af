"""One comparison as a row: its raw costs, its ratios, its goals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any, Literal

from benchmarks.clock import Cost

Kind = Literal["time", "memory"]
Clock = Literal["cpu", "wall"]


@dataclass(frozen=True)
class Goal:
    """The most that a ratio, or without something to compare with a number of seconds, may be."""

    of: Kind
    limit: float


@dataclass(frozen=True)
class Row:
    """What was compared and what it cost."""

    name: str
    ours: str
    """what we did, in words"""
    against: str
    """what it is compared with; empty for a cost that stands for itself"""
    ours_costs: Sequence[Cost] = ()
    against_costs: Sequence[Cost] = ()
    """pair by pair beside ``ours_costs``"""
    ours_peak: int | None = None
    """bytes beyond those before the call"""
    against_peak: int | None = None
    difference: float | None = None
    """the largest difference between the two results"""
    goals: Sequence[Goal] = ()
    clock: Clock = "cpu"
    """which time the goal speaks of: the processor's, or for a GPU the wall's"""
    note: str = ""
    """what kept the other from being measured"""

    def seconds(self, clock: Clock) -> list[float]:
        """Our own costs."""
        return [getattr(cost, clock) for cost in self.ours_costs]

    def ratios(self, clock: Clock) -> list[float]:
        """Ours to the other's, pair by pair; empty where there is nothing to compare with."""
        pairs = zip(self.ours_costs, self.against_costs, strict=False)
        return [getattr(ours, clock) / max(getattr(other, clock), 1e-9) for ours, other in pairs]

    @property
    def memory_ratio(self) -> float | None:
        """Our peak to the other's."""
        if self.ours_peak is None or not self.against_peak:
            return None
        return self.ours_peak / self.against_peak

    def value(self, kind: Kind) -> float | None:
        """What a goal of this kind is held against."""
        if kind == "memory":
            return self.memory_ratio
        found = self.ratios(self.clock) if self.against_costs else self.seconds(self.clock)
        return median(found) if found else None

    def holds(self, goal: Goal) -> bool | None:
        """Whether a goal is met; None where it can't be told."""
        value = self.value(goal.of)
        return None if value is None else value <= goal.limit


@dataclass
class Section:
    """The rows of one comparison, and what a reader must be told about them."""

    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def section_json(section: Section) -> dict[str, Any]:
    """Everything that was measured, as JSON takes it."""
    return asdict(section)


def section_from_json(content: dict[str, Any]) -> Section:
    """The inverse of `section_json`."""
    return Section([_row(row) for row in content["rows"]], content["notes"])


def _row(content: dict[str, Any]) -> Row:
    costs = {side: [Cost(**cost) for cost in content[side]] for side in ("ours_costs", "against_costs")}
    return Row(**content | costs | {"goals": [Goal(**goal) for goal in content["goals"]]})
