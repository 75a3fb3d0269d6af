"""Attention rows, captured inside the attention call of any transformers model.

The layer's output is computed as ever (SDPA); beside it, the softmax of only the asked-for query rows is
taken and summed over spans of keys: O(rows x keys), never a keys x keys matrix. The rows see exactly what
the layer sees: its scaling, its mask (causal, sliding window, padding), softcap and learned sinks.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

from attnshift.errors import AttnshiftError
from attnshift.models.knockout import Knockout
from attnshift.models.rows import Scored, read_values, row_probabilities

IMPLEMENTATION = "attnshift"
"""The name under which transformers knows this attention."""

CAPTURE = "attnshift_capture"
"""The keyword that carries a Capture through ``model(...)`` to every layer: no global, no hook."""

KNOCKOUT = "attnshift_knockout"
"""The keyword that carries a Knockout in the same way."""


@dataclass
class Capture:
    """What to capture in one forward, and what was."""

    rows: Int[Tensor, "batch row"]
    """query positions"""
    spans: Bool[Tensor, "batch span position"]
    """key positions to sum over"""
    mass: dict[int, Float[Tensor, "batch head row span"]] = field(default_factory=dict)
    """by layer: the attention probability on each span"""
    sink: dict[int, Float[Tensor, "batch head row"]] = field(default_factory=dict)
    """by layer: the probability on the learned sink, for models that have one"""
    visible: dict[int, Int[Tensor, "batch row span"]] = field(default_factory=dict)
    """by layer: how many keys of each span the row may look at (a sliding window hides some)"""
    each: Callable[[int, Float[Tensor, "batch head row key"]], None] | None = None
    """called with every layer and its rows, sinks left out, as they come: nothing of them is kept"""
    read: dict[int, Float[Tensor, "batch head row span d"]] | None = None
    """by layer: what each head reads from each span's values, summed with their probabilities; None: not asked for"""

    def stacked(self, layers: int) -> tuple[Tensor, Tensor, Tensor]:
        """Mass, sink and visible counts with a layer axis after the batch; raises if a layer is missing."""
        missing = sorted(set(range(layers)) - set(self.mass))
        if missing:
            raise AttnshiftError(
                f"the attention of layer {missing[0]} was not seen ({len(missing)} of {layers} layers)",
                expected="a model whose attention goes through transformers' attention interface",
                remedy="a recent transformers version of this model, without remote code",
            )
        mass, sink, visible = (
            torch.stack([by_layer[layer].to(by_layer[0].device) for layer in range(layers)], 1)
            for by_layer in (self.mass, self.sink, self.visible)
        )
        return mass, sink, visible


@contextmanager
def captured_attention(model: Any) -> Iterator[None]:
    """Within it, ``model`` uses the capturing attention; afterwards whatever it used before."""
    before = model.config._attn_implementation
    model.set_attn_implementation(IMPLEMENTATION)
    try:
        yield
    finally:
        model.set_attn_implementation(before)


def attention_mass(
    model: Any,
    input_ids: Int[Tensor, "batch position"],
    spans: Bool[Tensor, "batch span position"],
    rows: Int[Tensor, "batch row"] | None = None,
    attention_mask: Int[Tensor, "batch position"] | None = None,
) -> Float[Tensor, "batch layer head row span"]:
    """Attention probability that query rows put on spans of tokens, for any HF causal LM in memory.

    Costs one ordinary forward, in memory linear in the context. The model is left as it was (attention
    implementation, train mode); no gradient is kept.

    Parameters
    ----------
    model
        A transformers causal LM (or base model) whose attention goes through the attention interface.
    input_ids
        Token ids, padded on either side.
    spans
        One mask of key positions per span. Spans may overlap; padded keys are never attended to.
    rows
        Query positions; by default the last real token of each sequence.
    attention_mask
        1 for real tokens, 0 for padding; by default nothing is padding.

    Returns
    -------
    Probabilities in float32 (float64 for a float64 model): the softmax over the keys that the layer's own
    mask leaves visible, learned sinks included in its denominator, summed over each span.
    """
    if spans.ndim != 3 or spans.shape[0] != input_ids.shape[0] or spans.shape[2] != input_ids.shape[1]:
        raise AttnshiftError(
            f"spans have the shape {tuple(spans.shape)}, input_ids {tuple(input_ids.shape)}",
            expected="spans of the shape (batch, span, position)",
        )
    if rows is None:
        rows = last_rows(input_ids, attention_mask)
    inputs: dict[str, Tensor] = {"input_ids": input_ids}
    if attention_mask is not None:
        inputs |= {"attention_mask": attention_mask, "position_ids": (attention_mask.cumsum(-1) - 1).clamp(min=0)}
    capture = Capture(rows, spans)
    training = model.training
    model.eval()
    try:
        with captured_attention(model), torch.no_grad():
            model(**inputs, use_cache=False, **{CAPTURE: capture})
    finally:
        model.train(training)
    return capture.stacked(model.config.get_text_config().num_hidden_layers)[0]


