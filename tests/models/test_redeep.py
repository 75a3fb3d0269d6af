"""ReDeEP's scores against plain transformers' eager attention and hidden states, written out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from made_targets import made_targets, same_whatever_the_batches
from tiny import FAMILIES, tiny_model
from transformers import AutoModelForCausalLM, GraniteConfig

from attnshift.data.batches import pad
from attnshift.data.roles import ANSWER, CONTEXT, CONTEXT_ANSWER, PARAMETRIC_ANSWER, QUESTION
from attnshift.errors import AttnshiftError
from attnshift.models.anatomy import anatomy
from attnshift.models.attention import captured_attention
from attnshift.models.forward import target_rows
from attnshift.models.redeep import external_context_scores, parametric_knowledge_scores
from attnshift.models.stream import watched_rows
from attnshift.tracing.memory import held_footprint


def plain(model, target, **asked):
    with torch.no_grad():
        return model(torch.from_numpy(target.ids.astype(np.int64))[None], **asked)


def external_by_hand(model, target, codes):
    """Head by head and row by row, with numpy."""
    seen = plain(model, target, output_attentions=True, output_hidden_states=True)
    states = seen.hidden_states[-1][0].double().numpy()
    context = [k for k in range(target.start) if codes[k] in (CONTEXT, CONTEXT_ANSWER, PARAMETRIC_ANSWER)]
    count = max(1, len(context) // 10)
    out = np.full((len(seen.attentions), seen.attentions[0].shape[1]), np.nan)
    for layer, weights in enumerate(seen.attentions):
        for head in range(out.shape[1]):
            cosines = []
            for row in range(target.start - 1, len(target) - 1):
                looks = {k: float(weights[0, head, row, k]) for k in context}
                best = [k for k in sorted(looks, key=looks.get, reverse=True)[:count] if looks[k] > 0]
                if best:
                    mean = states[best].mean(0)
                    cosines.append(mean @ states[row] / np.linalg.norm(mean) / np.linalg.norm(states[row]))
            out[layer, head] = np.mean(cosines) if cosines else np.nan
    return out


def final_norm(model):
    return next(
        getattr(model.base_model, n) for n in ("norm", "ln_f", "final_layer_norm") if hasattr(model.base_model, n)
    )


def outspoken_model(family):
    """Its logits are far apart, so that what an MLP adds changes the distribution by much."""
    model = tiny_model(family)
    with torch.no_grad():
        final_norm(model).weight.add_(20)
    return model


def attention_outputs(model, target):
    """By layer what attention adds to the stream: the module's own output, or the norm's behind it."""
    found, hooks = [], []
    layers = model.base_model.layers if hasattr(model.base_model, "layers") else model.base_model.h
    for layer in layers:
        module = next(getattr(layer, name) for name in ("self_attn", "attention", "attn") if hasattr(layer, name))
        if model.config.model_type == "gemma2":
            module = layer.post_attention_layernorm
        hook = lambda _module, _args, output: found.append(output[0] if isinstance(output, tuple) else output)  # noqa: E731
        hooks.append(module.register_forward_hook(hook))
    seen = plain(model, target, output_hidden_states=True)
    for hook in hooks:
        hook.remove()
    return seen, found


def parametric_by_hand(model, target):
    """Layer by layer: entropy of the mean less the mean of the entropies."""
    norm, unembed = final_norm(model), model.get_output_embeddings()
    cap = getattr(model.config, "final_logit_softcapping", None)

    def distribution(residual, normed=False):
        logits = unembed(residual if normed else norm(residual)).double()
        return (torch.tanh(logits / cap) * cap if cap else logits).softmax(-1)

    def entropy(p):
        return -(p * p.log()).sum(-1)

    seen, attention = attention_outputs(model, target)
    out = []
    with torch.no_grad():
        for layer, added in enumerate(attention):
            rows = slice(target.start - 1, len(target) - 1)
            p = distribution((seen.hidden_states[layer] + added)[0, rows])
            last = layer == len(attention) - 1  # behind it transformers hands out the normed states
            q = distribution(seen.hidden_states[layer + 1][0, rows], normed=last)
            out.append(float((entropy((p + q) / 2) - (entropy(p) + entropy(q)) / 2).mean()))
    return out


@pytest.mark.parametrize("family", FAMILIES)
def test_external_context_equals_eager_attention_written_out(family):
    model, (targets, roles) = tiny_model(family), made_targets(((9, 3), (44, 1), (45, 5)))
    with captured_attention(model):
        found = same_whatever_the_batches(lambda budget: external_context_scores(model, targets, roles, budget))
    assert found.shape == (3, 2, 4)
    for i, target in enumerate(targets):
        np.testing.assert_allclose(found[i], external_by_hand(model, target, roles[i]), atol=1e-5)
    assert np.nanmax(found) - np.nanmin(found) > 0.01


@pytest.mark.parametrize("family", FAMILIES)
def test_parametric_knowledge_equals_hidden_states_written_out(family):
    model, (targets, roles) = outspoken_model(family), made_targets(((9, 3), (24, 1), (15, 40)))
    with captured_attention(model):
        found = same_whatever_the_batches(lambda budget: parametric_knowledge_scores(model, targets, roles, budget))
    assert found.shape == (3, 2)
    assert ((found > 0) & (found <= np.log(2) + 1e-6)).all()
    assert found.max() > 1e-3
    for i, target in enumerate(targets):
        np.testing.assert_allclose(found[i], parametric_by_hand(model, target), atol=1e-5)


@given(
    sizes=st.lists(st.tuples(st.integers(6, 60), st.integers(1, 6)), min_size=2, max_size=5),
    seed=st.integers(0, 99),
    budget=st.integers(1, 300),
)
@settings(max_examples=25, deadline=None)
def test_in_any_batch_as_alone(sizes, seed, budget):
    model, (targets, roles) = MODELS["mistral"], made_targets(sizes, seed)
    with captured_attention(model):
        for read in (external_context_scores, parametric_knowledge_scores):
            together = read(model, targets, roles, budget)
            alone = [read(model, [target], [codes], 1)[0] for target, codes in zip(targets, roles, strict=True)]
            np.testing.assert_allclose(together, alone, atol=1e-5)


MODELS = {"mistral": tiny_model("mistral")}


def test_a_context_of_one_token_is_attended_to_whole():
    model, (targets, _) = tiny_model("llama"), made_targets(((20, 2),))
    codes = np.full(20, QUESTION, np.int8)
    codes[5] = CONTEXT
    codes = np.append(codes, [ANSWER, ANSWER])
    with captured_attention(model):
        (found,) = external_context_scores(model, targets, [codes], 100)
    states = plain(model, targets[0], output_hidden_states=True).hidden_states[-1][0]
    expected = torch.cosine_similarity(states[5], states[19:21]).mean()
    np.testing.assert_allclose(found, float(expected), atol=1e-6)  # whatever the head, there is nothing else


@pytest.mark.parametrize(("context", "kept"), [(1, 1), (9, 1), (10, 1), (19, 1), (20, 2), (39, 3)])
def test_a_tenth_of_the_context_rounded_down_but_one_at_least(context, kept):
    """With the same weight everywhere the earliest tokens are the most attended ones."""
    model, (targets, _) = tiny_model("llama"), made_targets(((45, 1),))
    with torch.no_grad():
        for layer in model.model.layers:
            layer.self_attn.q_proj.weight.zero_()
    codes = np.full(46, QUESTION, np.int8)
    codes[3 : 3 + context], codes[45] = CONTEXT, ANSWER
    with captured_attention(model):
        (found,) = external_context_scores(model, targets, [codes], 100)
    states = plain(model, targets[0], output_hidden_states=True).hidden_states[-1][0]
    expected = torch.cosine_similarity(states[3 : 3 + kept].mean(0), states[44], dim=0)
    np.testing.assert_allclose(found, float(expected), atol=1e-6)


def test_without_a_context_there_is_no_score_and_behind_a_window_neither():
    targets, roles = made_targets(((30, 2), (30, 2)))
    roles[0][:30] = QUESTION
    roles[1][:30] = QUESTION
    roles[1][2:5] = CONTEXT  # more than the window of 7 before the rows
    for family, seen in (("mistral", False), ("llama", True)):
        model = tiny_model(family)
        with captured_attention(model):
            found = external_context_scores(model, targets, roles, 100)
        assert np.isnan(found[0]).all()
        assert np.isfinite(found[1]).all() == seen


def test_mlps_that_add_nothing_change_nothing():
    model, (targets, roles) = tiny_model("llama"), made_targets()
    with torch.no_grad():
        model.model.layers[1].mlp.down_proj.weight.zero_()
    with captured_attention(model):
        found = parametric_knowledge_scores(model, targets, roles, 100)
    assert (found[:, 1] == 0).all()
    assert (found[:, 0] > 0).all()


def test_what_is_held_for_the_lenses_is_what_the_estimate_says():
    model, (targets, _) = tiny_model("llama"), made_targets(((9, 3), (24, 2)))
    sequences, _, rows = map(torch.from_numpy, target_rows(targets))
    ids = torch.from_numpy(pad((t.ids for t in targets), 0, dtype=np.int64))
    with torch.no_grad(), watched_rows(anatomy(model), rows, sequences) as stream:
        model(ids)
    held = sum(one.nbytes for name, kept in vars(stream).items() if isinstance(kept, dict) for one in kept.values())
    footprint = held_footprint(model, [])
    assert held == (footprint.logits({"parametric_knowledge"}) - footprint.logits(())) * len(rows)


def test_half_precision_stays_close():
    targets, roles = made_targets()
    whole, half = tiny_model("llama", scale=1.5), tiny_model("llama", scale=1.5).to(torch.bfloat16)
    for read in (external_context_scores, parametric_knowledge_scores):
        found = []
        for model in (whole, half):
            with captured_attention(model):
                found.append(read(model, targets, roles, 100))
        assert np.nanmean(np.abs(found[0] - found[1])) < 0.05


def test_a_model_whose_logits_are_scaled_behind_the_unembedding_is_refused():
    small = {"vocab_size": 600, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
    config = GraniteConfig(**small, num_attention_heads=4, num_key_value_heads=2, logits_scaling=3.0)
    model, (targets, roles) = AutoModelForCausalLM.from_config(config).eval(), made_targets()
    with torch.no_grad():
        model.lm_head.weight.mul_(20)
    with captured_attention(model), pytest.raises(AttnshiftError, match="isn't the model's own answer"):
        parametric_knowledge_scores(model, targets, roles, 100)
