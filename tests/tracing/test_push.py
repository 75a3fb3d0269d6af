"""Pushes scaled by the optimizer's state, and models whose examples can't be told apart."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch
from tiny_organism import TINY
from torch.nn.functional import log_softmax
from transformers import AutoModelForCausalLM

import attnshift
from attnshift.organism.build import build_run

MEASURES = ("margin", "margin_push", "margin_push_preconditioned", "attention_push_preconditioned")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return build_run(tmp_path_factory.mktemp("run") / "run", TINY, seed=1)


@pytest.fixture(scope="module")
def trace(run):
    return attnshift.trace(attnshift.open_series(run), measures=MEASURES, limit=12, steps=[0, 20])


def real(row: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(row[row != -1].astype(np.int64))[None]


def test_a_preconditioned_push_divides_by_adams_second_moment(run, trace):
    folder = run / "checkpoint-20"
    model = AutoModelForCausalLM.from_pretrained(folder).requires_grad_(True)
    state = torch.load(folder / "optimizer.pt", weights_only=True)
    names = [name for group in state["param_groups"] for name in group["param_names"]]
    moments = {name: state["state"][i]["exp_avg_sq"] / (1 - 0.98**20) for i, name in enumerate(names)}

    def gradient(loss: torch.Tensor) -> dict[str, torch.Tensor]:
        found = torch.autograd.grad(loss, list(model.parameters()))
        return dict(zip(dict(model.named_parameters()), found, strict=True))

    margins = []
    for i in range(trace.sizes["item"]):
        prompt = real(trace.token_ids.values[i])
        a, b = (int(trace[f"{kind}_answer_ids"].values[i, 0]) for kind in ("context", "parametric"))
        logits = model(prompt).logits[0, -1]
        margins.append(logits[a] - logits[b])
    direction = gradient(torch.stack(margins).mean())
    for group in trace.group.values:
        losses = []
        for i in np.flatnonzero((trace.group_of_example == group) & (trace.split == "train")):
            ids = real(trace.ift_token_ids.values[i])
            losses.append(-log_softmax(model(ids).logits[0, -2], -1)[ids[0, -1]])
        step = gradient(torch.stack(losses).mean())
        expected = -sum((direction[n] * step[n] / (moments[n].sqrt() + 1e-8)).sum() for n in step)
        got = trace.margin_push_preconditioned.sel(step=20, group=group)
        assert float(got) == pytest.approx(float(expected), rel=1e-3, abs=1e-6)


def test_without_an_optimizers_state_it_is_unknown(trace):
    assert np.isnan(trace.margin_push_preconditioned.sel(step=0)).all()
    assert np.isnan(trace.attention_push_preconditioned.sel(step=0)).all()
    assert np.isfinite(trace.margin_push.sel(step=0)).all()


def test_no_optimizers_state_at_all_is_refused(run, tmp_path):
    bare = shutil.copytree(run, tmp_path / "bare", ignore=shutil.ignore_patterns("optimizer.pt", "trace"))
    with pytest.raises(attnshift.AttnshiftError, match=r"no checkpoint of .*bare keeps optimizer\.pt"):
        attnshift.trace(attnshift.open_series(bare), measures=["margin_push_preconditioned"], out=tmp_path / "t")


def test_a_mixture_of_experts_is_traced_without_gradients_per_example(made, tmp_path):
    run = made("gpt_oss")
    options = {"items": attnshift.load_items(run.parent / "cf.json"), "limit": 4, "out": tmp_path / "t", "steps": [0]}
    options["examples"] = attnshift.load_examples(run.parent / "alpaca.json")
    series = attnshift.open_series(run, base=str(run.parent / "base"))
    trace = attnshift.trace(series, max_new_tokens=2, **options)
    assert "example_gradient_norm" not in trace
    assert np.isfinite(trace.margin_push).all()
    assert "no gradients per example" in trace.attrs["notes"]
    with pytest.raises(attnshift.AttnshiftError, match="example_gradient_norm"):
        attnshift.trace(series, measures=["example_gradient_norm"], **options | {"out": tmp_path / "u"})
