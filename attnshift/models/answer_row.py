"""The answer row taken apart: what every head, by role of what it reads, and every MLP brings to the answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from attnshift.data.batches import length_batches
from attnshift.errors import AttnshiftError
from attnshift.models.anatomy import Anatomy, anatomy
from attnshift.models.attention import CAPTURE
from attnshift.models.contrast import Contrast, answer_margins
from attnshift.models.forward import role_capture
from attnshift.models.norms import freeze, tolerance
from attnshift.models.readings import AnswerRow
from attnshift.models.stream import RowStream, watched_rows


def read_answer_rows(model: Any, contrasts: Sequence[Contrast], token_budget: int) -> AnswerRow:
    """Contributions and lenses of every item's answer row, in one forward; ``model`` uses the capturing attention.

    Raises AttnshiftError for a model whose stream can't be taken apart, and where the lens behind the last layer isn't
    the model's own answer.
    """
    parts, found = anatomy(model), None
    for batch in length_batches([len(c) + 1 for c in contrasts], token_budget):
        chosen = [contrasts[i] for i in batch]
        part = _read_batch(model, parts, chosen)
        found = found or AnswerRow.unknown(len(contrasts), part)
        found.put(batch, part)
    assert found is not None  # noqa: S101  (a caller without items has nothing to ask)
    return found


@dataclass(frozen=True)
class Contributions:
    """Inner products with one direction in the final residual stream, which sum to the stream's own."""

    heads: Float[Tensor, "batch layer head role"]
    mlp: Float[Tensor, "batch layer"]
    embedding: Float[Tensor, "batch"]
    """of the stream before the first layer: token and position embeddings"""
    bias: Float[Tensor, "batch"]
    """of the biases of the projections (and of norms behind them)"""


def contributions(
    parts: Anatomy, stream: RowStream, read: dict[int, Tensor], direction: Float[Tensor, "batch d"]
) -> Contributions:
    """What each writer to the stream has along ``direction`` at the watched rows.

    ``read`` is by layer what each head reads from each role (``batch head role d``). The way from a head's output to
    the stream is linear once the scale of a norm behind the projection is frozen, so its transpose is applied to the
    direction once per layer instead of the way itself to every head and role.
    """
    heads, bias = [], torch.zeros(len(direction), dtype=direction.dtype, device=direction.device)
    for layer, block in enumerate(parts.blocks):
        u = direction.to(stream.projected[layer].device)
        if block.attention_norm is not None:
            norm = freeze(block.attention_norm, stream.projected[layer])
            bias, u = bias + norm.constant(u).to(bias.device), norm.pulled(u)
        pulled, constant = _through(block.projection, stream.heads_out[layer], u)
        mine = read[layer].to(u.dtype)
        heads.append(torch.einsum("bhd,bhrd->bhr", pulled.unflatten(-1, (mine.shape[1], -1)), mine).to(bias.device))
        bias = bias + constant.to(bias.device)
    mlp = [_along(stream.mlp[layer], direction) for layer in range(len(parts.blocks))]
    return Contributions(torch.stack(heads, 1), torch.stack(mlp, 1), _along(stream.entering[0], direction), bias)


