"""Gradients of a group's mean loss, by part of the model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from attnshift.data.batches import length_batches
from attnshift.models.forward import Target, mean_target_loss
from attnshift.models.parts import Piece, part_order
from attnshift.models.readings import GroupGradients

Gradient = dict[str, Tensor]
"""By parameter name; float32 at least."""


def group_gradient(
    model: Any, parameters: Mapping[str, nn.Parameter], targets: Sequence[Target], token_budget: int
) -> Gradient:
    """Gradient of the mean over targets of the mean loss over each target's tokens.

    Batches are added up in float32 (float64 for a float64 model), whatever the model's own precision.
    Nothing is left behind: ``.grad`` and ``requires_grad`` are as before.
    """
    with _accumulated(model, parameters) as gradient:
        for batch in length_batches([len(t) for t in targets], token_budget):
            loss = mean_target_loss(model, [targets[i] for i in batch], 1 / len(targets))
            loss.backward()
    return gradient


def products_by_part(a: Gradient, b: Gradient, pieces: Mapping[str, tuple[Piece, ...]]) -> dict[str, float]:
    """Inner product of two gradients, part by part, summed in float64; of one with itself its squared norm."""
    out: dict[str, float] = {}
    for name in a:
        for piece in pieces[name]:
            left, right = piece.of(a[name]), piece.of(b[name])
            out[piece.part] = out.get(piece.part, 0.0) + float((left * right).sum(dtype=torch.float64))
    return out


@contextmanager
def _accumulated(model: Any, parameters: Mapping[str, nn.Parameter]) -> Iterator[Gradient]:
    """Within it, backwards add up in the yielded dict, and only the given parameters get gradients."""
    gradient: Gradient = {
        name: torch.zeros_like(p, dtype=torch.promote_types(p.dtype, torch.float32)) for name, p in parameters.items()
    }
    before = [(p, p.requires_grad, p.grad) for p in model.parameters()]
    hooks = []
    try:
        for p, _, _ in before:
            p.grad = None
            p.requires_grad_(False)
        for name, p in parameters.items():
            p.requires_grad_(True)
            hooks.append(p.register_post_accumulate_grad_hook(_collector(gradient[name])))
        yield gradient
    finally:
        for hook in hooks:
            hook.remove()
        for p, required, grad in before:
            p.requires_grad_(required)
            p.grad = grad


def _collector(total: Tensor) -> Any:
    def collect(parameter: Tensor) -> None:
        assert parameter.grad is not None  # noqa: S101  (autograd has just set it)
        total.add_(parameter.grad)
        parameter.grad = None

    return collect


def group_gradients(
    model: Any,
    parameters: Mapping[str, nn.Parameter],
    pieces: Mapping[str, tuple[Piece, ...]],
    targets: Mapping[str, Sequence[Target]],
    token_budget: int,
    cross: tuple[str, str] | None = None,
) -> GroupGradients:
    """Inner products by part of every group's gradient with itself, and of the pair ``cross`` with each other.

    Holds one gradient at a time, or two while the pair is measured.
    """
    parts = part_order({piece.part for name in parameters for piece in pieces[name]})
    groups = sorted(targets, key=lambda group: (cross or ()).index(group) if group in (cross or ()) else 2)
    product = np.full((len(targets), len(targets), len(parts)), np.nan)
    place = {group: i for i, group in enumerate(targets)}

    def record(a: str, b: str, left: Gradient, right: Gradient) -> None:
        by_part = products_by_part(left, right, pieces)
        product[place[a], place[b]] = product[place[b], place[a]] = [by_part[part] for part in parts]

    held: Gradient | None = None
    for group in groups:
        gradient = group_gradient(model, parameters, targets[group], token_budget)
        record(group, group, gradient, gradient)
        if cross is not None and held is not None and group == cross[1]:
            record(*cross, held, gradient)
        held = gradient if cross is not None and group == cross[0] else None
    return GroupGradients(tuple(targets), tuple(parts), product)
