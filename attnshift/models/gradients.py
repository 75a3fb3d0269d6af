"""Gradients of a group's mean loss, by part of the model: taken as autograd finishes them, kept only where needed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from attnshift.data.batches import length_batches
from attnshift.models.forward import Target, mean_target_loss
from attnshift.models.ghost import ExampleWatch
from attnshift.models.norms import precise
from attnshift.models.parts import Piece, part_order
from attnshift.models.readings import ExampleGradients, GroupGradients

Gradient = dict[str, Tensor]
"""By parameter name, in float32 at least; a parameter that the loss doesn't reach is left out."""

Take = Callable[[str, Tensor], None]


def accumulated_gradient(
    model: Any, parameters: Mapping[str, nn.Parameter], losses: Iterator[Tensor], hold: torch.device | None = None
) -> Gradient:
    """Gradient of a sum of losses, each of which is backpropagated before the next is computed.

    Added up in float32 (float64 for a float64 model), whatever the model's own precision, on the device ``hold`` (by
    default each parameter's own). Nothing is left behind: ``.grad`` and ``requires_grad`` are as before.
    """
    total: Gradient = {}
    with _taking(model, parameters, lambda name, gradient: _add(total, name, gradient, hold)):
        for loss in losses:
            loss.backward()
    return total


def group_gradients(
    model: Any,
    parameters: Mapping[str, nn.Parameter],
    pieces: Mapping[str, tuple[Piece, ...]],
    targets: Mapping[str, Sequence[Target]],
    token_budget: int,
    cross: tuple[str, str] | None = None,
    directions: Mapping[str, Gradient] | None = None,
    watch: ExampleWatch | None = None,
    hold: torch.device | None = None,
) -> GroupGradients:
    """Inner products by part of every group's gradient with itself, with directions, and of the pair ``cross``.

    A group that fits one batch is never held: each parameter's gradient is used and freed as the backward reaches it.
    One that doesn't is added up in one copy. ``cross`` holds one more copy while its pair is measured.

    Parameters
    ----------
    model
        The model, using whatever attention it likes.
    parameters
        Those that the gradients are taken with respect to, by name.
    pieces
        Their division into parts, as `parameter_pieces` gives it.
    targets
        The training examples of each group.
    token_budget
        Tokens in a batch at most, padding included.
    cross
        Two groups whose inner product with each other is wanted.
    directions
        Gradients of other quantities by name: the push on each is minus the inner product with it.
    watch
        Takes every example's own gradient norm and pushes in the same backward.
    hold
        Device of the gradients that are held; by default each parameter's own.
    """
    parts = part_order({piece.part for name in parameters for piece in pieces[name]})
    groups = sorted(targets, key=lambda group: (cross or ()).index(group) if group in (cross or ()) else 2)
    place = {group: i for i, group in enumerate(targets)}
    product = np.full((len(targets), len(targets), len(parts)), np.nan)
    push = {name: np.full((len(targets), len(parts)), np.nan) for name in directions or {}}
    examples: dict[str, ExampleGradients] = {}
    held: Gradient | None = None
    for group in groups:
        against = dict(directions or {}) | ({} if held is None else {"": held})
        sums = _Products(pieces, against)
        keep = cross is not None and group == cross[0]
        gradient, seen = _measure(model, parameters, targets[group], token_budget, sums, keep, watch, hold)
        product[place[group], place[group]] = sums.by_part(None, parts)
        for name in push:
            push[name][place[group]] = -sums.by_part(name, parts)
        if cross is not None and held is not None:
            a, b = (place[one] for one in cross)
            product[a, b] = product[b, a] = sums.by_part("", parts)
        if seen is not None:
            examples[group] = seen
        held = gradient if keep else None
    return GroupGradients(tuple(targets), tuple(parts), product, push, examples)


