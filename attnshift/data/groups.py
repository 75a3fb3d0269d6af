"""Which examples need their context: critical, non-critical, or without any context."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from attnshift.data.items import GROUPS, Example, Group
from attnshift.errors import AttnshiftError

NON_CRITICAL_SHARE = 0.25
"""Of the examples with a context, the part lowest in closed-book loss that is non-critical: the paper's 25 %."""

By = Literal["quantile", "threshold"]
Score = Literal["mean", "sum"]
Pool = Literal["context", "all"]


@dataclass(frozen=True)
class Rule:
    """Which examples with a context are non-critical: those whose target the model predicts without it."""

    by: By = "quantile"
    """the ``fraction`` with the lowest loss, or all below ``threshold``"""
    fraction: float = NON_CRITICAL_SHARE
    """of the pool"""
    threshold: float | None = None
    """nats, as ``score`` counts them"""
    score: Score = "mean"
    """loss of a target: the mean over its tokens, or their sum, which grows with its length"""
    pool: Pool = "context"
    """among which the fraction is taken: examples with a context, or all of them. Those without stay no_context."""

    def __post_init__(self) -> None:
        for name, choices in (("by", get_args(By)), ("score", get_args(Score)), ("pool", get_args(Pool))):
            if getattr(self, name) not in choices:
                raise AttnshiftError(
                    f"examples can't be split with {name} {getattr(self, name)!r}", expected=f"{' or '.join(choices)}"
                )
        if not 0 < self.fraction < 1:
            raise AttnshiftError(f"the fraction is {self.fraction}", expected="a part of the pool: between 0 and 1")
        if (self.by == "threshold") != (self.threshold is not None):
            raise AttnshiftError(
                f"the split is by {self.by}, and the threshold is {self.threshold}",
                expected="a threshold in nats for a split by threshold, and none otherwise",
            )

    def non_critical(self, losses: NDArray[np.floating]) -> NDArray[np.bool_]:
        """Which of the pool's losses count as low. Equal ones: the first are lower."""
        if self.threshold is not None:
            return losses < self.threshold
        low = np.zeros(len(losses), np.bool_)
        low[np.argsort(losses, kind="stable")[: int(self.fraction * len(losses))]] = True
        return low

    def describe(self) -> str:
        """Which examples it makes non-critical, in words."""
        unit = "" if self.score == "mean" else ", summed over the target,"
        if self.threshold is not None:
            return f"those with a closed-book loss{unit} below {self.threshold:g} nats"
        among = "" if self.pool == "context" else " among all examples"
        return f"the {self.fraction:.0%} with the lowest closed-book loss{unit.removesuffix(',')}{among}"


PAPER = Rule()
"""The paper's: the quarter of the examples with a context that is lowest in loss per token."""


@dataclass(frozen=True)
class Grouping:
    """A group for every example, and how it was found."""

    groups: tuple[Group, ...]
    given: int
    """examples whose data named a group"""
    ranked: int
    """examples grouped by their closed-book loss"""
    rule: Rule = PAPER
    """by which these were grouped"""

    def describe(self) -> str:
        """One sentence for people."""
        if not self.groups:
            return ""
        counts = Counter(self.groups)
        sizes = ", ".join(f"{counts[g]} {g}" for g in GROUPS if counts[g])
        if not self.ranked:
            return f"groups: {sizes} (as the data gives them)"
        return (
            f"groups: {sizes} ({self.rule.describe()}, "
            f"of {self.ranked} examples with a context and no given group, are non_critical)"
        )


def group_examples(
    examples: Sequence[Example], closed_book_loss: Callable[[list[int]], NDArray[np.floating]], rule: Rule = PAPER
) -> Grouping:
    """Group the examples: as given, else ``no_context``, else by rank of the closed-book loss.

    Parameters
    ----------
    examples
        The examples in the order of the trace.
    closed_book_loss
        Takes positions in ``examples``; returns nats per answer token (for ``score="sum"`` of the whole answer)
        without the context, on the base (or first) checkpoint. Called only if some example with a context has no
        group.
    rule
        Which of them are non-critical.
    """
    groups: list[Group | None] = [e.group or (None if e.context.strip() else "no_context") for e in examples]
    open_positions = [i for i, group in enumerate(groups) if group is None]
    if open_positions:
        contextless = [i for i, e in enumerate(examples) if not e.context.strip()] if rule.pool == "all" else []
        low = rule.non_critical(np.asarray(closed_book_loss([*open_positions, *contextless]), np.float64))
        for position, is_low in zip(open_positions, low, strict=False):  # the contextless ones only set the scale
            groups[position] = "non_critical" if is_low else "critical"
    final = tuple(group for group in groups if group is not None)
    return Grouping(final, sum(e.group is not None for e in examples), len(open_positions), rule)


def with_groups(examples: Sequence[Example], groups: Sequence[Group]) -> tuple[Example, ...]:
    """The examples with their groups filled in."""
    return tuple(replace(e, group=g) for e, g in zip(examples, groups, strict=True))


def group_shares(groups: Sequence[Group], stated: Mapping[str, float]) -> dict[Group, float]:
    """Each present group's part of the training examples: as the manifest states it, else as counted."""
    counts = Counter(groups)
    total = max(1, sum(counts.values()))
    return {g: float(stated.get(g, counts[g] / total)) for g in GROUPS if counts[g]}