def _read_batch(model: Any, parts: Anatomy, chosen: Sequence[Contrast]) -> AnswerRow:
    rows = torch.tensor([c.row for c in chosen])
    codes = [np.append(c.roles, np.int8(0)) for c in chosen]  # behind the row: nothing that it sees
    capture = role_capture([c.target for c in chosen], codes, "last", model.device)
    capture.read = {}
    with torch.no_grad(), watched_rows(parts, rows) as stream:
        margin, logits = answer_margins(model, chosen, {CAPTURE: capture})
    read = {layer: value[:, :, 0] for layer, value in capture.read.items()}
    final = stream.leaving[len(parts.blocks) - 1].to(margin.device)
    readout = _Readout(parts, chosen, final, margin.dtype)
    norm = freeze(parts.final_norm, final)
    direction = norm.pulled(readout.towards)
    terms = contributions(parts, stream, read, direction)
    constant = norm.constant(readout.towards) + readout.constant
    sums = terms.heads.sum((1, 2, 3)) + terms.mlp.sum(1) + terms.embedding + terms.bias
    require_equal(sums + constant, readout.raw(norm(final)), logits, model, "the contributions don't sum")
    lens = [readout.margin(freeze(parts.final_norm, stream.leaving[i])(stream.leaving[i])) for i in stream.leaving]
    frozen = [readout.margin(norm(stream.leaving[i].to(final))) for i in stream.leaving]
    require_equal(lens[-1], margin, logits, model, "the lens behind the last layer isn't the model's own answer")
    sink = terms.heads.new_zeros((*terms.heads.shape[:3], 1))
    arrays = (torch.cat([terms.heads, sink], -1), terms.mlp, terms.embedding, terms.bias + constant)
    heads, mlp, embedding, bias = (each.float().cpu().numpy() for each in arrays)
    own, fixed = (torch.stack(each, 1).float().cpu().numpy() for each in (lens, frozen))
    return AnswerRow(heads, mlp, embedding, bias, own, fixed, margin.float().cpu().numpy())


class _Readout:
    """From the normed stream to the two answers' logits."""

    def __init__(self, parts: Anatomy, chosen: Sequence[Contrast], final: Tensor, dtype: torch.dtype) -> None:
        self.softcap, device = parts.softcap, final.device
        y = torch.zeros_like(final).requires_grad_()
        with torch.enable_grad():
            logits = parts.unembed(y)
        place = torch.arange(len(chosen), device=device)
        pairs = [torch.tensor([getattr(c, n) for c in chosen], device=device) for n in ("context", "parametric")]
        picked = [logits[place, tokens] for tokens in pairs]
        self.weights = [torch.autograd.grad(p.sum(), y, retain_graph=True)[0].to(dtype) for p in picked]
        self.offsets = [p.detach().to(dtype) for p in picked]
        self.towards, self.constant = self.weights[0] - self.weights[1], self.offsets[0] - self.offsets[1]

    def raw(self, normed: Float[Tensor, "batch d"]) -> Float[Tensor, "batch"]:
        """Difference of the two logits before a softcap."""
        return (normed * self.towards.to(normed)).sum(-1) + self.constant.to(normed)

    def margin(self, normed: Float[Tensor, "batch d"]) -> Float[Tensor, "batch"]:
        """Difference of the two logits as the model gives them."""
        pairs = zip(self.weights, self.offsets, strict=True)
        a, b = ((normed * w.to(normed)).sum(-1) + o.to(normed) for w, o in pairs)
        if self.softcap is not None:
            a, b = (self.softcap * torch.tanh(each / self.softcap) for each in (a, b))
        return (a - b).to(self.towards.device)


def _through(
    projection: nn.Module, heads_out: Float[Tensor, "batch width"], direction: Float[Tensor, "batch d"]
) -> tuple[Float[Tensor, "batch width"], Float[Tensor, "batch"]]:
    """The projection's transpose applied to directions, and its bias along them; adapters in place count."""
    z = torch.zeros_like(heads_out).requires_grad_()
    with torch.enable_grad():
        out = projection(z)
        along = (out.to(direction.dtype) * direction).sum(-1)
        pulled = torch.autograd.grad(along.sum(), z)[0]
    return pulled.to(direction.dtype), along.detach()


def _along(vectors: Float[Tensor, "batch d"], direction: Float[Tensor, "batch d"]) -> Float[Tensor, "batch"]:
    return (vectors.to(direction) * direction).sum(-1)


def require_equal(found: Tensor, expected: Tensor, logits: Tensor, model: Any, problem: str) -> None:
    """Compare differences of logits, to what rounding allows for logits of this size."""
    size = float(logits.abs().amax()) + 1.0
    apart = (found.to(expected) - expected).abs().amax()
    if not apart <= tolerance(model.dtype) * size:
        raise AttnshiftError(
            f"{type(model).__name__}: {problem}: {float(apart):.3g} nats apart",
            expected="logits that are the unembedding of the normed residual stream, softcapped at most",
            remedy="--dtype float32 if the model is in half precision; "
            "else leave attributions, lenses and parametric knowledge out",
        )
