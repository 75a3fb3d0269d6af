"""The parameters of a model, partitioned by what they do."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from torch import Tensor, nn

from attnshift.errors import AttnshiftError

LAYER_PARTS = ("q", "k", "v", "o", "mlp", "norm", "other")

Slice = Callable[[Tensor], Tensor]

_LAYER = re.compile(r"(?:^|\.)(?:layers|h|blocks|block)\.(\d+)\.(.+)$")
# In this order: the first that matches the name inside a layer. q_norm and k_norm are norms, routers are MLP,
# a learned sink is the logit of a key that isn't there.
_KINDS: tuple[tuple[str, str], ...] = (
    (r"norm|(?:^|\.)ln_", "norm"),
    (r"mlp|feed_forward|experts|router|gate|(?:^|\.)fc[12]?\b", "mlp"),
    (r"q_proj|\.wq\b", "q"),
    (r"k_proj|\.wk\b|sinks", "k"),
    (r"v_proj|\.wv\b", "v"),
    (r"o_proj|out_proj|\.wo\b|(?:attn|attention|self_attention)\.(?:c_proj|dense)\b", "o"),
)
_FUSED = re.compile(r"query_key_value|qkv_proj|c_attn|Wqkv")


@dataclass(frozen=True)
class Piece:
    """A part's share of one parameter."""

    part: str
    of: Slice


def parameter_pieces(model: Any, parameters: Mapping[str, Tensor] | None = None) -> dict[str, tuple[Piece, ...]]:
    """For every parameter, the parts that it consists of; squares over parts sum to the whole squared.

    Fused query-key-value matrices are split, tied embeddings count as ``embed``, biases go with their
    matrix. A parameter of a layer that fits nothing is ``N.other``.

    Parameters
    ----------
    model
        A transformers causal LM.
    parameters
        Those to place, by their name in the plain model; all of the model's by default.
    """
    embed, unembed = model.get_input_embeddings(), model.get_output_embeddings()
    owned = {id(p): "unembed" for p in _parameters(unembed)} | {id(p): "embed" for p in _parameters(embed)}
    named = dict(model.named_parameters()) if parameters is None else parameters
    return {
        name: (Piece(owned[id(p)], _whole),) if id(p) in owned else _pieces_by_name(name, p, model)
        for name, p in named.items()
    }


def part_order(parts: Mapping[str, object] | set[str]) -> list[str]:
    """The house order: embed, position, 0.q, 0.k, …, final_norm, unembed."""

    def key(part: str) -> tuple[int, int, int]:
        layer, _, kind = part.rpartition(".")
        if layer:
            return 1, int(layer), LAYER_PARTS.index(kind)
        return {"embed": 0, "position": 0, "final_norm": 2, "unembed": 2, "other": 3}[part], len(part), 0

    return sorted(parts, key=key)


def _parameters(module: nn.Module | None) -> list[nn.Parameter]:
    return [] if module is None else list(module.parameters())


def _pieces_by_name(name: str, parameter: Tensor, model: Any) -> tuple[Piece, ...]:
    in_layer = _LAYER.search(name)
    if in_layer is None:
        kind = "final_norm" if re.search(r"norm|ln_f", name) else "position" if re.search(r"wpe|pos", name) else "other"
        return (Piece(kind, _whole),)
    layer, rest = in_layer.groups()
    if _FUSED.search(rest):
        slices = _fused_slices(rest, parameter, model)
        return tuple(Piece(f"{layer}.{kind}", cut) for kind, cut in zip("qkv", slices, strict=True))
    kind = next((kind for pattern, kind in _KINDS if re.search(pattern, rest)), "other")
    return (Piece(f"{layer}.{kind}", _whole),)


def _fused_slices(name: str, parameter: Tensor, model: Any) -> tuple[Slice, Slice, Slice]:
    config = model.config.get_text_config()
    heads = config.num_attention_heads
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // heads
    if "query_key_value" in name and config.model_type == "gpt_neox":  # rows: head by head its q, k, v
        return tuple(_interleaved(i, head_dim) for i in range(3))  # type: ignore[return-value]
    if "qkv_proj" in name:  # rows: all q, all k, all v, with fewer key heads
        keys = (getattr(config, "num_key_value_heads", None) or heads) * head_dim
        bounds = [0, heads * head_dim, heads * head_dim + keys, heads * head_dim + 2 * keys]
        return tuple(_rows(a, b) for a, b in pairwise(bounds))  # type: ignore[return-value]
    if "c_attn" in name and config.model_type == "gpt2":  # Conv1D: the outputs are the last axis
        width = parameter.shape[-1] // 3
        return tuple(_columns(i * width, (i + 1) * width) for i in range(3))  # type: ignore[return-value]
    raise AttnshiftError(
        f"{name}: how {config.model_type} fuses q, k and v is not known here",
        expected="gpt_neox, gpt2, or a model with qkv_proj or separate projections",
        remedy="leave gradient_norm_by_part out with --measures",
    )


def _whole(tensor: Tensor) -> Tensor:
    return tensor


def _rows(start: int, end: int) -> Slice:
    return lambda tensor: tensor[start:end]


def _columns(start: int, end: int) -> Slice:
    return lambda tensor: tensor[..., start:end]


def _interleaved(index: int, head_dim: int) -> Slice:
    return lambda tensor: tensor.unflatten(0, (-1, 3, head_dim))[:, index]
