"""A model whose weights aren't numbers is told as such by whatever reads it, instead of by numbers that are none."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from made_targets import made_targets
from tiny import tiny_model

from attnshift.data.prompts import ItemTokens, Tokens
from attnshift.errors import CheckpointError
from attnshift.models.answer_row import read_answer_rows
from attnshift.models.attention import captured_attention
from attnshift.models.contrast import Contrast
from attnshift.models.forward import score_targets
from attnshift.models.knockout_effect import knockout_effects
from attnshift.models.lookback import lookback_ratios
from attnshift.models.persuasion import context_divergences
from attnshift.models.redeep import external_context_scores, parametric_knowledge_scores
from attnshift.models.retrieval import retrieval_scores

TARGETS, ROLES = made_targets()
CONTRASTS = [Contrast(t.ids[: t.start], codes[: t.start], 5, 6) for t, codes in zip(TARGETS, ROLES, strict=True)]
ANSWERS = np.array([7], np.int32), np.array([8], np.int32)
ITEMS = [ItemTokens(Tokens(c.ids, c.roles), Tokens(c.ids[:4], c.roles[:4]), *ANSWERS) for c in CONTRASTS]

READERS = {
    "scores": lambda model: score_targets(model, TARGETS, 100),
    "lookback": lambda model: lookback_ratios(model, TARGETS, ROLES, 100),
    "retrieval": lambda model: retrieval_scores(model, TARGETS, ROLES, 100),
    "external context": lambda model: external_context_scores(model, TARGETS, ROLES, 100),
    "parametric knowledge": lambda model: parametric_knowledge_scores(model, TARGETS, ROLES, 100),
    "persuasion": lambda model: context_divergences(model, ITEMS, 100),
    "answer rows": lambda model: read_answer_rows(model, CONTRASTS, 100),
    "knock-outs": lambda model: knockout_effects(model, CONTRASTS, 100, by_head=False),
}


@pytest.mark.parametrize("reader", READERS)
def test_weights_that_are_not_numbers(reader):
    model = tiny_model("llama")
    with captured_attention(model):
        READERS[reader](model)
    with torch.no_grad():
        model.model.layers[0].mlp.down_proj.weight[0, 0] = torch.nan
    with captured_attention(model), pytest.raises(CheckpointError, match="not numbers"):
        READERS[reader](model)
