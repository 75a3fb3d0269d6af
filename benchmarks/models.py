"""Random Llamas to measure with: no download, the same weights in every run."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True)
class Shape:
    """The numbers that decide what a model costs."""

    layers: int
    width: int
    heads: int
    kv_heads: int
    intermediate: int
    vocabulary: int
    dtype: torch.dtype = torch.float32

    @property
    def parameters(self) -> int:
        """How many numbers the model holds, norms aside."""
        attention = (2 + 2 * self.kv_heads / self.heads) * self.width**2
        return int(self.layers * (attention + 3 * self.width * self.intermediate) + 2 * self.vocabulary * self.width)

    def pattern_bytes(self, length: int) -> int:
        """One layer's attention pattern of every row, all heads, batch 1."""
        return self.heads * length**2 * self.dtype.itemsize


STANDARD = Shape(layers=6, width=512, heads=8, kv_heads=8, intermediate=1376, vocabulary=32_000)
MEDIUM = Shape(layers=4, width=256, heads=8, kv_heads=8, intermediate=688, vocabulary=8_000)
QUICK = Shape(layers=2, width=32, heads=4, kv_heads=4, intermediate=48, vocabulary=200)
EIGHT_B = Shape(
    layers=32, width=4096, heads=32, kv_heads=8, intermediate=14_336, vocabulary=128_256, dtype=torch.bfloat16
)


def random_llama(shape: Shape, device: torch.device, seed: int = 0) -> Any:
    """A Llama with random weights, built on its device, with transformers' SDPA attention."""
    from transformers import AutoModelForCausalLM, LlamaConfig

    config = LlamaConfig(
        hidden_size=shape.width,
        intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        vocab_size=shape.vocabulary,
        max_position_embeddings=32_768,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=None,
    )
    torch.manual_seed(seed)
    with torch.device(device):
        model = AutoModelForCausalLM.from_config(config, dtype=shape.dtype, attn_implementation="sdpa")
    return model.to(device).eval()


def twin(model: Any, attention: str) -> Any:
    """A second model on the same tensors, with an attention implementation of its own."""
    shared = {id(tensor): tensor for tensor in [*model.parameters(), *model.buffers()]}
    other = copy.deepcopy(model, memo=shared)
    other.set_attn_implementation(attention)
    return other
