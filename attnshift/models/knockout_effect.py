"""What forbidding the answer row to see a role does to the margin, head by head and layer by layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from attnshift.data.batches import length_batches, pad
from attnshift.data.roles import KEY_ROLES, PAD
from attnshift.models.attention import KNOCKOUT
from attnshift.models.contrast import Contrast, answer_margins
from attnshift.models.knockout import EVERY, Knockout
from attnshift.models.readings import KnockoutEffects


@dataclass(frozen=True)
class _Strike:
    """One item with one role out of sight of one head, or of all heads of a layer."""

    item: int
    layer: int
    head: int
    role: int


def knockout_effects(
    model: Any, contrasts: Sequence[Contrast], token_budget: int, by_head: bool = True
) -> KnockoutEffects:
    """Margin without a knock-out minus margin with it; ``model`` uses the capturing attention.

    Costs a forward of every item for each layer, each of its heads (``by_head``) and each role that the item has. They
    go through the model in full batches, items and knock-outs mixed.
    """
    config = model.config.get_text_config()
    layers, heads = int(config.num_hidden_layers), int(config.num_attention_heads)
    clean = np.empty(len(contrasts), np.float64)
    for batch in length_batches([len(c) + 1 for c in contrasts], token_budget):
        clean[batch] = _margins(model, [contrasts[i] for i in batch], None)
    effects = np.zeros((len(contrasts), layers, heads + 1, len(KEY_ROLES)), np.float32)
    strikes = [
        _Strike(item, layer, head, int(role))
        for item, contrast in enumerate(contrasts)
        for role in np.unique(contrast.roles)
        for layer in range(layers)
        for head in (EVERY, *(range(heads) if by_head else ()))
    ]
    for batch in length_batches([len(contrasts[s.item]) + 1 for s in strikes], token_budget):
        chosen = [strikes[i] for i in batch]
        struck = _margins(model, [contrasts[s.item] for s in chosen], _knockout(contrasts, chosen))
        for one, margin in zip(chosen, struck, strict=True):
            effects[one.item, one.layer, one.head, one.role] = clean[one.item] - margin
    return KnockoutEffects(effects[:, :, :-1] if by_head else None, effects[:, :, EVERY])


def knockout_forwards(contrasts: Sequence[Contrast], layers: int, heads: int, by_head: bool) -> int:
    """Sequences that `knockout_effects` puts through the model."""
    return sum(1 + len(np.unique(c.roles)) * layers * (1 + heads * by_head) for c in contrasts)


def _knockout(contrasts: Sequence[Contrast], strikes: Sequence[_Strike]) -> Knockout:
    codes = pad((np.append(contrasts[s.item].roles, PAD) for s in strikes), PAD)
    return Knockout(
        torch.tensor([contrasts[s.item].row for s in strikes]),
        torch.from_numpy(codes == np.array([s.role for s in strikes])[:, None]),
        torch.tensor([s.layer for s in strikes]),
        torch.tensor([s.head for s in strikes]),
    )


def _margins(model: Any, contrasts: Sequence[Contrast], knockout: Knockout | None) -> np.ndarray:
    with torch.no_grad():
        margins, _ = answer_margins(model, contrasts, None if knockout is None else {KNOCKOUT: knockout})
    return margins.double().cpu().numpy()
