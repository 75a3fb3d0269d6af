"""Where activations are caught in one model and put into another: plain hooks, the same places in every family."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from attnshift.models.anatomy import Anatomy, Block
from attnshift.models.stream import hidden_in, hidden_out

Part = Literal["resid_pre", "resid_mid", "resid_post", "attn", "mlp", "z"]
PARTS: tuple[Part, ...] = get_args(Part)
"""The residual stream before a layer, between its attention and its MLP, and behind it; what attention and the MLP add
to it (behind a norm of their own where they have one); the heads' outputs side by side, before W_O."""


@dataclass(frozen=True)
class Site:
    """A place in the model where an activation of every position is."""

    part: Part
    layer: int


@dataclass
class Caught:
    """Activations of one forward by site."""

    values: dict[Site, Float[Tensor, "sequence position width"]] = field(default_factory=dict)


@dataclass(frozen=True)
class Replacement:
    """What some sequences of a batch get at one site."""

    rows: Int[Tensor, "patched"]
    """the sequences"""
    mask: Bool[Tensor, "patched position width"]
    """where; width may be 1"""
    values: Float[Tensor, "patched position width"]

    def into(self, hidden: Float[Tensor, "sequence position width"], base: Tensor | None = None) -> Tensor:
        """The activation with its replaced values, less ``base`` (of all sequences) where that is given."""
        rows, mask = self.rows.to(hidden.device), self.mask.to(hidden.device)
        values = self.values.to(hidden)
        out = hidden.clone()
        out[rows] = torch.where(mask, values if base is None else values - base[rows].to(hidden), hidden[rows])
        return out


@contextmanager
def caught(parts: Anatomy, sites: Collection[Site]) -> Iterator[Caught]:
    """Within it, a forward leaves its activations at the sites in what is yielded."""
    found = Caught()

    def keep(site: Site, hidden: Tensor, entering: Tensor | None) -> Tensor:
        if site in sites:
            value = hidden if entering is None else entering.to(hidden) + hidden
            found.values[site] = value.detach()
        return hidden

    with _hooked(parts, keep):
        yield found


@contextmanager
def replaced(parts: Anatomy, replacements: Mapping[Site, Replacement]) -> Iterator[None]:
    """Within it, the first forward has its activations at the sites replaced; what a generation adds is its own."""
    due = dict(replacements)

    def put(site: Site, hidden: Tensor, entering: Tensor | None) -> Tensor:
        one = due.pop(site, None)
        return hidden if one is None else one.into(hidden, entering)

    with _hooked(parts, put):
        yield
    assert not due, f"{next(iter(due))} was never passed"  # noqa: S101  (a bug, not bad input)


_See = Callable[[Site, Tensor, Tensor | None], Tensor]


@contextmanager
def _hooked(parts: Anatomy, see: _See) -> Iterator[None]:
    hooks = [hook for layer, block in enumerate(parts.blocks) for hook in _hooks(layer, block, see)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _hooks(layer: int, block: Block, see: _See) -> list[Any]:
    """``resid_mid`` is no module's input or output: it is entering + attention, so it is put there by attention's."""
    entering: list[Tensor] = []

    def before(part: Part) -> Callable[..., Any]:
        def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            hidden = see(Site(part, layer), hidden_in(args, kwargs), None)
            if part == "resid_pre":
                entering[:] = [hidden]
            return ((hidden, *args[1:]), kwargs) if args else (args, kwargs | {"hidden_states": hidden})

        return hook

    def behind(part: Part) -> Callable[..., Any]:
        def hook(module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
            hidden = see(Site(part, layer), hidden_out(output), None)
            if part == "attn":
                hidden = see(Site("resid_mid", layer), hidden, entering[0])
            return (hidden, *output[1:]) if isinstance(output, tuple) else hidden

        return hook

    return [
        block.module.register_forward_pre_hook(before("resid_pre"), with_kwargs=True),
        block.projection.register_forward_pre_hook(before("z"), with_kwargs=True),
        block.attention_out.register_forward_hook(behind("attn")),
        block.mlp_out.register_forward_hook(behind("mlp")),
        block.module.register_forward_hook(behind("resid_post")),
    ]


@torch.no_grad()
def has_middle(model: Any, parts: Anatomy) -> bool:
    """Whether the MLP reads what attention has written (in sequence), told by disturbing attention and looking."""
    seen: list[Tensor] = []

    def disturb(module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        return output + 1.0 + torch.arange(output.shape[-1], device=output.device, dtype=output.dtype) % 3

    def keep(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        seen.append(hidden_in(args, kwargs).clone())

    block = parts.blocks[0]
    watch = block.mlp.register_forward_pre_hook(keep, with_kwargs=True)
    ids = torch.zeros(1, 2, dtype=torch.long, device=model.device)
    try:
        model(input_ids=ids, use_cache=False, logits_to_keep=1)
        disturbed = block.attention_out.register_forward_hook(disturb)
        model(input_ids=ids, use_cache=False, logits_to_keep=1)
        disturbed.remove()
    finally:
        watch.remove()
    return not torch.equal(*seen)
