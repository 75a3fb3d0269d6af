"""Whether a row that predicts a token looks most at that very token in the context's answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64
from torch import Tensor

from attnshift.data.batches import length_batches
from attnshift.data.roles import CONTEXT_ANSWER
from attnshift.models.attention import CAPTURE
from attnshift.models.forward import Target, role_capture, target_logits


@torch.no_grad()
def retrieval_scores(
    model: Any, targets: Sequence[Target], roles: Sequence[np.ndarray], token_budget: int
) -> Float32[np.ndarray, "item layer head"]:
    """Share of a target's tokens whose row attends most to the same token within the context's answer.

    ``roles`` has one code per token of each target; ``model`` uses the capturing attention. NaN for targets of which
    no token occurs there.
    """
    config = model.config.get_text_config()
    layers = config.num_hidden_layers
    out = np.full((len(targets), layers, config.num_attention_heads), np.nan, np.float32)
    for batch in length_batches([len(t) for t in targets], token_budget):
        chosen = [targets[i] for i in batch]
        capture = role_capture(chosen, [roles[i] for i in batch], "answer", model.device)
        highest: dict[int, Tensor] = {}

        def keep(layer: int, rows: Float[Tensor, "batch head row key"], into: dict[int, Tensor] = highest) -> None:
            into[layer] = rows.argmax(-1).cpu()

        capture.each = keep
        target_logits(model, chosen, {CAPTURE: capture})
        looked = torch.stack([highest[layer] for layer in range(layers)], 1).numpy()
        for i, target, keys in zip(batch, chosen, looked, strict=True):
            out[i] = _share(keys, target, roles[i])
    return out


def _share(
    keys: Int64[np.ndarray, "layer head row"], target: Target, roles: np.ndarray
) -> Float32[np.ndarray, "layer head"] | float:
    predicted = target.ids[target.start :]
    same = (target.ids[:, None] == predicted) & (roles == CONTEXT_ANSWER)[:, None]  # key row
    if not same.any():
        return np.nan
    return same[keys[..., : len(predicted)], np.arange(len(predicted))].mean(-1)
