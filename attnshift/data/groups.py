"""Which examples need their context: critical, non-critical, or without any context."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from attnshift.data.items import GROUPS, Example, Group

NON_CRITICAL_SHARE = 0.25
"""Of the examples with a context, the part lowest in closed-book loss that is non-critical: the paper's 25 %."""


@dataclass(frozen=True)
class Grouping:
    """A group for every example, and how it was found."""

    groups: tuple[Group, ...]
    given: int
    """examples whose data named a group"""
    ranked: int
    """examples grouped by their closed-book loss"""

    def describe(self) -> str:
        """One sentence for people."""
        if not self.groups:
            return ""
        counts = Counter(self.groups)
        sizes = ", ".join(f"{counts[g]} {g}" for g in GROUPS if counts[g])
        if not self.ranked:
            return f"groups: {sizes} (as the data gives them)"
        return (
            f"groups: {sizes} (the {NON_CRITICAL_SHARE:.0%} with the lowest closed-book loss, "
            f"of {self.ranked} examples with a context and no given group, are non_critical)"
        )


def group_examples(
    examples: Sequence[Example], closed_book_loss: Callable[[list[int]], NDArray[np.floating]]
) -> Grouping:
    """Group the examples: as given, else ``no_context``, else by rank of the closed-book loss.

    Parameters
    ----------
    examples
        The examples in the order of the trace.
    closed_book_loss
        Takes positions in ``examples``; returns nats per answer token without the context, on the base
        (or first) checkpoint. Called only if some example with a context has no group.
    """
    groups: list[Group | None] = [e.group or (None if e.context.strip() else "no_context") for e in examples]
    open_positions = [i for i, group in enumerate(groups) if group is None]
    if open_positions:
        losses = np.asarray(closed_book_loss(open_positions), np.float64)
        order = np.argsort(losses, kind="stable")
        cut = int(NON_CRITICAL_SHARE * len(order))
        for rank, which in enumerate(order):
            groups[open_positions[which]] = "non_critical" if rank < cut else "critical"
    final = tuple(group for group in groups if group is not None)
    return Grouping(final, sum(e.group is not None for e in examples), len(open_positions))


def with_groups(examples: Sequence[Example], groups: Sequence[Group]) -> tuple[Example, ...]:
    """The examples with their groups filled in."""
    return tuple(replace(e, group=g) for e, g in zip(examples, groups, strict=True))


def group_shares(groups: Sequence[Group], stated: Mapping[str, float]) -> dict[Group, float]:
    """Each present group's part of the training examples: as the manifest states it, else as counted."""
    counts = Counter(groups)
    total = max(1, sum(counts.values()))
    return {g: float(stated.get(g, counts[g] / total)) for g in GROUPS if counts[g]}
