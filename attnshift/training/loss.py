"""The loss that finetuning takes: cross-entropy on the answer's tokens, and on nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from attnshift.data.batches import pad
from attnshift.models.forward import Target

IGNORED: Final = -100
"""label of a token without a loss"""


def answer_loss(
    model: Any,
    ids: Int[Tensor, "row position"],
    labels: Int[Tensor, "row position"],
    weights: Float[Tensor, "row"] | None = None,
    count: Tensor | int | None = None,
) -> Float[Tensor, ""]:
    """Mean cross-entropy in nats over the labelled tokens; only rows that predict one go through the unembedding.

    Parameters
    ----------
    model
        A transformers causal LM; causal, so that padding on the right needs no mask.
    ids, labels
        Of the same shape, not shifted; labels are IGNORED where there is no loss.
    weights
        Of the examples: each token's loss is multiplied by its example's weight. The divisor stays the number of
        labelled tokens, so weights whose mean is 1 keep the size of a step.
    count
        Labelled tokens to divide by, where a batch comes in several pieces; default: those that are here.
    """
    wanted = labels[:, 1:] != IGNORED
    kept = wanted.any(0).nonzero()[:, 0]
    logits = model(input_ids=ids[:, :-1], use_cache=False, logits_to_keep=kept).logits
    # Batches of one layout need no copy of their logits.
    chosen = logits.flatten(0, 1) if bool(wanted[:, kept].all()) else logits[wanted[:, kept]]
    chosen = chosen if chosen.dtype == torch.float64 else chosen.float()
    tokens = labels[:, 1:][wanted]
    if weights is None and count is None:
        return F.cross_entropy(chosen, tokens)
    nats = F.cross_entropy(chosen, tokens, reduction="none")
    if weights is not None:
        nats = nats * weights.to(nats.dtype).repeat_interleave(wanted.sum(1))
    return nats.sum() / (len(tokens) if count is None else count)


def padded(targets: Iterable[Target]) -> tuple[Int[np.ndarray, "row position"], Int[np.ndarray, "row position"]]:
    """Ids and labels of some sequences, padded on the right: the loss is on what each target predicts."""
    rows: Sequence[Target] = list(targets)
    ids = pad((row.ids for row in rows), 0, dtype=np.int64)
    labels = np.full(ids.shape, IGNORED)
    for label, row in zip(labels, rows, strict=True):
        label[row.start : len(row)] = row.ids[row.start :]
    return ids, labels
