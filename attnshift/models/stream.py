"""The residual stream at some rows of a batch: what every layer adds to it there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from attnshift.errors import AttnshiftError
from attnshift.models.anatomy import Anatomy, Block
from attnshift.models.norms import tolerance


@dataclass
class RowStream:
    """What was seen of one forward at the rows asked for; all vectors are ``row d``."""

    rows: Int[Tensor, "row"]
    sequences: Int[Tensor, "row"]
    """which of the batch's sequences each row is of"""
    entering: dict[int, Tensor] = field(default_factory=dict)
    """by layer: the stream before it"""
    leaving: dict[int, Tensor] = field(default_factory=dict)
    """by layer: the stream behind it"""
    heads_out: dict[int, Tensor] = field(default_factory=dict)
    """by layer: the outputs of its heads, side by side, before the projection"""
    projected: dict[int, Tensor] = field(default_factory=dict)
    """by layer: the projection's output"""
    attention: dict[int, Tensor] = field(default_factory=dict)
    """by layer: what attention adds to the stream"""
    mlp: dict[int, Tensor] = field(default_factory=dict)
    """by layer: what the MLP adds to the stream"""


@contextmanager
def watched_rows(
    parts: Anatomy, rows: Int[Tensor, "row"], sequences: Int[Tensor, "row"] | None = None
) -> Iterator[RowStream]:
    """Within it, forwards leave their rows in the stream that is yielded; checked at the end.

    Without ``sequences`` a row of each sequence in turn.
    Raises AttnshiftError where a layer adds something to the stream that is neither its attention nor its MLP.
    """
    seen = RowStream(rows, torch.arange(len(rows)) if sequences is None else sequences)
    hooks = [hook for layer, block in enumerate(parts.blocks) for hook in _hooks(seen, layer, block)]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()
    for layer, block in enumerate(parts.blocks):
        _check(seen, layer, block)


def hidden_in(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """The hidden states that a module is called with."""
    found: Tensor = args[0] if args else kwargs["hidden_states"]
    return found


def hidden_out(output: Any) -> Tensor:
    """The hidden states that a module returns, alone or first of several."""
    found: Tensor = output[0] if isinstance(output, tuple) else output
    return found


def _hooks(seen: RowStream, layer: int, block: Block) -> list[Any]:
    def before(place: dict[int, Tensor]) -> Callable[..., None]:
        def keep(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            place[layer] = _picked(hidden_in(args, kwargs), seen)

        return keep

    def behind(place: dict[int, Tensor]) -> Callable[..., None]:
        def keep(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
            place[layer] = _picked(hidden_out(output), seen)

        return keep

    return [
        block.module.register_forward_pre_hook(before(seen.entering), with_kwargs=True),
        block.module.register_forward_hook(behind(seen.leaving)),
        block.projection.register_forward_pre_hook(before(seen.heads_out), with_kwargs=True),
        block.projection.register_forward_hook(behind(seen.projected)),
        block.attention_out.register_forward_hook(behind(seen.attention)),
        block.mlp_out.register_forward_hook(behind(seen.mlp)),
    ]


def _picked(hidden: Float[Tensor, "batch position d"], seen: RowStream) -> Float[Tensor, "row d"]:
    return hidden[seen.sequences.to(hidden.device), seen.rows.to(hidden.device)].detach()


def _check(seen: RowStream, layer: int, block: Block) -> None:
    terms = [seen.entering[layer], seen.attention[layer], seen.mlp[layer]]
    whole = seen.leaving[layer]
    terms = [term.to(whole.device) for term in terms]
    apart = (whole - sum(terms[1:], terms[0])).float().norm()
    size = sum(float(term.float().norm()) for term in terms)
    if not apart <= tolerance(whole.dtype) * size:
        raise AttnshiftError(
            f"layer {layer} ({type(block.module).__name__}) adds more to the residual stream than attention and MLP",
            expected="a layer whose output is its input + attention + MLP, in sequence or in parallel",
            remedy="leave attributions, lenses, parametric knowledge and patches out for this model",
        )
