"""One forward for everything: log-probabilities of targets, and attention from the row that predicts them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Int, Int32
from torch import Tensor
from torch.nn.functional import cross_entropy

from attnshift.data.batches import length_batches, pad
from attnshift.data.prompts import Tokens
from attnshift.data.roles import ANSWER, CONTEXT_ROLES, KEY_ROLES, PAD
from attnshift.errors import CheckpointError
from attnshift.models.attention import CAPTURE, Capture
from attnshift.models.readings import RoleAttention, TargetScores

Rows = Literal["last", "answer"]
"""Which rows attention is taken from: the last prompt token, or the mean over those that predict the answer."""


@dataclass(frozen=True)
class Target:
    """A token sequence whose tail, from ``start`` on, is to be predicted."""

    ids: Int32[np.ndarray, "position"]
    start: int

    def __len__(self) -> int:
        return len(self.ids)

    @classmethod
    def after(cls, prompt: Tokens, answer: Int32[np.ndarray, "answer_position"]) -> Target:
        """An answer behind a prompt, to be predicted."""
        return cls(np.concatenate([prompt.ids, answer]), len(prompt))

    @classmethod
    def of(cls, tokens: Tokens) -> Target:
        """An example's sequence, of which the answer's tokens are to be predicted."""
        return cls(tokens.ids, int(np.argmax(tokens.roles == ANSWER)))


def score_targets(
    model: Any,
    targets: Sequence[Target],
    token_budget: int,
    roles: Sequence[np.ndarray] | None = None,
    rows: Rows = "last",
) -> tuple[TargetScores, RoleAttention | None]:
    """Score every target; with ``roles`` (one code per token of each sequence) attention comes along.

    Right-padded batches without a padding mask: a causal row never sees what is behind it.
    ``model`` must use the capturing attention.
    """
    width = max(len(t) - t.start for t in targets)
    logprob = np.full((len(targets), width), np.nan, np.float64)
    greedy = np.ones((len(targets), width), np.bool_)
    attention: RoleAttention | None = None
    for batch in length_batches([len(t) for t in targets], token_budget):
        chosen = [targets[i] for i in batch]
        capture = None if roles is None else role_capture(chosen, [roles[i] for i in batch], rows, model.device)
        with torch.no_grad():
            logits, picked = target_logits(model, chosen, None if capture is None else {CAPTURE: capture})
        logprob[batch[picked.sequence], picked.position] = -_nats(logits, picked.token).cpu().double().numpy()
        greedy[batch[picked.sequence], picked.position] = (logits.argmax(-1) == picked.token).cpu().numpy()
        if capture is not None:
            part = _by_role(capture, chosen, rows, model.config.get_text_config().num_hidden_layers)
            attention = attention or _empty(len(targets), part)
            attention.mass[batch], attention.visible[batch] = part.mass, part.visible
    if np.isnan(logprob[:, 0]).any():
        raise _not_numbers("log-probabilities")
    return TargetScores(logprob, greedy), attention


def mean_target_loss(model: Any, targets: Sequence[Target], weight: float) -> Tensor:
    """``weight`` times the sum over targets of the mean loss over the target's tokens, with its graph."""
    lengths = torch.tensor([len(t) - t.start for t in targets], device=model.device)
    return -(target_logprobs(model, targets) / lengths).sum() * weight


def target_logprobs(model: Any, targets: Sequence[Target]) -> Float[Tensor, "target"]:
    """Log-probability of each target in nats, summed over its tokens, with its graph."""
    logits, picked = target_logits(model, targets)
    nats = _nats(logits, picked.token)
    place = torch.from_numpy(picked.sequence).to(nats.device)
    return nats.new_zeros(len(targets)).index_add(0, place, -nats)


def context_mass(
    model: Any, targets: Sequence[Target], roles: Sequence[np.ndarray], rows: Rows
) -> Float[Tensor, "target"]:
    """Attention mass on the context, mean over layers and heads, with its graph; the head sees one row."""
    capture = role_capture(targets, roles, rows, model.device)
    model(input_ids=_padded(model, targets), use_cache=False, logits_to_keep=1, **{CAPTURE: capture})
    mass, _, _ = capture.stacked(model.config.get_text_config().num_hidden_layers)
    by_role = torch.einsum("blhrs,br->bs", mass, _row_weights(capture, targets, rows)) / (mass.shape[1] * mass.shape[2])
    return by_role[:, [KEY_ROLES.index(role) for role in CONTEXT_ROLES]].sum(-1)


@dataclass(frozen=True)
class _Picked:
    """The target tokens of a batch, one after the other."""

    sequence: np.ndarray
    position: np.ndarray
    """within the target"""
    token: Int[Tensor, "token"]


