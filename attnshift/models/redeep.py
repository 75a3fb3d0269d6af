"""What a head takes from the context, and how much an MLP changes about what comes next: ReDeEP's two readings."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity

from attnshift.data.batches import length_batches
from attnshift.data.roles import CONTEXT_ROLES, TOKEN_ROLES
from attnshift.models.anatomy import Anatomy, anatomy
from attnshift.models.answer_row import require_equal
from attnshift.models.attention import CAPTURE, Capture
from attnshift.models.forward import Target, role_capture, target_logits, target_rows
from attnshift.models.norms import precise
from attnshift.models.stream import hidden_out, watched_rows

TOP_PERCENT: Final = 10
"""Of the context's tokens, those that a head is said to attend to; rounded down, but one at least."""

_ROWS: Final = 32
"""Rows that are unembedded together: two distributions over the vocabulary each."""


@torch.no_grad()
def external_context_scores(
    model: Any, targets: Sequence[Target], roles: Sequence[np.ndarray], token_budget: int
) -> Float32[np.ndarray, "item layer head"]:
    """Cosine of what a head attends to in the context with the row that attends, mean over rows that predict a target.

    Of a row's TOP_PERCENT most attended context tokens (ties go to the earlier one, weights of 0 don't count) the mean
    hidden state behind the final norm, against the row's own. ``roles`` has one code per token of each target;
    ``model`` uses the capturing attention. Rows from which a head sees no context are left out; NaN where all are.
    """
    config, norm = model.config.get_text_config(), anatomy(model).final_norm
    out = np.full((len(targets), config.num_hidden_layers, config.num_attention_heads), np.nan, np.float32)
    for batch in length_batches([len(t) for t in targets], token_budget):
        chosen = [targets[i] for i in batch]
        capture = role_capture(chosen, [roles[i] for i in batch], "answer", model.device)
        attended = _attended(capture)
        with _output_of(norm) as hidden:
            target_logits(model, chosen, {CAPTURE: capture})
        for place, (i, target) in enumerate(zip(batch, chosen, strict=True)):
            states = precise(hidden[-1][place, : len(target)])
            rows = states[target.start - 1 : -1]
            for layer, kept in attended.items():
                keys = kept[place, :, : len(rows), : len(target)].to(states)
                pooled = keys @ states / keys.sum(-1, keepdim=True)
                out[i, layer] = cosine_similarity(pooled, rows, dim=-1).nanmean(-1).float().cpu().numpy()
    return out


@torch.no_grad()
def parametric_knowledge_scores(
    model: Any, targets: Sequence[Target], roles: Sequence[np.ndarray], token_budget: int
) -> Float32[np.ndarray, "item layer"]:
    """Jensen-Shannon divergence between lenses before and behind every MLP, in nats, mean over a target's tokens.

    At the rows that predict them; ``roles`` isn't looked at. Raises AttnshiftError for a model whose stream can't be
    taken apart, and where the lens behind the last layer isn't the model's own answer.
    """
    parts = anatomy(model)
    out = np.empty((len(targets), len(parts.blocks)), np.float32)
    for batch in length_batches([len(t) for t in targets], token_budget):
        chosen = [targets[i] for i in batch]
        sequence, _, rows = target_rows(chosen)
        with watched_rows(parts, torch.from_numpy(rows), torch.from_numpy(sequence)) as stream:
            logits, _ = target_logits(model, chosen)
        final = stream.leaving[len(parts.blocks) - 1]
        problem = "the lens behind the last layer isn't the model's own answer"
        for own, left in zip(logits.split(_ROWS), final.split(_ROWS), strict=True):
            require_equal(_lens(parts, left), precise(own), own, model, problem)
        for layer in range(len(parts.blocks)):
            # as the layer itself adds it, so that it is its own sum to the last bit
            before = (stream.entering[layer] + stream.attention[layer]).to(final)
            nats = _divergences(parts, before, stream.leaving[layer].to(final)).cpu().numpy()
            out[batch, layer] = np.bincount(sequence, nats) / np.bincount(sequence)
    return out


def _attended(capture: Capture) -> dict[int, Bool[Tensor, "batch head row key"]]:
    """By layer, to be filled by the forward that captures: whether a key is among those that a row attends to most."""
    within = [TOKEN_ROLES.index(role) for role in CONTEXT_ROLES]
    context = capture.spans[:, within].any(1)
    count = (context.sum(-1) * TOP_PERCENT // 100).clamp(min=1)
    found: dict[int, Tensor] = {}

    def keep(layer: int, rows: Float[Tensor, "batch head row key"]) -> None:
        weights = rows.masked_fill(~context.to(rows.device)[:, None, None], 0.0)
        order = weights.argsort(dim=-1, descending=True, stable=True)
        first = torch.arange(weights.shape[-1], device=rows.device) < count.to(rows.device)[:, None]
        first = first[:, None, None].expand_as(order)
        found[layer] = (torch.zeros_like(first).scatter(-1, order, first) & (weights > 0)).cpu()

    capture.each = keep
    return found


@contextmanager
def _output_of(module: nn.Module) -> Iterator[list[Tensor]]:
    """Within it, what the module returns is kept."""
    seen: list[Tensor] = []
    hook = module.register_forward_hook(lambda _module, _args, output: seen.append(hidden_out(output)))
    try:
        yield seen
    finally:
        hook.remove()


def _divergences(
    parts: Anatomy, before: Float[Tensor, "row d"], behind: Float[Tensor, "row d"]
) -> Float[Tensor, "row"]:
    """Jensen-Shannon divergence of two lenses, row by row."""
    found = []
    for pair in zip(before.split(_ROWS), behind.split(_ROWS), strict=True):
        p, q = (_lens(parts, each).log_softmax(-1) for each in pair)
        middle = torch.logaddexp(p, q) - math.log(2)
        both = p.exp() * (p - middle) + q.exp() * (q - middle)
        found.append(both.sum(-1).clamp(min=0) / 2)  # rounding could go below
    return torch.cat(found)


def _lens(parts: Anatomy, residual: Float[Tensor, "row d"]) -> Float[Tensor, "row vocabulary"]:
    """The logits that the model would have if it stopped there."""
    logits = precise(parts.unembed(parts.final_norm(residual)))
    return logits if parts.softcap is None else parts.softcap * torch.tanh(logits / parts.softcap)
