"""A guard of reliance on the context: the groups' losses re-weighted while training, by what a conflict probe shows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float
from transformers import TrainerCallback

from attnshift.data.inputs import sample
from attnshift.data.items import Example, Item
from attnshift.errors import AttnshiftError
from attnshift.tracing.live import LiveTrace, live_trace
from attnshift.training.trainer import Rows


@dataclass(frozen=True)
class Seen:
    """What a guard knows of one step."""

    reliance: float
    """mean probability, over the probe's items, of the context's answer among the two"""
    highest: float
    """the highest so far"""
    push: Mapping[str, float]
    """by group: push of its loss on the probe's mean margin, in nats per unit learning rate; empty if not asked for"""


class Rule(ABC):
    """From what is seen to the groups' weights, relative to each other."""

    pushed: ClassVar[bool] = False
    """whether it needs the groups' pushes"""

    @abstractmethod
    def weight(self, group: str, seen: Seen) -> float:
        """The weight of a group's examples, from 0 to 1."""


@dataclass(frozen=True)
class Fall(Rule):
    """Non-critical examples count less, the further reliance is below its highest; not at all from ``tolerance`` on."""

    tolerance: float = 0.1

    def weight(self, group: str, seen: Seen) -> float:
        """1 - fall / tolerance, at least 0, for the non-critical ones; 1 for all others."""
        return max(0.0, 1 - (seen.highest - seen.reliance) / self.tolerance) if group == "non_critical" else 1.0


@dataclass(frozen=True)
class Push(Rule):
    """Only groups count whose training leans the model towards the context, or the least harmful one."""

    pushed: ClassVar[bool] = True

    def weight(self, group: str, seen: Seen) -> float:
        """1 where the push isn't negative, or none is less so; else 0."""
        return float(seen.push[group] >= min(0.0, max(seen.push.values())))


@dataclass
class Guard(TrainerCallback):  # type: ignore[misc]  # transformers is untyped here
    """Looks at a probe every so many steps and sets the weights of the examples' losses until it looks again.

    For `finetune` and `train`, whose data is `Rows`. The weights have a mean of 1 over the training examples, so that
    the size of a step stays. What was seen is a trace, ``guard/`` in the run; what came of it is ``decisions``.

    Raises AttnshiftError when training begins, for data without groups or of another trainer.
    """

    items: Sequence[Item]
    """the probe: conflicts whose subjects aren't those that reliance is judged on afterwards"""
    rule: Rule
    every: int = 10
    examples: int = 100
    """training examples of each group whose push is measured"""
    decisions: list[tuple[int, Seen, dict[str, float]]] = field(default_factory=list)
    """step, what was seen, and the groups' weights before they are brought to a mean of 1"""
    _rows: Rows | None = None
    _live: LiveTrace | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        """Settle the probe, and look at it."""
        self._rows = _grouped(others["train_dataloader"].dataset)
        run = Path(args.output_dir)
        self._live = live_trace(
            others["model"],
            others["processing_class"],
            run,
            out=run / "guard",
            items=self.items,
            examples=_some(self._rows.examples, self.examples) if self.rule.pushed else None,
            measures=["margin", *(["margin_push"] if self.rule.pushed else [])],
        )
        self._live.begin_at(state.global_step)
        self._look(state.global_step)

    def on_step_end(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        """Look again, every so many steps."""
        if state.global_step % self.every == 0:
            self._look(state.global_step)

    def _look(self, step: int) -> None:
        assert self._live is not None and self._rows is not None  # noqa: S101, PT018  (training has begun)
        values = self._live.measure(step)
        assert self._live.inputs is not None  # noqa: S101  (settled by the first step that was measured)
        reliance = float((1 / (1 + np.exp(-values["margin"]))).mean())
        highest = max([reliance, *(seen.highest for _, seen, _ in self.decisions[-1:])])
        push = dict(zip(self._live.inputs.groups, values.get("margin_push", np.zeros(0)).tolist(), strict=False))
        seen = Seen(reliance, highest, push)
        groups = dict.fromkeys(str(example.group) for example in self._rows.examples)
        weights = {group: self.rule.weight(group, seen) for group in groups}
        self.decisions.append((step, seen, weights))
        self._rows.weights = _of_examples(self._rows.examples, weights)


def _grouped(rows: Any) -> Rows:
    if not isinstance(rows, Rows) or not rows.examples or any(example.group is None for example in rows.examples):
        raise AttnshiftError(
            f"the trainer's data ({type(rows).__name__}) can't be weighted by group",
            expected="attnshift.training.trainer.Rows with grouped examples",
            remedy="finetune(…, callbacks=[Guard(…)])",
        )
    return rows


def _some(examples: Sequence[Example], count: int) -> list[Example]:
    """At most so many examples of each group."""
    groups = dict.fromkeys(example.group for example in examples)
    return [e for group in groups for e in sample([e for e in examples if e.group == group], count, seed=0)]


def _of_examples(examples: Sequence[Example], weights: Mapping[str, float]) -> Float[np.ndarray, "example"] | None:
    """Weights with a mean of 1; None where all are the same, also where no group has any."""
    values = np.array([weights[str(example.group)] for example in examples])
    return None if values.min() == values.max() else values / values.mean()
