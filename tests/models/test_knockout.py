"""Knock-outs against TransformerLens with its pattern edited, and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from made_contrasts import made_contrasts
from tiny import FAMILIES, tiny_model

from attnshift.models.attention import KNOCKOUT, captured_attention
from attnshift.models.bridge import bridge_of
from attnshift.models.contrast import answer_margins
from attnshift.models.knockout import EVERY, Knockout
from attnshift.models.knockout_effect import knockout_effects, knockout_forwards


def effects(model, contrasts, by_head=True, budget=200):
    with captured_attention(model):
        return knockout_effects(model, contrasts, budget, by_head)


@pytest.mark.parametrize("family", ["llama", "neox", "gemma2"])
def test_equals_transformer_lens_with_its_pattern_edited(family):
    model = tiny_model(family)
    contrast = made_contrasts((12,), seed=2)[0]
    found = effects(model, [contrast])
    bridge = bridge_of(model)
    ids = torch.from_numpy(contrast.ids.astype(np.int64))[None]

    def margin(hooks):
        with torch.no_grad():
            logits = bridge.run_with_hooks(ids, fwd_hooks=hooks)[0, -1]
        return float(logits[contrast.context] - logits[contrast.parametric])

    clean = margin([])
    for role in np.unique(contrast.roles).tolist():
        hidden = torch.from_numpy(contrast.roles == role)
        for layer in range(2):
            for head in (0, 3, None):

                def strike(pattern, hook, hidden=hidden, head=head):
                    heads = slice(None) if head is None else [head]
                    left = pattern[:, heads, -1].masked_fill(hidden, 0)
                    pattern = pattern.clone()
                    pattern[:, heads, -1] = (left / left.sum(-1, keepdim=True)).nan_to_num(0)
                    return pattern

                expected = clean - margin([(f"blocks.{layer}.attn.hook_pattern", strike)])
                got = found.layers[0, layer, role] if head is None else found.heads[0, layer, head, role]
                np.testing.assert_allclose(got, expected, atol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_absent_has_no_effect_and_batches_change_nothing(family):
    model = tiny_model(family)
    contrasts = made_contrasts()
    found, small = effects(model, contrasts), effects(model, contrasts, budget=1)
    np.testing.assert_allclose(found.heads, small.heads, atol=2e-5)
    np.testing.assert_allclose(found.layers, small.layers, atol=2e-5)
    for i, contrast in enumerate(contrasts):
        absent = np.setdiff1d(np.arange(8), contrast.roles)
        assert (found.heads[i][..., absent] == 0).all()
        assert np.abs(found.heads[i][..., np.unique(contrast.roles)]).max() > 1e-4
    assert effects(model, contrasts, by_head=False).heads is None


def test_a_row_that_may_see_nothing_reads_nothing():
    """With every key forbidden in every head, attention adds nothing: as with the projection at 0."""
    model = tiny_model("llama")
    contrast = made_contrasts((9,))[0]
    everything = Knockout(
        torch.tensor([8]), torch.ones(1, 10, dtype=torch.bool), torch.tensor([EVERY]), torch.tensor([EVERY])
    )
    with captured_attention(model), torch.no_grad():
        struck, _ = answer_margins(model, [contrast], {KNOCKOUT: everything})
        for layer in model.model.layers:
            layer.self_attn.o_proj.weight.zero_()
        silent, _ = answer_margins(model, [contrast])
    torch.testing.assert_close(struck, silent, atol=1e-5, rtol=0)


def test_a_row_that_may_see_only_the_sink_reads_nothing_either():
    model = tiny_model("gpt_oss")
    contrast = made_contrasts((9,))[0]
    outputs = []
    model.model.layers[1].self_attn.o_proj.register_forward_pre_hook(lambda _, args: outputs.append(args[0][0, 8]))
    everything = Knockout(
        torch.tensor([8]), torch.ones(1, 10, dtype=torch.bool), torch.tensor([1]), torch.tensor([EVERY])
    )
    with captured_attention(model), torch.no_grad():
        answer_margins(model, [contrast], {KNOCKOUT: everything})
    assert (outputs[0] == 0).all()


def test_cost_is_told():
    contrasts = made_contrasts((4, 17))
    roles = [len(np.unique(c.roles)) for c in contrasts]
    assert knockout_forwards(contrasts, 2, 4, by_head=True) == sum(1 + 10 * n for n in roles)
    assert knockout_forwards(contrasts, 2, 4, by_head=False) == sum(1 + 2 * n for n in roles)
