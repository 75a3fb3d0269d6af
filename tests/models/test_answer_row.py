"""The answer row taken apart: sums, and plain transformers and TransformerLens as oracles."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from made_contrasts import made_contrasts
from tiny import FAMILIES, tiny_model

from attnshift.data.prompts import ItemTokens, Tokens
from attnshift.data.roles import ANSWER, KEY_ROLES
from attnshift.errors import AttnshiftError
from attnshift.models.anatomy import anatomy
from attnshift.models.answer_row import contributions, read_answer_rows
from attnshift.models.attention import CAPTURE, captured_attention
from attnshift.models.bridge import bridge_of
from attnshift.models.contrast import answer_margins, first_difference, item_contrasts
from attnshift.models.forward import role_capture
from attnshift.models.stream import watched_rows


@pytest.fixture(scope="module", params=FAMILIES)
def model(request):
    return tiny_model(request.param)


def read(model, contrasts, budget=40):
    with captured_attention(model):
        return read_answer_rows(model, contrasts, budget)


def test_everything_that_is_written_sums_to_the_final_residual(model):
    """Along every coordinate of the stream, for every sequence."""
    contrasts = made_contrasts()
    parts = anatomy(model)
    codes = [np.append(c.roles, np.int8(0)) for c in contrasts]
    capture = role_capture([c.target for c in contrasts], codes, "last", model.device)
    capture.read = {}
    with captured_attention(model), torch.no_grad():
        with watched_rows(parts, torch.tensor([c.row for c in contrasts])) as stream:
            answer_margins(model, contrasts, {CAPTURE: capture})
        seen = {layer: value[:, :, 0] for layer, value in capture.read.items()}
        final = stream.leaving[1]
        for coordinate in range(final.shape[1]):
            direction = torch.zeros_like(final)
            direction[:, coordinate] = 1
            terms = contributions(parts, stream, seen, direction)
            total = terms.heads.sum((1, 2, 3)) + terms.mlp.sum(1) + terms.embedding + terms.bias
            torch.testing.assert_close(total, final[:, coordinate], atol=1e-4, rtol=0)


def test_roles_sum_to_the_head(model):
    """What a head brings from all roles is what its output brings through its own columns of W_O."""
    contrasts, parts = made_contrasts(), anatomy(model)
    codes = [np.append(c.roles, np.int8(0)) for c in contrasts]
    capture = role_capture([c.target for c in contrasts], codes, "last", model.device)
    capture.read = {}
    rows = torch.tensor([c.row for c in contrasts])
    with captured_attention(model), torch.no_grad(), watched_rows(parts, rows) as stream:
        answer_margins(model, contrasts, {CAPTURE: capture})
    for layer in range(2):
        by_role = capture.read[layer][:, :, 0]  # batch head role d
        torch.testing.assert_close(by_role.sum(2).flatten(1), stream.heads_out[layer], atol=1e-5, rtol=0)


def test_contributions_sum_to_the_models_own_difference_of_logits(model):
    contrasts = made_contrasts()
    row = read(model, contrasts)
    total = row.heads.sum((1, 2, 3)) + row.mlp.sum(1) + row.embedding + row.bias
    softcap = getattr(model.config, "final_logit_softcapping", None)
    for i, contrast in enumerate(contrasts):
        with torch.no_grad():
            logits = model(torch.from_numpy(contrast.ids.astype(np.int64))[None]).logits[0, -1].double()
        np.testing.assert_allclose(
            row.margin[i], float(logits[contrast.context] - logits[contrast.parametric]), atol=1e-5
        )
        if softcap:
            logits = softcap * torch.atanh(logits / softcap)
        np.testing.assert_allclose(total[i], float(logits[contrast.context] - logits[contrast.parametric]), atol=1e-4)
    assert (row.heads[..., KEY_ROLES.index("sink")] == 0).all()


def test_lens_equals_norm_and_unembedding_of_the_hidden_states(model):
    contrasts = made_contrasts()
    row = read(model, contrasts)
    norm, unembed, softcap = anatomy(model).final_norm, anatomy(model).unembed, anatomy(model).softcap
    for i, c in enumerate(contrasts):
        with torch.no_grad():
            states = model(torch.from_numpy(c.ids.astype(np.int64))[None], output_hidden_states=True).hidden_states
            logits = unembed(norm(states[1][0, -1]))
        logits = logits if softcap is None else softcap * torch.tanh(logits / softcap)
        np.testing.assert_allclose(row.lens[i, 0], float(logits[c.context] - logits[c.parametric]), atol=1e-5)
    np.testing.assert_allclose(row.lens[:, -1], row.margin, atol=1e-5)
    np.testing.assert_allclose(row.lens_final_scale[:, -1], row.margin, atol=1e-5)


@pytest.mark.parametrize("family", ["llama", "mistral", "qwen3"])
def test_by_one_scale_the_lens_rises_by_what_the_layer_writes(family):
    """Families without a bias on the projection, which bias_attribution would hold, and without a softcap."""
    row = read(tiny_model(family), made_contrasts())
    rise = row.lens_final_scale[:, 1] - row.lens_final_scale[:, 0]
    np.testing.assert_allclose(rise, row.heads[:, 1].sum((1, 2)) + row.mlp[:, 1], atol=1e-5)


@pytest.mark.parametrize("family", ["llama", "neox", "gpt2"])
def test_heads_by_role_equal_transformer_lens(family):
    """pattern x value x W_O of a bridge, along the unembedding through the frozen norm."""
    model = tiny_model(family)
    contrast = made_contrasts((17,))[0]
    row = read(model, [contrast])
    bridge = bridge_of(model)
    with torch.no_grad():
        _, cache = bridge.run_with_cache(torch.from_numpy(contrast.ids.astype(np.int64))[None])
    final = cache["blocks.1.hook_resid_post"][0, -1]
    weights = model.get_output_embeddings().weight
    towards = (weights[contrast.context] - weights[contrast.parametric]).detach()
    norm = anatomy(model).final_norm
    if family == "llama":
        u = towards * norm.weight.detach() / (final.pow(2).mean() + norm.variance_epsilon).sqrt()
    else:
        u = towards * norm.weight.detach() / (final.var(unbiased=False) + norm.eps).sqrt()
        u = u - u.mean()
    for layer in range(2):
        pattern = cache[f"blocks.{layer}.attn.hook_pattern"][0, :, -1]
        values = cache[f"blocks.{layer}.attn.hook_v"][0]
        values = values if values.ndim == 3 else values.unflatten(-1, (-1, 8))
        values = values.repeat_interleave(4 // values.shape[1], 1)
        out = anatomy(model).blocks[layer].projection.weight
        out = (out if family == "gpt2" else out.T).unflatten(0, (4, 8))
        np.testing.assert_allclose(
            row.mlp[0, layer], float(cache[f"blocks.{layer}.hook_mlp_out"][0, -1] @ u), atol=1e-4
        )
        for role in range(6):
            at = torch.from_numpy(contrast.roles == role)
            expected = torch.einsum("hk,khd,hdm,m->h", pattern[:, at], values[at], out, u)
            np.testing.assert_allclose(row.heads[0, layer, :, role], expected.detach().numpy(), atol=1e-4)


def test_batches_change_nothing(model):
    contrasts = made_contrasts()
    together, apart = read(model, contrasts, 1000), read(model, contrasts, 1)
    for name, values in vars(together).items():
        np.testing.assert_allclose(values, getattr(apart, name), atol=2e-5)


def granite(**changes):
    import transformers

    torch.manual_seed(0)
    config = transformers.GraniteConfig(
        hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, vocab_size=600, **changes
    )
    return transformers.AutoModelForCausalLM.from_config(config).eval()


def test_a_stream_that_scales_what_is_added_is_refused():
    with pytest.raises(AttnshiftError, match="more to the residual stream"):
        read(granite(residual_multiplier=0.5), made_contrasts())


def test_logits_that_arent_the_unembedding_are_refused():
    with pytest.raises(AttnshiftError, match="GraniteForCausalLM"):
        read(granite(logits_scaling=0.001), made_contrasts())


def test_an_unknown_anatomy_is_refused():
    model = tiny_model("llama")
    model.model.layers[0].odd = model.model.layers[0].mlp
    del model.model.layers[0].mlp
    with pytest.raises(AttnshiftError, match="MLP"):
        anatomy(model)


def tokens(ids, answers):
    prompt = Tokens(np.array(ids, np.int32), np.zeros(len(ids), np.int8))
    return ItemTokens(prompt, prompt, *(np.array(a, np.int32) for a in answers))


def test_contrasts_begin_where_the_answers_part():
    items = [tokens([7, 8], ([4, 5, 6], [4, 9])), tokens([7], ([4], [4, 5])), tokens([7], ([1], [2]))]
    places, contrasts = item_contrasts(items)
    assert places == [0, 2]
    assert contrasts[0].ids.tolist() == [7, 8, 4]
    assert contrasts[0].roles.tolist() == [0, 0, ANSWER]
    assert (contrasts[0].context, contrasts[0].parametric, contrasts[0].row) == (5, 9, 2)
    assert first_difference(np.array([1, 2]), np.array([1, 2, 3])) is None
    with pytest.raises(AttnshiftError, match="none of the 1 items"):
        item_contrasts(items[1:2])