def target_logits(
    model: Any, targets: Sequence[Target], extra: Mapping[str, Any] | None = None
) -> tuple[Float[Tensor, "token vocabulary"], _Picked]:
    """Logits of exactly the rows that predict target tokens: only those go through the unembedding.

    ``extra`` goes to the model as keywords: a Capture under CAPTURE, say. Raises CheckpointError where some aren't
    numbers; with a graph that is left to whoever takes the gradient.
    """
    ids = _padded(model, targets)
    sequence, position, rows = target_rows(targets)
    kept = np.unique(rows)
    output = model(input_ids=ids, use_cache=False, logits_to_keep=torch.from_numpy(kept), **(extra or {}))
    logits, wanted = output.logits.flatten(0, 1), sequence * len(kept) + np.searchsorted(kept, rows)
    if len(wanted) < len(logits):  # else these are all of them, in this order: no copy
        logits = logits.index_select(0, torch.from_numpy(wanted).to(logits.device))
    if not logits.requires_grad and logits.isnan().any():
        raise _not_numbers("logits")
    return logits, _Picked(sequence, position, ids[torch.from_numpy(sequence), torch.from_numpy(rows + 1)])


def target_rows(
    targets: Sequence[Target],
) -> tuple[Int[np.ndarray, "token"], Int[np.ndarray, "token"], Int[np.ndarray, "token"]]:
    """Of every target token, one target after the other: its sequence, its position in the target, its row.

    The row is the one that predicts it, right before it in the sequence.
    """
    lengths = [len(t) - t.start for t in targets]
    sequence = np.repeat(np.arange(len(targets)), lengths)
    position = np.concatenate([np.arange(n) for n in lengths])
    return sequence, position, np.array([t.start for t in targets])[sequence] + position - 1


def _padded(model: Any, targets: Sequence[Target]) -> Int[Tensor, "target position"]:
    return torch.from_numpy(pad((t.ids for t in targets), 0, dtype=np.int64)).to(model.device)


def _not_numbers(what: str) -> CheckpointError:
    return CheckpointError(
        f"the model's {what} are not numbers", expected="finite weights", remedy="an earlier checkpoint"
    )


def _nats(logits: Float[Tensor, "token vocabulary"], token: Int[Tensor, "token"]) -> Float[Tensor, "token"]:
    logits = logits if logits.dtype == torch.float64 else logits.float()
    return cross_entropy(logits, token, reduction="none")


def role_capture(targets: Sequence[Target], roles: Sequence[np.ndarray], rows: Rows, device: torch.device) -> Capture:
    """A capture of the rows that predict the targets (the first of each for ``last``), with a span per role."""
    codes = torch.from_numpy(pad(roles, PAD, dtype=np.int64))
    spans = torch.nn.functional.one_hot(codes, PAD + 1)[..., :PAD].mT.bool()
    count = 1 if rows == "last" else max(len(t) - t.start for t in targets)
    starts = torch.tensor([t.start - 1 for t in targets])[:, None]
    ends = torch.tensor([len(t) - 2 for t in targets])[:, None]
    return Capture(torch.minimum(starts + torch.arange(count), ends).to(device), spans.to(device))


def _by_role(capture: Capture, targets: Sequence[Target], rows: Rows, layers: int) -> RoleAttention:
    mass, sink, visible = capture.stacked(layers)
    mass = torch.cat([mass, sink[..., None]], -1)
    visible = torch.cat([visible, torch.zeros_like(visible[..., :1])], -1).to(mass.dtype)
    weight = _row_weights(capture, targets, rows)
    return RoleAttention(
        torch.einsum("blhrs,br->blhs", mass, weight).float().cpu().numpy(),
        torch.einsum("blrs,br->bls", visible, weight).float().cpu().numpy(),
    )


def _row_weights(capture: Capture, targets: Sequence[Target], rows: Rows) -> Float[Tensor, "target row"]:
    """The part that each captured row has in its target's mean; rows behind the target's end have none."""
    device, dtype = capture.mass[0].device, capture.mass[0].dtype
    lengths = torch.tensor([1 if rows == "last" else len(t) - t.start for t in targets], device=device)
    within = torch.arange(capture.rows.shape[1], device=device) < lengths[:, None]
    return within.to(dtype) / lengths[:, None]


def _empty(count: int, like: RoleAttention) -> RoleAttention:
    assert like.mass.shape[-1] == len(KEY_ROLES)  # noqa: S101  (a bug, not bad input)
    return RoleAttention(
        np.empty((count, *like.mass.shape[1:]), np.float32), np.empty((count, *like.visible.shape[1:]), np.float32)
    )
