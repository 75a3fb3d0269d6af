"""Context persuasion against plain transformers and torch's own divergence."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny import tiny_model

from attnshift.data.prompts import ItemTokens, Tokens
from attnshift.models.persuasion import context_divergences


def made_tokens(lengths, seed=0):
    rng = np.random.default_rng(seed)
    answer = np.array([7], np.int32)

    def prompt(length):
        return Tokens(rng.integers(3, 600, length).astype(np.int32), np.zeros(length, np.int8))

    return [ItemTokens(prompt(whole), prompt(part), answer, answer) for whole, part in lengths]


@pytest.mark.parametrize("family", ["llama", "neox", "gemma2"])
def test_equals_the_divergence_of_two_plain_forwards(family):
    model, tokens = tiny_model(family), made_tokens(((9, 4), (17, 5), (6, 6)))
    together, apart = (context_divergences(model, tokens, budget) for budget in (1000, 1))
    np.testing.assert_allclose(together, apart, atol=1e-5)
    for i, one in enumerate(tokens):
        with torch.no_grad():
            told, asked = (
                model(torch.from_numpy(prompt.ids.astype(np.int64))[None]).logits[0, -1].double().log_softmax(-1)
                for prompt in (one.prompt, one.closed_book)
            )
        expected = torch.nn.functional.kl_div(asked, told, log_target=True, reduction="sum")
        assert together[i] == pytest.approx(float(expected), abs=1e-5)
        assert together[i] > 1e-3


def test_a_context_that_is_not_there_persuades_of_nothing():
    (one,) = made_tokens(((8, 8),))
    same = ItemTokens(one.prompt, one.prompt, one.context_answer_ids, one.parametric_answer_ids)
    assert context_divergences(tiny_model("llama"), [same], 100)[0] < 1e-6
