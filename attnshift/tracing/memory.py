"""How much memory measuring a model takes, from its files alone, and how much there is."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from math import prod
from typing import Any

import torch
from torch import Tensor

from attnshift.checkpoints.checkpoint import Checkpoint
from attnshift.checkpoints.run import Run
from attnshift.models.configuration import read_config
from attnshift.models.placement import Placement
from attnshift.tracing.host import free_host_bytes

HELD = ("gradient_cross_product", "margin_push", "attention_push")
"""Needs that hold one more gradient of the trained parameters each."""

_ADAPTED = re.compile(r"^base_model\.model\.|\.(?:lora_|modules_to_save|hada_|lokr_|oft_|boft_|ia3_).*$|\.weight$")


def free_bytes(placement: Placement) -> int:
    """Memory that is free where the weights go, all their devices together."""
    if placement.device.type == "cuda":
        return sum(torch.cuda.mem_get_info(device)[0] for device in placement.devices)
    return free_host_bytes()


def gradient_copies(needs: Collection[str], accumulated: bool) -> dict[str, int]:
    """Gradients that are held at once, by the need that holds them.

    ``accumulated``: whether some group takes more than one batch, whose gradients then have to be added up. A group
    that fits one batch is streamed: each parameter's gradient is used and freed as the backward reaches it.
    """
    copies = {"group_gradient": 1} if accumulated and "group_gradient" in needs else {}
    copies |= {need: 1 for need in HELD if need in needs}
    pushes = sum(need.endswith("_push") for need in copies)
    return copies | ({"preconditioner": pushes} if "preconditioner" in needs else {})


def has_backward(needs: Collection[str]) -> bool:
    """Whether some need is a gradient's."""
    return any("gradient" in need or need.endswith("_push") for need in needs)


@dataclass(frozen=True)
class Footprint:
    """The sizes of a model that decide how much memory it takes."""

    parameters: int
    trained: int
    """parameters whose gradients are taken; at most, where only sampled digests are known"""
    width: int
    """bytes of an element"""
    layers: int
    hidden: int
    projected: int
    """elements of a token's query, key and value in one layer"""
    cached: int
    """elements of its key and value alone"""
    inner: int
    """elements inside a layer's MLP, of all the experts that a token goes through"""
    heads: int
    vocabulary: int
    quadratic: bool
    """whether attention keeps a row of scores per token and head: softcaps and learned sinks need the plain kernel"""

    @property
    def weights(self) -> int:
        """Bytes of the model."""
        return self.parameters * self.width

    @property
    def gradient(self) -> int:
        """Bytes of one gradient of the trained parameters: float32, or float64 for a float64 model."""
        return self.trained * max(4, self.width)

    def activations(self, needs: Collection[str], length: int) -> int:
        """Bytes per token of a batch, approximately; ``length`` is that of the longest sequence.

        Without gradients one layer's intermediate values: the residual stream, its norm and what attention and MLP
        add (4 hidden), a norm's float32 copy, query, key and value before and after their rotation, gate, up and their
        product (3 inner). With gradients every layer's saved ones: 2 norms with input, float32 copy and output
        (4 hidden and 2 float32), attention's input and output (2 hidden and twice query, key and value), and the MLP's
        gate, its activation, up and product (4 inner). Generation caches keys and values of every layer.
        """
        scores = self.heads * length * (2 * self.width + 4) if self.quadratic else 0
        layer = self.width * (4 * self.hidden + 2 * self.projected + 3 * self.inner) + 4 * self.hidden + scores
        if "generation" in needs:
            layer += self.width * self.cached * self.layers
        if not has_backward(needs):
            return layer
        saved = self.width * (6 * self.hidden + 2 * self.projected + 4 * self.inner) + 8 * self.hidden + scores
        return max(layer, saved * self.layers)

    def logits(self, needs: Collection[str]) -> int:
        """Bytes per row that goes through the unembedding: its logits, in float32, and their softmax.

        With gradients, those of the logits and of their float32 copy as well; for lenses at every layer, what was seen
        of the residual stream there.
        """
        stream = 6 * self.layers * self.hidden * self.width if "parametric_knowledge" in needs else 0
        return self.vocabulary * (self.width + 8 + (self.width + 4 if has_backward(needs) else 0)) + stream


def read_footprint(run: Run, checkpoints: Sequence[Checkpoint], dtype: torch.dtype | None) -> Footprint:
    """Sizes from file headers and configuration; reads no weights.

    Raises where one of them can't be read or says what no model has.
    """
    whole = next((c for c in checkpoints if c.kind == "full"), run.checkpoints[0])
    with whole.open() as tensors:
        sizes = {name: prod(tensors.shape(name)) for name in tensors.names}
        stored = tensors.dtype(tensors.names[0])
    return _footprint(
        read_config(whole.path).get_text_config(),
        sum(sizes.values()),
        _trained(run, checkpoints, sizes),
        (dtype or stored).itemsize,
    )


def held_footprint(model: Any, trained: Iterable[Tensor]) -> Footprint:
    """Sizes of a model in memory."""
    parameters = list(model.parameters())
    return _footprint(
        model.config.get_text_config(),
        sum(p.numel() for p in parameters),
        sum(p.numel() for p in trained),
        model.dtype.itemsize,
    )


def _footprint(config: Any, parameters: int, trained: int, width: int) -> Footprint:
    heads, hidden = int(config.num_attention_heads), int(config.hidden_size)
    head_dim = int(getattr(config, "head_dim", None) or hidden // heads)
    cached = 2 * head_dim * int(getattr(config, "num_key_value_heads", None) or heads)
    return Footprint(
        parameters=parameters,
        trained=trained,
        width=width,
        layers=int(config.num_hidden_layers),
        hidden=hidden,
        projected=heads * head_dim + cached,
        cached=cached,
        inner=_inner(config),
        heads=heads,
        vocabulary=int(config.vocab_size),
        quadratic=getattr(config, "attn_logit_softcapping", None) is not None or config.model_type == "gpt_oss",
    )


def _inner(config: Any) -> int:
    names = ("intermediate_size", "n_inner", "ffn_dim")
    dense = next((int(size) for name in names if (size := getattr(config, name, None))), 4 * int(config.hidden_size))
    experts = int(getattr(config, "num_experts_per_tok", None) or 1)
    return max(dense, experts * int(getattr(config, "moe_intermediate_size", None) or dense))


def _trained(run: Run, checkpoints: Sequence[Checkpoint], sizes: dict[str, int]) -> int:
    """As `Skeleton.trained_parameters` chooses, by the names in the files and without reading all bytes."""
    if patterns := run.manifest.trained:
        chosen = {name for name in sizes if any(fnmatchcase(name, pattern) for pattern in patterns)}
    elif adapter := next((c for c in run.checkpoints if c.kind == "adapter"), None):
        with adapter.open() as tensors:
            modules = {_ADAPTED.sub("", name) for name in tensors.names}
        chosen = {name for name in sizes if any(_same(name, f"{module}.weight") for module in modules)}
    else:
        first, last = (run.fingerprints[c.step].by_tensor for c in (run.checkpoints[0], run.checkpoints[-1]))
        chosen = {name for name in sizes if first.get(name) != last.get(name)}
    return sum(sizes[name] for name in chosen or sizes)


def _same(a: str, b: str) -> bool:
    """Whether two names differ by a prefix at most, as a base model's files may lack the head model's."""
    return f".{a}".endswith(f".{b}") or f".{b}".endswith(f".{a}")
