"""What is read at the rows of the forced answer, as variables of a trace, recomputed from it and a checkpoint."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from tiny import conflict_rows
from transformers import AutoModelForCausalLM

import attnshift
from attnshift.data.roles import CONTEXT, CONTEXT_ANSWER, PARAMETRIC_ANSWER

BY_HEAD = ("step", "item", "layer", "head")
ASKED = {
    "lookback_ratio": ("ratio", BY_HEAD),
    "retrieval_score": ("share", BY_HEAD),
    "external_context_score": ("cosine similarity", BY_HEAD),
    "parametric_knowledge_score": ("nats", BY_HEAD[:3]),
}


@pytest.fixture(scope="module")
def traced(made, tmp_path_factory):
    run = made("llama", lora=False)
    series = attnshift.open_series(run, base=str(run.parent / "base"))
    out = tmp_path_factory.mktemp("trace")
    rows = conflict_rows(4)
    for row in rows[1:]:  # a city's name is one token, and two names are several
        longer = row["answer"] + " " + row["memory_answer"]
        row |= {"context": row["context"].replace(row["answer"], longer), "answer": longer}
    (out / "cf.json").write_text(json.dumps(rows), encoding="utf-8")
    items = attnshift.load_items(out / "cf.json")
    return attnshift.trace(series, items=items, measures=list(ASKED), out=out / "trace", steps=[4]), run


def forced(trace, item):
    """Ids of prompt and answer, the prompt's length, and where in it the context is."""
    prompt, answer = (trace[name].values[item] for name in ("token_ids", "context_answer_ids"))
    prompt, answer = prompt[prompt != -1], answer[answer != -1]
    context = np.flatnonzero(np.isin(trace.token_role.values[item], (CONTEXT, CONTEXT_ANSWER, PARAMETRIC_ANSWER)))
    return np.concatenate([prompt, answer]).astype(np.int64), len(prompt), context


def test_dims_and_units(traced):
    trace, _ = traced
    for name, (unit, dims) in ASKED.items():
        assert trace[name].unit == unit
        assert trace[name].dims == dims


def test_the_ratio_follows_from_ids_and_checkpoint(traced):
    trace, run = traced
    model = AutoModelForCausalLM.from_pretrained(run / "checkpoint-4", attn_implementation="eager").eval()
    for item in range(4):
        ids, start, context = forced(trace, item)
        with torch.no_grad():
            rows = torch.stack(model(torch.from_numpy(ids)[None], output_attentions=True).attentions)[:, 0].numpy()
        ratios = []
        for row in range(start, len(ids) - 1):
            back, new = rows[:, :, row, context].mean(-1), rows[:, :, row, start : row + 1].mean(-1)
            ratios.append(back / (back + new))
        found = trace.lookback_ratio.values[0, item]
        if ratios:
            np.testing.assert_allclose(found, np.mean(ratios, 0), atol=1e-5)
        else:
            assert np.isnan(found).all()
    assert np.isnan(trace.lookback_ratio.values[0]).all((1, 2)).tolist() == [True, False, False, False]


def test_the_scores_of_redeep_follow_from_ids_and_checkpoint(traced):
    trace, run = traced
    model = AutoModelForCausalLM.from_pretrained(run / "checkpoint-4", attn_implementation="eager").eval()
    left, added = [], []
    for layer in model.model.layers:
        layer.register_forward_hook(lambda _module, _args, output: left.append(output[0]))
        layer.mlp.register_forward_hook(lambda _module, _args, output: added.append(output[0]))
    for item in range(4):
        ids, start, context = forced(trace, item)
        left.clear()
        added.clear()
        with torch.no_grad():
            seen = model(torch.from_numpy(ids)[None], output_attentions=True, output_hidden_states=True)
            residuals = torch.stack([torch.stack(left) - torch.stack(added), torch.stack(left)])[:, :, start - 1 : -1]
            pair = model.lm_head(model.model.norm(residuals)).double().log_softmax(-1)  # side layer row token
        middle = pair.exp().mean(0).log()
        nats = (pair.exp() * (pair - middle)).sum(-1).mean(0)
        np.testing.assert_allclose(trace.parametric_knowledge_score.values[0, item], nats.mean(-1), rtol=0.01)
        states = seen.hidden_states[-1][0]
        weights = torch.stack(seen.attentions)[:, 0, :, start - 1 : -1, context]  # layer head row key
        best = torch.from_numpy(context)[weights.topk(max(1, len(context) // 10)).indices]
        expected = torch.cosine_similarity(states[best].mean(-2), states[start - 1 : -1], dim=-1).mean(-1)
        np.testing.assert_allclose(trace.external_context_score.values[0, item], expected, atol=1e-5)
    assert trace.parametric_knowledge_score.values.min() > 1e-5
