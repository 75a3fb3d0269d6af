"""Where a step of training on a group of examples would push attention to the context, and the margin."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from attnshift.measures.measure import Measure, Need, Observation

_ATTENTION: frozenset[Need] = frozenset({"group_gradient", "attention_push"})
_MARGIN: frozenset[Need] = frozenset({"group_gradient", "margin_push"})


@dataclass(frozen=True)
class _GroupPush(Measure):
    dims = ("group",)
    pushed: ClassVar[str]

    def compute(self, seen: Observation) -> Float[ndarray, "group"]:
        return seen.get("group_gradient").push[self.pushed].sum(-1)


@dataclass(frozen=True)
class _PreconditionedPush(_GroupPush):
    def compute(self, seen: Observation) -> Float[ndarray, "group"]:
        gradients = seen.get("group_gradient")
        return super().compute(seen) if self.pushed in gradients.push else np.full(len(gradients.groups), np.nan)


@dataclass(frozen=True)
class _PushByPart(Measure):
    dims = ("group", "part")
    pushed: ClassVar[str]

    def compute(self, seen: Observation) -> Float[ndarray, "group part"]:
        return seen.get("group_gradient").push[self.pushed]


@dataclass(frozen=True)
class _ExamplePush(Measure):
    dims = ("example",)
    pushed: ClassVar[str]

    def compute(self, seen: Observation) -> Float[ndarray, "example"]:
        return seen.get("example_gradient").push[self.pushed]


@dataclass(frozen=True)
class AttentionPush(_GroupPush):
    """First-order change of the mean context mass per unit learning rate of one SGD step on the group's loss.

    -<grad m, grad L_group>, with m the mean over items, layers and heads of the attention mass on the context, and
    L_group the mean loss of the group's training examples; gradients on the trained parameters. Positive: training on
    the group turns attention towards the context. The analogue of the one-layer theory's projection on attention.
    """

    name = "attention_push"
    unit = "probability per unit of learning rate"
    needs = _ATTENTION
    pushed = "attention_push"


@dataclass(frozen=True)
class MarginPush(_GroupPush):
    """First-order change of the mean margin per unit learning rate of one SGD step on the group's loss.

    -<grad d, grad L_group>, with d the mean over items of ``margin``; otherwise as ``attention_push``.
    """

    name = "margin_push"
    unit = "nats per unit of learning rate"
    needs = _MARGIN
    pushed = "margin_push"


@dataclass(frozen=True)
class AttentionPushByPart(_PushByPart):
    """``attention_push`` of a step on each part of the parameters alone; sums to the whole over parts."""

    name = "attention_push_by_part"
    unit = "probability per unit of learning rate"
    needs = _ATTENTION
    pushed = "attention_push"


@dataclass(frozen=True)
class MarginPushByPart(_PushByPart):
    """``margin_push`` of a step on each part of the parameters alone; sums to the whole over parts."""

    name = "margin_push_by_part"
    unit = "nats per unit of learning rate"
    needs = _MARGIN
    pushed = "margin_push"


@dataclass(frozen=True)
class AttentionPushPreconditioned(_PreconditionedPush):
    """``attention_push`` of a step scaled as Adam scales it: -<grad m, grad L_group / (sqrt(v) + epsilon)>.

    v is the optimizer's bias-corrected second moment as the checkpoint kept it (optimizer.pt), held fixed: no momentum,
    no weight decay. NaN at checkpoints without one, such as the base.
    """

    name = "attention_push_preconditioned"
    unit = "probability per unit of learning rate"
    needs = _ATTENTION | {"preconditioner"}
    pushed = "attention_push_preconditioned"


@dataclass(frozen=True)
class MarginPushPreconditioned(_PreconditionedPush):
    """``margin_push`` of a step scaled as Adam scales it; otherwise as ``attention_push_preconditioned``."""

    name = "margin_push_preconditioned"
    unit = "nats per unit of learning rate"
    needs = _MARGIN | {"preconditioner"}
    pushed = "margin_push_preconditioned"


@dataclass(frozen=True)
class ExampleAttentionPush(_ExamplePush):
    """``attention_push`` of a step on one training example's loss; NaN for held-out examples.

    The mean over a group's training examples is the group's ``attention_push``.
    """

    name = "example_attention_push"
    unit = "probability per unit of learning rate"
    needs = _ATTENTION | {"example_gradient"}
    pushed = "attention_push"


@dataclass(frozen=True)
class ExampleMarginPush(_ExamplePush):
    """``margin_push`` of a step on one training example's loss; NaN for held-out examples.

    The mean over a group's training examples is the group's ``margin_push``.
    """

    name = "example_margin_push"
    unit = "nats per unit of learning rate"
    needs = _MARGIN | {"example_gradient"}
    pushed = "margin_push"
