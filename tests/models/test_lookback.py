"""Lookback ratio against plain transformers' eager attention."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from made_targets import made_targets, same_whatever_the_batches
from tiny import tiny_model

from attnshift.data.roles import CONTEXT, CONTEXT_ANSWER, PARAMETRIC_ANSWER
from attnshift.models.attention import captured_attention
from attnshift.models.lookback import lookback_ratios


def by_hand(attentions, target, codes):
    """Written out, row by row and token by token."""
    out = np.zeros((len(attentions), attentions[0].shape[1]))
    rows = range(target.start, len(target) - 1)
    context = [k for k in range(target.start) if codes[k] in (CONTEXT, CONTEXT_ANSWER, PARAMETRIC_ANSWER)]
    for layer, weights in enumerate(attentions):
        for head in range(out.shape[1]):
            for row in rows:
                back = np.mean([float(weights[0, head, row, k]) for k in context])
                new = np.mean([float(weights[0, head, row, k]) for k in range(target.start, row + 1)])
                out[layer, head] += back / (back + new) / len(rows)
    return out


@pytest.mark.parametrize("family", ["llama", "mistral", "neox", "gemma2", "gpt_oss"])
def test_equals_eager_attention_written_out(family):
    model, (targets, roles) = tiny_model(family), made_targets()
    with captured_attention(model):
        found = same_whatever_the_batches(lambda budget: lookback_ratios(model, targets, roles, budget))
    assert found.shape == (3, 2, 4)
    assert np.isnan(found[1]).all()  # an answer of one token
    for i in (0, 2):
        with torch.no_grad():
            ids = torch.from_numpy(targets[i].ids.astype(np.int64))[None]
            attentions = model(ids, output_attentions=True).attentions
        np.testing.assert_allclose(found[i], by_hand(attentions, targets[i], roles[i]), atol=1e-5)
    assert np.ptp(found[[0, 2]]) > 0.05


def test_attention_that_is_the_same_everywhere_has_a_ratio_of_a_half():
    model, (targets, roles) = tiny_model("llama"), made_targets(((12, 4),))
    with torch.no_grad():
        for layer in model.model.layers:
            layer.self_attn.q_proj.weight.zero_()
    with captured_attention(model):
        found = lookback_ratios(model, targets, roles, 100)
    np.testing.assert_allclose(found, 0.5, atol=1e-6)
