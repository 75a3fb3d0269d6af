"""How far a context moves what a model is about to say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from attnshift.data.batches import length_batches
from attnshift.data.prompts import ItemTokens
from attnshift.models.forward import Target, target_logits


@torch.no_grad()
def context_divergences(model: Any, tokens: Sequence[ItemTokens], token_budget: int) -> Float[np.ndarray, "item"]:
    """KL(p(next token | prompt) || p(next token | prompt without context)) of every item, in nats."""
    out = np.empty(len(tokens))
    longest = [1 + max(len(each.prompt), len(each.closed_book)) for each in tokens]
    for batch in length_batches(longest, token_budget):
        chosen = [tokens[i] for i in batch]
        told, asked = (_next_token(model, [getattr(t, name) for t in chosen]) for name in ("prompt", "closed_book"))
        out[batch] = (told.exp() * (told - asked)).sum(-1).clamp(min=0).cpu().numpy()  # rounding could go below
    return out


def _next_token(model: Any, prompts: Sequence[Any]) -> Float[Tensor, "prompt vocabulary"]:
    """Log-probabilities of what comes after each prompt."""
    logits, _ = target_logits(model, [Target.after(prompt, np.zeros(1, np.int32)) for prompt in prompts])
    return (logits if logits.dtype == torch.float64 else logits.float()).log_softmax(-1)
