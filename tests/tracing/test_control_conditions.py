"""Items under control conditions in a trace, recomputed from what it stores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from tiny_traces import series
from torch.nn.functional import log_softmax
from transformers import AutoModelForCausalLM

import attnshift
from attnshift.data.controls import CONDITIONS
from attnshift.tracing.store import Store

CONTROLS = ["control_margin", "control_generation", "control_label"]


@pytest.fixture(scope="module")
def run(made) -> Path:
    return made("llama")


def options(run: Path, out: Path, **more):
    items = attnshift.load_items(run.parent / "cf.json")
    return {"items": items, "out": out, "max_new_tokens": 4, "steps": [4], "measures": ["margin"], **more}


@pytest.fixture(scope="module")
def traced(run, tmp_path_factory) -> xr.Dataset:
    return attnshift.trace(series(run), **options(run, tmp_path_factory.mktemp("controls"), controls=True))


def summed(model, prompt: np.ndarray, answer: np.ndarray) -> float:
    answer = answer[answer != -1]
    ids = torch.from_numpy(np.concatenate([prompt[prompt != -1], answer]).astype(np.int64))[None]
    with torch.no_grad():
        logits = model(ids).logits[0, -len(answer) - 1 : -1]
    return float(log_softmax(logits, -1).gather(1, ids[0, -len(answer) :, None]).sum())


def test_margins_equal_plain_log_softmax_of_the_stored_prompts(run, traced):
    assert traced.control_margin.dims == ("step", "item", "condition")
    assert traced.condition.values.tolist() == list(CONDITIONS)
    model = AutoModelForCausalLM.from_pretrained(run / "checkpoint-4", attn_implementation="eager").eval()
    there = 0
    for i in range(traced.sizes["item"]):
        context, parametric = (traced[f"{kind}_answer_ids"].values[i] for kind in ("context", "parametric"))
        for c in range(len(CONDITIONS)):
            got, prompt = float(traced.control_margin[0, i, c]), traced.control_token_ids.values[i, c]
            if str(traced.control_refused.values[i, c]):
                assert np.isnan(got)
                assert (prompt == -1).all()
                assert traced.control_label.values[0, i, c] == traced.control_context.values[i, c] == ""
            else:
                assert got == pytest.approx(
                    summed(model, prompt, context) - summed(model, prompt, parametric), abs=1e-4
                )
                assert traced.control_label.values[0, i, c] in ("context", "parametric", "both", "neither")
                there += 1
    assert there > 10  # the agreeing ones are refused: every context names its parametric answer already
    assert all("is there already" in str(why) for why in traced.control_refused.sel(condition="agreeing").values)


def test_a_trace_that_is_there_can_be_extended(run, traced, tmp_path):
    attnshift.trace(series(run), **options(run, tmp_path))
    later = attnshift.trace(series(run), **options(run, tmp_path, controls=True))
    for name in (*CONTROLS, "control_token_ids", "control_context", "control_question", "control_refused"):
        np.testing.assert_array_equal(later[name], traced[name], err_msg=name)


def test_labels_under_control_conditions_are_rescored_too(run, tmp_path):
    names = {"measures": ["generation", "answer_label"], "controls": True}
    expected = attnshift.trace(series(run), **options(run, tmp_path, **names)).control_label.values
    store = Store(tmp_path)
    wrong = np.where(expected[0] == "", "", "both").astype(object)
    stale = {"control_label": (("item", "condition"), wrong, {"key": "control_label/0"})}
    store.update_cell(4, xr.Dataset(stale))
    done = attnshift.rescore(tmp_path)
    assert done.refreshed == {"control_label": 1}
    np.testing.assert_array_equal(attnshift.open_trace(tmp_path).control_label, expected)
    assert attnshift.rescore(tmp_path).written == ()


def test_from_the_command_line(run, tmp_path, command):
    more = ("--out", tmp_path, "--steps", 4, "--measures", "margin", "--max-new-tokens", 2, "--controls")
    done = command("trace", "--ckpts", run, "--conflicts", run.parent / "cf.json", *more)
    assert done.code == 0, done.err
    assert "note: control unknown_entity: 10 of 10 items" in done.err
    assert "note: control agreeing: 0 of 10 items; of 10 left out the first: the parametric answer" in done.err
    assert set(CONTROLS) <= set(attnshift.open_trace(tmp_path).data_vars)
