"""Where a transformers model writes to its residual stream, found by structure for every family."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import nn

from attnshift.errors import AttnshiftError

_ATTENTION = re.compile(r"self_attn|attn|attention|self_attention")
_PROJECTION = re.compile(r"o_proj|out_proj|dense|c_proj|wo")
_MLP = re.compile(r"mlp|feed_forward|block_sparse_moe|ffn|moe")
_FINAL_NORM = re.compile(r".*(?:norm|ln_f).*")
# Norms between what a layer computes and the stream, by the one whose name gives them away: elsewhere
# post_attention_layernorm is the norm before the MLP.
_POST_NORMS = (
    ("post_feedforward_layernorm", "post_attention_layernorm"),
    ("post_mlp_layernorm", "post_self_attn_layernorm"),
)


@dataclass(frozen=True)
class Block:
    """One layer: what it computes and through what that reaches the residual stream."""

    module: nn.Module
    projection: nn.Module
    """from the heads' outputs, side by side, to the stream"""
    attention_norm: nn.Module | None
    """a norm behind the projection (Gemma 2, OLMo 2)"""
    mlp: nn.Module
    mlp_norm: nn.Module | None

    @property
    def attention_out(self) -> nn.Module:
        """The module whose output attention adds to the stream."""
        return self.attention_norm or self.projection

    @property
    def mlp_out(self) -> nn.Module:
        """The module whose output the MLP adds to the stream."""
        return self.mlp_norm or self.mlp


@dataclass(frozen=True)
class Anatomy:
    """A model's stream from the first layer to the logits."""

    blocks: tuple[Block, ...]
    final_norm: nn.Module
    unembed: nn.Module
    heads: int
    softcap: float | None
    """of the final logits (Gemma 2)"""


def anatomy(model: Any) -> Anatomy:
    """Find the parts of a causal LM; raises AttnshiftError for a model that is built another way."""
    config = model.config.get_text_config()
    owner, layers = _layers(model, config)
    norms = [child for name, child in owner.named_children() if _FINAL_NORM.fullmatch(name)]
    unembed = model.get_output_embeddings()
    if not norms or unembed is None:
        raise _unknown(model, "final norm" if not norms else "unembedding")
    return Anatomy(
        tuple(_block(model, layer) for layer in layers),
        norms[-1],
        unembed,
        int(config.num_attention_heads),
        getattr(config, "final_logit_softcapping", None),
    )


def _layers(model: Any, config: Any) -> tuple[nn.Module, nn.ModuleList]:
    """The list of layers and the module that owns it."""
    for module in model.modules():
        for child in module.children():
            if isinstance(child, nn.ModuleList) and len(child) == config.num_hidden_layers:
                return module, child
    raise _unknown(model, "list of layers")


def _block(model: Any, layer: nn.Module) -> Block:
    children = dict(layer.named_children())
    attention = next(_named(layer, _ATTENTION), None)
    mlp = next(_named(layer, _MLP), None)
    projection = None if attention is None else next(_named(attention, _PROJECTION), None)
    if projection is None or mlp is None:
        raise _unknown(model, "MLP" if mlp is None else "projection of the heads' outputs")
    after_mlp, after_attention = next((names for names in _POST_NORMS if names[0] in children), ("", ""))
    return Block(layer, projection, children.get(after_attention), mlp, children.get(after_mlp))


def _named(module: nn.Module, pattern: re.Pattern[str]) -> Iterator[nn.Module]:
    return (child for name, child in module.named_children() if pattern.fullmatch(name))


def _unknown(model: Any, part: str) -> AttnshiftError:
    return AttnshiftError(
        f"{type(model).__name__}: its {part} is not where other models have theirs",
        expected="a decoder of layers with one attention and one MLP each, such as Llama, GPT-NeoX or Gemma 2",
        remedy="leave attributions, lenses, ReDeEP's scores and patches out for this model",
    )
