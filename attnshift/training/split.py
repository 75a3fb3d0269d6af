"""Which examples need their context, by a model's loss without it; and how much that depends on how it is asked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float

from attnshift.data.groups import PAPER, Grouping, Rule, with_groups
from attnshift.data.inputs import Dropped
from attnshift.data.items import GROUPS, Example
from attnshift.data.rows import Row
from attnshift.errors import AttnshiftError
from attnshift.training.base import ClosedBook, closed_book, encoded, open_base


@dataclass(frozen=True)
class Alternative:
    """The same split with one option changed."""

    option: str
    non_critical: int
    jaccard: float
    """examples that are non-critical in both, as a part of those that are in either; NaN where there are none"""


@dataclass(frozen=True)
class Split:
    """Examples in groups, and the losses that put them there."""

    examples: tuple[Example, ...]
    """those that could be encoded, in the groups found"""
    scores: ClosedBook
    rule: Rule
    grouping: Grouping
    given: tuple[str | None, ...]
    """the groups that the data gave, which don't count here"""
    left_out: tuple[Dropped, ...]

    @property
    def losses(self) -> Float[np.ndarray, "example"]:
        """Nats without the context, as the rule counts."""
        return self.scores.losses(self.rule)

    def columns(self) -> dict[str, Row]:
        """What is written into each example's row, by id.

        ``group``; ``closed_book_loss`` in nats per token (for ``score="sum"`` of the whole target) and
        ``closed_book_rank`` among the pool, from 1, the lowest loss; ``given_group``, where the data gave one.
        """
        in_pool = np.array([bool(e.context.strip()) or self.rule.pool == "all" for e in self.examples])
        order = np.argsort(np.where(in_pool, self.losses, np.inf), kind="stable")
        ranks = {int(place): rank for rank, place in enumerate(order[: in_pool.sum()], 1)}
        columns: dict[str, Row] = {}
        for place, (example, given) in enumerate(zip(self.examples, self.given, strict=True)):
            row: Row = {"group": example.group}
            if place in ranks:
                row |= {"closed_book_loss": round(float(self.losses[place]), 6), "closed_book_rank": ranks[place]}
            columns[example.id] = row | ({"given_group": given} if given else {})
        return columns

    def sizes(self) -> dict[str, int]:
        """How many examples each group has."""
        counts = Counter(example.group for example in self.examples)
        return {group: counts[group] for group in GROUPS if counts[group]}

    def alternatives(self) -> list[Alternative]:
        """The split with each option changed alone."""
        here = self._non_critical(self.rule)
        found = []
        for option, rule in _changed(self.rule, self._threshold_of_other_score()):
            there = self._non_critical(rule)
            either = int((here | there).sum())
            found.append(Alternative(option, int(there.sum()), (here & there).sum() / either if either else np.nan))
        return found

    def agreement(self) -> float | None:
        """Probability that a given critical example has a higher loss than a given non-critical one (the AUC).

        None where the data gave no groups, or only one of both.
        """
        losses = self.losses
        low, high = (
            losses[[g == group and np.isfinite(loss) for g, loss in zip(self.given, losses, strict=True)]]
            for group in ("non_critical", "critical")
        )
        if not len(low) or not len(high):
            return None
        below = np.searchsorted(np.sort(low), high, "left") + np.searchsorted(np.sort(low), high, "right")
        return float(below.sum() / (2 * len(low) * len(high)))

    def _non_critical(self, rule: Rule) -> Bool[np.ndarray, "example"]:
        ungrouped = [replace(example, group=None) for example in self.examples]
        return np.array([group == "non_critical" for group in self.scores.grouping(ungrouped, rule).groups])

    def _threshold_of_other_score(self) -> float:
        """Where the other score cuts off as many examples as the rule's threshold does."""
        other = self.scores.losses(replace(self.rule, score="sum" if self.rule.score == "mean" else "mean"))
        with_context = np.array([bool(e.context.strip()) for e in self.examples])
        count = int(self._non_critical(self.rule).sum())
        return float(np.append(np.sort(other[with_context]), np.inf)[count])


def split(
    model: str | Path,
    examples: Sequence[Example],
    rule: Rule = PAPER,
    *,
    template: str | None = None,
    target_eos: bool = True,
    dtype: str = "auto",
    device: str | None = None,
) -> Split:
    """Group examples by a model's loss on their targets without their context: the paper's critical split.

    It is the grouping that `trace` and `finetune` do by themselves where the data gives no groups; given ones don't
    count here, they are only compared with.

    Parameters
    ----------
    model
        A folder with full weights, or a hub name.
    examples
        Training and held-out ones alike.
    rule
        By quantile or threshold, mean or sum, of which pool.
    template, target_eos
        How the targets are written, as in training.
    dtype, device
        Of the model.

    Raises
    ------
    AttnshiftError
        No example has a context, none can be encoded, or the model can't be used.
    """
    if not any(example.context.strip() for example in examples):
        raise AttnshiftError(
            f"none of the {len(examples)} examples has a context: there is nothing to split",
            expected="examples of which some come with a context",
            remedy="name the column of the context: --map context=passage",
        )
    base = open_base(model, dtype, device)
    inputs = encoded(base.encoder(template, target_eos), [replace(example, group=None) for example in examples])
    given = {example.id: example.group for example in examples}
    scores = closed_book(base, inputs, range(len(inputs.examples)))
    grouping = scores.grouping(inputs.examples, rule)
    return Split(
        with_groups(inputs.examples, grouping.groups),
        scores,
        rule,
        grouping,
        tuple(given[example.id] for example in inputs.examples),
        inputs.dropped,
    )


def _changed(rule: Rule, other_threshold: float) -> Iterator[tuple[str, Rule]]:
    """Rules that differ in one option."""
    score, pool = ("sum" if rule.score == "mean" else "mean"), ("all" if rule.pool == "context" else "context")
    if rule.threshold is None:
        yield f"score {score}", replace(rule, score=score)  # type: ignore[arg-type]
        yield f"pool {pool}", replace(rule, pool=pool)  # type: ignore[arg-type]
        for fraction in (rule.fraction / 2, min(2 * rule.fraction, (1 + rule.fraction) / 2)):
            yield f"fraction {fraction:g}", replace(rule, fraction=fraction)
    else:
        yield f"score {score}, as many", replace(rule, score=score, threshold=other_threshold)  # type: ignore[arg-type]
        for threshold in (rule.threshold / 2, rule.threshold * 2):
            yield f"threshold {threshold:g}", replace(rule, threshold=threshold)
