"""The attention of single query rows, as the layer itself computes it: its scaling, mask, softcap and learned sinks."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Scored:
    """What a layer scores keys with."""

    query: Float[Tensor, "batch head position d"]
    key: Float[Tensor, "batch kv_head position d"]
    scaling: float | None = None
    softcap: float | None = None
    sinks: Tensor | None = None

    def of(self, sequences: Int[Tensor, "chosen"]) -> Scored:
        """The same of some of the batch's sequences."""
        return Scored(self.query[sequences], self.key[sequences], self.scaling, self.softcap, self.sinks)


def row_probabilities(
    scored: Scored,
    rows: Int[Tensor, "batch row"],
    mask: Tensor | None,
    forbidden: Bool[Tensor, "batch position"] | None = None,
) -> tuple[Float[Tensor, "batch head row key"], Tensor]:
    """Softmax of some rows over all keys, in float32 at least; a learned sink is one more key at the end.

    ``forbidden`` keys get nothing and the rest is renormalised; where nothing is left, all is 0. The second result is
    what the mask adds to the scores, lowest where a key isn't seen.
    """
    query, key = scored.query, scored.key
    batch, heads, _, width = query.shape
    kv_heads, count = key.shape[1], rows.shape[1]
    picked = query.gather(2, rows[:, None, :, None].expand(batch, heads, count, width))
    # heads that share a key head become rows of it: no copy of the keys per head
    scores = picked.reshape(batch, kv_heads, heads // kv_heads * count, width) @ key.transpose(2, 3)
    scores = scores.view(batch, heads, count, key.shape[2])
    scores = scores if scores.dtype == torch.float64 else scores.float()
    scores = scores * (width**-0.5 if scored.scaling is None else scored.scaling)
    if scored.softcap is not None:
        scores = torch.tanh(scores / scored.softcap) * scored.softcap
    bias = _row_bias(mask, rows, query, key)
    scores = scores + bias
    if forbidden is not None:
        scores = scores.masked_fill(forbidden[:, None, None], float("-inf"))
    if (sinks := scored.sinks) is not None:
        scores = torch.cat([scores, sinks.to(scores.dtype).view(1, -1, 1, 1).expand(batch, heads, count, 1)], -1)
    probabilities = scores.softmax(-1)
    if forbidden is not None:  # a mask of finite numbers would share a row without a seen key out among the unseen
        unseen = bias <= torch.finfo(query.dtype).min / 2
        probabilities = probabilities.nan_to_num(0.0)
        seen = probabilities[..., : key.shape[2]].masked_fill(unseen, 0.0)
        probabilities = torch.cat([seen, probabilities[..., key.shape[2] :]], -1)
    return probabilities, bias


def read_values(
    weights: Float[Tensor, "batch head row key"], value: Float[Tensor, "batch kv_head key d"]
) -> Float[Tensor, "batch head row d"]:
    """What heads read from the values with these weights; heads that share a value head need no copy of it."""
    batch, heads, count, length = weights.shape
    kv_heads = value.shape[1]
    shared = weights.reshape(batch, kv_heads, heads // kv_heads * count, length)
    return (shared @ value.to(weights.dtype)).view(batch, heads, count, value.shape[3])


def _row_bias(
    mask: Tensor | None, rows: Int[Tensor, "batch row"], query: Tensor, key: Tensor
) -> Float[Tensor, "batch head row key"]:
    """What the layer's mask adds to the rows' scores; without a mask the layer is causal."""
    dtype = torch.float64 if query.dtype == torch.float64 else torch.float32
    if mask is None:
        past = key.shape[2] - query.shape[2]
        seen = torch.arange(key.shape[2], device=query.device) <= rows[:, None, :, None] + past
    else:
        mask = mask.expand(len(rows), -1, -1, -1)[..., : key.shape[2]]
        picked = mask.gather(2, rows[:, None, :, None].expand(-1, mask.shape[1], -1, mask.shape[3]))
        if picked.dtype != torch.bool:
            return picked.to(dtype)
        seen = picked
    return torch.zeros(seen.shape, dtype=dtype, device=seen.device).masked_fill_(~seen, float("-inf"))