def last_rows(
    input_ids: Int[Tensor, "batch position"], attention_mask: Int[Tensor, "batch position"] | None
) -> Int[Tensor, "batch 1"]:
    """The position of the last real token of each sequence."""
    length = input_ids.shape[1]
    if attention_mask is None:
        return input_ids.new_full((len(input_ids), 1), length - 1)
    return length - 1 - attention_mask.flip(-1).long().argmax(-1, keepdim=True)


def _attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **kwargs: Any,
) -> tuple[Tensor, Tensor | None]:
    """transformers' attention function: the output as ever, and the captured rows on the side."""
    capture: Capture | None = kwargs.pop(CAPTURE, None)
    knockout: Knockout | None = kwargs.pop(KNOCKOUT, None)
    softcap, sinks = kwargs.get("softcap"), kwargs.get("s_aux")
    if softcap is None and sinks is None:
        output, weights = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **kwargs
        )
    else:  # SDPA raises for softcaps and ignores sinks: the model file's own kernel knows them
        eager = sys.modules[type(module).__module__].eager_attention_forward
        mask = _additive(attention_mask, query, key)
        output, weights = eager(module, query, key, value, mask, scaling=scaling, dropout=dropout, **kwargs)
    layer = cast(int, module.layer_idx)
    if capture is not None:
        _capture_rows(capture, layer, Scored(query, key, scaling, softcap, sinks), value, attention_mask)
    if knockout is not None:
        output = knockout.applied(layer, output, Scored(query, key, scaling, softcap, sinks), value, attention_mask)
    return output, weights


def _capture_rows(
    capture: Capture,
    layer: int,
    scored: Scored,
    value: Float[Tensor, "batch kv_head position d"],
    attention_mask: Tensor | None,
) -> None:
    rows, spans = capture.rows.to(value.device), capture.spans.to(value.device)
    probabilities, bias = row_probabilities(scored, rows, attention_mask)
    length = value.shape[2]
    keys = probabilities[..., :length]
    capture.mass[layer] = torch.einsum("bhrk,bsk->bhrs", keys, spans.to(keys.dtype))
    capture.sink[layer] = probabilities[..., length:].sum(-1)
    seen = (bias > torch.finfo(value.dtype).min / 2).any(1)
    capture.visible[layer] = (seen[:, :, None] & spans[:, None]).sum(-1)  # GPUs have no product of integer matrices
    if capture.each is not None:
        capture.each(layer, keys)
    if capture.read is not None:
        weights = keys[:, :, :, None] * spans.to(keys.dtype)[:, None, None]
        capture.read[layer] = read_values(weights.flatten(2, 3), value).unflatten(2, (-1, spans.shape[1]))


def _additive(mask: Tensor | None, query: Tensor, key: Tensor) -> Tensor:
    """The mask as eager kernels want it: something to add."""
    lowest = torch.finfo(query.dtype).min
    if mask is None:
        length, keys = query.shape[2], key.shape[2]
        full = torch.full((length, keys), lowest, dtype=query.dtype, device=query.device)
        return full.triu_(1 + keys - length)[None, None]
    if mask.dtype == torch.bool:
        return torch.zeros(mask.shape, dtype=query.dtype, device=mask.device).masked_fill_(~mask, lowest)
    return mask


AttentionInterface.register(IMPLEMENTATION, _attention)
# Without this transformers builds no mask for an attention it doesn't know, and every number is silently wrong.
AttentionMaskInterface.register(IMPLEMENTATION, sdpa_mask)
