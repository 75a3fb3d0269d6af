"""The smallest set of weights that restores what was lost, found greedily."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool

from attnshift.errors import AttnshiftError
from attnshift.interventions.units import Unit

CRITERIA = ("margin", "counterfactual_accuracy")
"""What has to be restored; the first that is asked for chooses which unit comes next."""

SHARE = 0.8
"""Of what was lost, the part that has to come back."""

Read = Callable[[frozenset[Unit], str], np.ndarray]
"""A measure per item with some units grafted."""


@dataclass(frozen=True)
class Wanted:
    """What a search is to restore."""

    criteria: tuple[str, ...] = CRITERIA
    share: float = SHARE
    seed: int = 0
    """of the choice of the items that the search sees"""

    def __post_init__(self) -> None:
        if unknown := [name for name in self.criteria if name not in CRITERIA]:
            raise AttnshiftError(f"{unknown[0]!r} can't be restored", expected=f"some of {', '.join(CRITERIA)}")
        if not self.criteria or not self.share > 0:
            raise AttnshiftError(
                f"a search for {self.share:g} of {', '.join(self.criteria) or 'nothing'}",
                expected="a share above 0, such as 0.8, of at least one criterion",
            )


@dataclass(frozen=True)
class Search:
    """How a set was found."""

    path: tuple[frozenset[Unit], ...]
    """the sets that were grown, one candidate more each"""
    found: frozenset[Unit]
    """the last of them, less what turned out to be needless"""
    reached: bool
    """whether it restores enough"""


@dataclass(frozen=True)
class Goal:
    """When a set restores enough, judged on some of the items."""

    read: Read
    source: Mapping[str, np.ndarray]
    """by criterion, per item"""
    target: Mapping[str, np.ndarray]
    criteria: Sequence[str]
    share: float
    judged: Bool[np.ndarray, "item"]
    """the items that the search sees"""

    def restored(self, units: frozenset[Unit], criterion: str) -> float:
        """(grafted - target) / (source - target) of the means over the items that the search sees."""
        means = (self.read(units, criterion), self.source[criterion], self.target[criterion])
        grafted, source, target = (float(np.nanmean(each[self.judged])) for each in means)
        return (grafted - target) / (source - target)

    def met(self, units: frozenset[Unit]) -> bool:
        """Whether every criterion is restored to the share that is asked for."""
        return all(self.restored(units, criterion) >= self.share for criterion in self.criteria)


def search(goal: Goal, candidates: Sequence[frozenset[Unit]]) -> Search:
    """Forward selection: the candidate that restores most joins, until enough is restored; then what isn't needed goes.

    It stops short where no candidate restores more. Greedy: a smaller set may exist.
    """
    grown: frozenset[Unit] = frozenset()
    path: list[frozenset[Unit]] = []
    left, reached, first = list(candidates), False, goal.criteria[0]
    while left and not reached:
        best = max(left, key=lambda candidate: goal.restored(grown | candidate, first))
        if path and goal.restored(grown | best, first) <= goal.restored(grown, first):
            break
        grown |= best
        left.remove(best)
        path.append(grown)
        reached = goal.met(grown)
    found = grown
    for candidate in candidates if reached else ():
        if candidate <= found and candidate != found and goal.met(found - candidate):
            found -= candidate
    return Search(tuple(path), found, reached)
