"""How much of what a row looks at lies in the context, and how much in what was just written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32

from attnshift.data.batches import length_batches
from attnshift.data.roles import ANSWER, CONTEXT_ROLES, TOKEN_ROLES
from attnshift.models.attention import CAPTURE
from attnshift.models.forward import Target, role_capture, target_logits


@torch.no_grad()
def lookback_ratios(
    model: Any, targets: Sequence[Target], roles: Sequence[np.ndarray], token_budget: int
) -> Float32[np.ndarray, "item layer head"]:
    """Lookback ratio, mean over the rows that predict a target's second token and those after it.

    ``roles`` has one code per token of each target; ``model`` uses the capturing attention. NaN for targets of one
    token: nothing was written before it.
    """
    config = model.config.get_text_config()
    out = np.full((len(targets), config.num_hidden_layers, config.num_attention_heads), np.nan, np.float32)
    within = [TOKEN_ROLES.index(role) for role in CONTEXT_ROLES]
    for batch in length_batches([len(t) for t in targets], token_budget):
        chosen = [targets[i] for i in batch]
        capture = role_capture(chosen, [roles[i] for i in batch], "answer", model.device)
        target_logits(model, chosen, {CAPTURE: capture})
        mass, _, _ = capture.stacked(config.num_hidden_layers)
        for i, target, seen, spans in zip(batch, chosen, mass, capture.spans, strict=True):
            written = torch.arange(1, len(target) - target.start, device=mass.device)
            after = seen[:, :, 1 : len(written) + 1]  # layer head row role
            context = after[..., within].sum(-1) / spans[within].sum().to(mass.device)
            new = after[..., ANSWER] / written
            out[i] = (context / (context + new)).mean(-1).cpu().numpy()
    return out
