"""Attention knock-out: a row that is forbidden to see some keys, in some heads of a layer."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from attnshift.models.rows import Scored, read_values, row_probabilities

EVERY = -1
"""Stands for every layer, or every head."""


@dataclass(frozen=True)
class Knockout:
    """Which keys one row of each sequence may not see, and where: each sequence of a batch has its own."""

    row: Int[Tensor, "batch"]
    """the query position that is forbidden to see them"""
    keys: Bool[Tensor, "batch position"]
    """the keys it may not see"""
    layer: Int[Tensor, "batch"]
    """in which layer; EVERY for all"""
    head: Int[Tensor, "batch"]
    """in which head; EVERY for all of the layer"""

    def applied(
        self,
        layer: int,
        output: Float[Tensor, "batch position head d"],
        scored: Scored,
        value: Float[Tensor, "batch kv_head position d"],
        mask: Tensor | None,
    ) -> Float[Tensor, "batch position head d"]:
        """A layer's attention output with the rows of this knock-out computed anew.

        The softmax is renormalised over the keys that are left (and the learned sink, where there is one); a head with
        none left reads nothing. Sequences whose knock-out is elsewhere keep their output as it is.
        """
        here = ((self.layer == layer) | (self.layer == EVERY)).nonzero().squeeze(-1)
        if not len(here):
            return output
        device = output.device
        chosen = here.to(device)
        if mask is not None and len(mask) > 1:
            mask = mask[chosen]
        rows, keys = self.row[here].to(device), self.keys[here].to(device)
        probabilities, _ = row_probabilities(scored.of(chosen), rows[:, None], mask, keys)
        read = read_values(probabilities[..., : value.shape[2]], value[chosen])[:, :, 0].to(output.dtype)
        heads = self.head[here].to(device)
        struck = (heads[:, None] == torch.arange(output.shape[2], device=device)) | (heads[:, None] == EVERY)
        output = output.clone()
        output[chosen, rows] = torch.where(struck[..., None], read, output[chosen, rows])
        return output