@dataclass
class _Products:
    """Inner products of one gradient with itself (None) and with others, summed up parameter by parameter."""

    pieces: Mapping[str, tuple[Piece, ...]]
    against: Mapping[str, Gradient]
    sums: dict[tuple[str | None, str], Tensor] = field(default_factory=dict)

    def add(self, name: str, gradient: Tensor) -> None:
        for piece in self.pieces[name]:
            own = piece.of(gradient).reshape(-1)
            self._add(None, piece.part, _square(own))
            for other, direction in self.against.items():
                if name in direction:
                    left, right = precise(own), precise(piece.of(direction[name]).to(own.device).reshape(-1))
                    self._add(other, piece.part, torch.dot(left, right.to(left.dtype)))

    def _add(self, other: str | None, part: str, product: Tensor) -> None:
        total = self.sums.get((other, part))
        self.sums[other, part] = product.double() if total is None else total + product.double().to(total.device)

    def by_part(self, other: str | None, parts: Sequence[str]) -> np.ndarray:
        return np.array([float(self.sums.get((other, part), 0.0)) for part in parts])


def _measure(
    model: Any,
    parameters: Mapping[str, nn.Parameter],
    targets: Sequence[Target],
    token_budget: int,
    sums: _Products,
    keep: bool,
    watch: ExampleWatch | None,
    hold: torch.device | None,
) -> tuple[Gradient, ExampleGradients | None]:
    """Go through a group's batches; the last one completes each parameter's gradient, which is used at once."""
    held: Gradient = {}
    batches = length_batches([len(t) for t in targets], token_budget)
    remaining = len(batches)

    def take(name: str, gradient: Tensor) -> None:
        if remaining > 1 or keep or name in held:
            _add(held, name, gradient, hold)
            gradient = held[name]
        if remaining == 1:
            sums.add(name, gradient)
            if not keep:
                held.pop(name, None)

    found = None if watch is None else watch.empty(len(targets))
    with _taking(model, parameters, take):
        for batch in batches:
            chosen = [targets[i] for i in batch]
            if watch is None or found is None:
                mean_target_loss(model, chosen, 1 / len(targets)).backward()
            else:
                with watch.watching():
                    mean_target_loss(model, chosen, 1 / len(targets)).backward()
                found.put(batch, watch.taken(scale=len(targets)))
            remaining -= 1
    for name in [] if keep else list(held):  # not reached by the last batch
        sums.add(name, held.pop(name))
    return held, found


def _add(total: Gradient, name: str, gradient: Tensor, hold: torch.device | None) -> None:
    """Add to what is there; the first gradient is taken over as it is, without a copy where its precision allows."""
    if name in total:
        total[name].add_(gradient.to(total[name].device))
    else:
        total[name] = gradient.to(hold or gradient.device, torch.promote_types(gradient.dtype, torch.float32))


def _square(vector: Tensor) -> Tensor:
    """A vector's inner product with itself; one in half precision is read once, without a copy in float32."""
    if vector.dtype in (torch.float16, torch.bfloat16):
        return torch.linalg.vector_norm(vector, dtype=torch.float32).double().square()
    return torch.dot(vector, vector)


@contextmanager
def _taking(model: Any, parameters: Mapping[str, nn.Parameter], take: Take) -> Iterator[None]:
    """Within it, backwards hand each of the parameters' gradients to ``take``; no other parameter gets one."""
    before = [(p, p.requires_grad, p.grad) for p in model.parameters()]
    hooks = []
    try:
        for p, _, _ in before:
            p.grad = None
            p.requires_grad_(False)
        for name, p in parameters.items():
            p.requires_grad_(True)
            hooks.append(p.register_post_accumulate_grad_hook(_handing_over(name, take)))
        yield
    finally:
        for hook in hooks:
            hook.remove()
        for p, required, grad in before:
            p.requires_grad_(required)
            p.grad = grad


def _handing_over(name: str, take: Take) -> Callable[[Tensor], None]:
    def hand_over(parameter: Tensor) -> None:
        gradient, parameter.grad = parameter.grad, None
        assert gradient is not None  # noqa: S101  (autograd has just set it)
        take(name, gradient)

    return hand_over
