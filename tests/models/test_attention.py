"""attention_mass on every family, against eager patterns, TransformerLens and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import FAMILIES, tiny_model

import attnshift
from attnshift.models.attention import Capture, captured_attention
from attnshift.models.bridge import bridge_of


@pytest.fixture(scope="module", params=FAMILIES)
def model(request):
    return tiny_model(request.param)


def random_spans(generator: torch.Generator, batch: int, spans: int, length: int) -> torch.Tensor:
    return torch.rand(batch, spans, length, generator=generator) < 0.4


def eager(model, ids, spans, rows, mask=None) -> torch.Tensor:
    """From full patterns, as transformers returns them."""
    extra = {}
    if mask is not None:
        extra = {"attention_mask": mask, "position_ids": (mask.cumsum(-1) - 1).clamp(min=0)}
    with torch.no_grad():
        patterns = model(ids, output_attentions=True, **extra).attentions
    out = []
    for pattern in patterns:
        picked = pattern.gather(2, rows[:, None, :, None].expand(-1, pattern.shape[1], -1, pattern.shape[3]))
        out.append(torch.einsum("bhrk,bsk->bhrs", picked.float(), spans.float()))
    return torch.stack(out, 1)


def padded(sequences: list[torch.Tensor], side: str) -> tuple[torch.Tensor, torch.Tensor]:
    width = max(map(len, sequences))
    ids, mask = torch.zeros(2, len(sequences), width, dtype=torch.long)
    for i, sequence in enumerate(sequences):
        where = slice(width - len(sequence), width) if side == "left" else slice(0, len(sequence))
        ids[i, where], mask[i, where] = sequence, 1
    return ids, mask


@settings(max_examples=8, deadline=None)
@given(
    length=st.integers(1, 40),
    batch=st.integers(1, 3),
    spans=st.integers(1, 4),
    rows=st.integers(1, 5),
    seed=st.integers(0, 99),
)
def test_equals_eager_whatever_the_shapes(model, length, batch, spans, rows, seed):
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(3, 600, (batch, length), generator=generator)
    wanted = torch.randint(0, length, (batch, rows), generator=generator)
    span = random_spans(generator, batch, spans, length)
    got = attnshift.attention_mass(model, ids, span, wanted)
    assert got.shape == (batch, 2, 4, rows, spans)
    torch.testing.assert_close(got, eager(model, ids, span, wanted), atol=1e-5, rtol=0)


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_changes_nothing(model, side):
    generator = torch.Generator().manual_seed(1)
    sequences = [torch.randint(3, 600, (n,), generator=generator) for n in (4, 17, 30)]
    ids, mask = padded(sequences, side)
    spans = random_spans(generator, 3, 2, 30)
    got = attnshift.attention_mass(model, ids, spans, attention_mask=mask)
    for i, sequence in enumerate(sequences):
        where = mask[i].bool()
        alone = attnshift.attention_mass(model, sequence[None], spans[i : i + 1, :, where])
        torch.testing.assert_close(got[i : i + 1], alone, atol=1e-5, rtol=0)
    rows = (mask * torch.arange(30)).argmax(-1, keepdim=True)
    torch.testing.assert_close(got, eager(model, ids, spans * mask[:, None].bool(), rows, mask), atol=1e-5, rtol=0)


def test_leaves_the_model_as_it_was(model):
    before, training = model.config._attn_implementation, model.training
    model.train()
    attnshift.attention_mass(model, torch.tensor([[3, 4, 5]]), torch.ones(1, 1, 3, dtype=torch.bool))
    assert model.training
    assert model.config._attn_implementation == before
    assert all(p.grad is None for p in model.parameters())
    model.train(training)


def test_mass_and_sink_sum_to_one_and_visible_counts_the_window(model):
    ids = torch.randint(3, 600, (2, 20))
    everything = torch.ones(2, 1, 20, dtype=torch.bool)
    capture = Capture(torch.tensor([[5], [19]]), everything)
    with captured_attention(model), torch.no_grad():
        model(ids, use_cache=False, attnshift_capture=capture)
    mass, sink, visible = capture.stacked(2)
    torch.testing.assert_close(mass.squeeze(-1) + sink, torch.ones_like(sink), atol=1e-5, rtol=0)
    config = model.config
    kinds = getattr(config, "layer_types", None) or ["sliding_attention" if config.model_type == "mistral" else ""] * 2
    for layer, kind in enumerate(kinds):
        limit = config.sliding_window if kind == "sliding_attention" else 20
        assert visible[:, layer, 0, 0].tolist() == [min(6, limit), min(20, limit)]


def test_uniform_attention_gives_the_share_of_visible_tokens(model):
    """With queries at 0 every visible key gets the same; a learned sink is the one thing beside them."""
    import copy

    flat = copy.deepcopy(model)
    with torch.no_grad():
        for name, parameter in flat.named_parameters():
            if any(part in name for part in ("q_proj", "query_key_value", "c_attn", "sinks")):
                parameter.zero_()
    spans = torch.zeros(1, 1, 12, dtype=torch.bool)
    spans[..., 8:11] = True
    capture = Capture(torch.tensor([[11]]), spans)
    with captured_attention(flat), torch.no_grad():
        flat(torch.arange(3, 15)[None], use_cache=False, attnshift_capture=capture)
    mass, _, _ = capture.stacked(2)
    config = flat.config
    kinds = getattr(config, "layer_types", None) or ["sliding_attention" if config.model_type == "mistral" else ""] * 2
    for layer, kind in enumerate(kinds):
        limit = config.sliding_window if kind == "sliding_attention" else 12
        sink = config.model_type == "gpt_oss"  # a sink of logit 0 is one more key
        np.testing.assert_allclose(mass[0, layer].numpy(), 3 / (min(12, limit) + sink), atol=1e-5)


def test_bfloat16_takes_its_softmax_in_float32():
    """A softmax in bf16 would miss 1 by its rounding, some 1e-3."""
    half = tiny_model("llama").to(torch.bfloat16)
    ids = torch.randint(3, 600, (1, 30))
    got = attnshift.attention_mass(half, ids, torch.ones(1, 1, 30, dtype=torch.bool))
    assert got.dtype == torch.float32
    torch.testing.assert_close(got, torch.ones_like(got), atol=1e-6, rtol=0)


@pytest.mark.parametrize("shape", [(2, 1, 5), (1, 1, 4), (1, 5)])
def test_spans_of_another_shape_are_refused(shape):
    with pytest.raises(attnshift.AttnshiftError, match="spans"):
        attnshift.attention_mass(tiny_model("llama"), torch.ones(1, 5, dtype=torch.long), torch.ones(shape).bool())


@pytest.mark.parametrize("family", ["llama", "neox", "gemma2", "gpt2", "qwen3", "mistral"])
def test_equals_transformer_lens(family):
    """hook_pattern of a bridge is the second oracle."""
    model = tiny_model(family)
    ids = torch.randint(3, 600, (1, 20), generator=torch.Generator().manual_seed(0))
    spans = random_spans(torch.Generator().manual_seed(1), 1, 3, 20)
    got = attnshift.attention_mass(model, ids, spans)
    bridge = bridge_of(model)
    with torch.no_grad():
        _, cache = bridge.run_with_cache(ids)
    for layer in range(2):
        pattern = cache[f"blocks.{layer}.attn.hook_pattern"][0, :, -1].float()
        expected = torch.einsum("hk,sk->hs", pattern, spans[0].float())
        torch.testing.assert_close(got[0, layer, :, 0], expected, atol=1e-5, rtol=0)
    again = attnshift.attention_mass(model, ids, spans)  # booting a bridge leaves the model alone
    torch.testing.assert_close(again, got, atol=0, rtol=0)
