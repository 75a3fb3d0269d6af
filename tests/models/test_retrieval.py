"""Retrieval score against plain transformers' eager attention."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from made_targets import made_targets, same_whatever_the_batches
from tiny import tiny_model

from attnshift.data.roles import CONTEXT, CONTEXT_ANSWER
from attnshift.models.attention import captured_attention
from attnshift.models.retrieval import retrieval_scores


def copying_targets():
    """Answers, some of whose tokens stand in the context's answer, some elsewhere; one that stands nowhere."""
    targets, roles = made_targets(((9, 3), (24, 2), (15, 5)))
    for i in (0, 2):
        target, codes = targets[i], roles[i]
        codes[1 : target.start] = CONTEXT_ANSWER
        codes[2] = CONTEXT
        ids = target.ids.copy()
        ids[1 : target.start] = np.resize(ids[target.start :], target.start - 1)
        targets[i] = replace(target, ids=ids)
    return targets, roles


def by_hand(attentions, target, codes):
    """Written out, row by row."""
    out = np.zeros((len(attentions), attentions[0].shape[1]))
    rows = range(target.start - 1, len(target) - 1)
    for layer, weights in enumerate(attentions):
        for head in range(out.shape[1]):
            for row in rows:
                key = int(weights[0, head, row].argmax())
                hit = codes[key] == CONTEXT_ANSWER and target.ids[key] == target.ids[row + 1]
                out[layer, head] += hit / len(rows)
    return out


@pytest.mark.parametrize("family", ["llama", "mistral", "neox", "gemma2", "gpt_oss"])
def test_equals_eager_attention_written_out(family):
    model, (targets, roles) = tiny_model(family), copying_targets()
    with captured_attention(model):
        found = same_whatever_the_batches(lambda budget: retrieval_scores(model, targets, roles, budget))
    assert found.shape == (3, 2, 4)
    assert np.isnan(found[1]).all()
    for i in (0, 2):
        with torch.no_grad():
            ids = torch.from_numpy(targets[i].ids.astype(np.int64))[None]
            attentions = model(ids, output_attentions=True).attentions
        np.testing.assert_allclose(found[i], by_hand(attentions, targets[i], roles[i]), atol=1e-6)
    assert np.nanmax(found) > 0
