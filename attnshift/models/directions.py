"""Gradients of what finetuning may push: the mean attention to the context, and the mean margin."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from attnshift.checkpoints.optimizer import SecondMoments
from attnshift.data.batches import length_batches
from attnshift.models.attention import captured_attention
from attnshift.models.forward import Rows, Target, context_mass, target_logprobs
from attnshift.models.gradients import Gradient, accumulated_gradient


def margin_gradient(
    model: Any,
    parameters: Mapping[str, nn.Parameter],
    context: Sequence[Target],
    parametric: Sequence[Target],
    token_budget: int,
    hold: torch.device | None = None,
) -> Gradient:
    """Gradient of the mean over items of log p(context answer) - log p(parametric answer), each summed over tokens.

    ``hold`` is the device that the gradient is added up on; by default each parameter's own.
    """

    def losses() -> Iterator[Tensor]:
        for targets, sign in ((context, 1.0), (parametric, -1.0)):
            for batch in length_batches([len(t) for t in targets], token_budget):
                yield target_logprobs(model, [targets[i] for i in batch]).sum() * (sign / len(targets))

    return accumulated_gradient(model, parameters, losses(), hold)


def attention_gradient(
    model: Any,
    parameters: Mapping[str, nn.Parameter],
    targets: Sequence[Target],
    roles: Sequence[np.ndarray],
    token_budget: int,
    rows: Rows = "last",
    hold: torch.device | None = None,
) -> Gradient:
    """Gradient of the mean over items, layers and heads of the attention mass on the context.

    ``roles`` has one code per token of each target; ``rows`` are those that ``attention_mass`` is measured on;
    ``hold`` as in `margin_gradient`.
    """

    def losses() -> Iterator[Tensor]:
        for batch in length_batches([len(t) for t in targets], token_budget):
            chosen = [targets[i] for i in batch]
            yield context_mass(model, chosen, [roles[i] for i in batch], rows).sum() / len(targets)

    with captured_attention(model):
        return accumulated_gradient(model, parameters, losses(), hold)


def preconditioned(gradient: Gradient, moments: SecondMoments) -> Gradient:
    """Scale as Adam scales an update: each entry divided by the root of its second moment + epsilon."""
    return {
        name: value / (moments.values[name].to(value.device, value.dtype).sqrt() + moments.epsilon)
        for name, value in gradient.items()
    }
