"""On a GPU every number is what it is on the processor; left out where there is none."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import Command
from tiny import FAMILIES, tiny_model

import attnshift

sys.path.insert(0, str(Path(__file__).parent / "training"))

from made import base_of, data_of

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")

CPU, GPU = torch.device("cpu"), torch.device("cuda")
ROUNDING = {"rtol": 2e-3, "atol": 2e-4}
STACKED_EXPERTS = "gpt_oss"
NO_OPTIMIZER = ("attention_push_preconditioned", "margin_push_preconditioned")


@pytest.fixture(params=FAMILIES)
def twins(request) -> tuple[str, dict[torch.device, torch.nn.Module]]:
    """A model here and there."""
    return request.param, {device: tiny_model(request.param).to(device) for device in (CPU, GPU)}


def test_attention_mass(twins):
    _, models = twins
    ids = torch.randint(3, 600, (3, 40), generator=torch.Generator().manual_seed(0))
    spans = torch.arange(40)[None, None].expand(3, 2, -1) // 20 == torch.arange(2)[None, :, None]
    mask = torch.ones_like(ids)
    mask[1, 30:] = 0
    here, there = (
        attnshift.attention_mass(models[d], ids.to(d), spans.to(d), attention_mask=mask.to(d)).cpu() for d in (CPU, GPU)
    )
    torch.testing.assert_close(there, here, **ROUNDING)


def test_example_gradient_norms(twins):
    family, models = twins
    if family == STACKED_EXPERTS:
        pytest.skip("experts that are stacked into one tensor are refused")
    ids = torch.randint(3, 600, (3, 24), generator=torch.Generator().manual_seed(0))
    labels = ids.clone()
    labels[:, :17] = -100
    here, there = (attnshift.example_gradient_norms(models[d], ids.to(d), labels.to(d)).cpu() for d in (CPU, GPU))
    torch.testing.assert_close(there, here, **ROUNDING)


@pytest.mark.parametrize("family", ["llama", "gpt2", "neox", "gemma2"])
def test_every_measure(made, family, tmp_path):
    compare_traces(made(family), tmp_path)


def test_every_measure_of_an_adapter(made, tmp_path):
    compare_traces(made("llama", lora=True), tmp_path)


def test_half_precision_is_finite(made, tmp_path):
    run = made("llama")
    found = traced(run, tmp_path / "half", device="cuda", dtype="bfloat16")
    whole = traced(run, tmp_path / "whole", device="cuda")
    for name in ("attention_mass", "margin", "gradient_norm", "loss", "margin_push"):
        assert np.isfinite(found[name].values).all() == np.isfinite(whole[name].values).all(), name
    norms = found.gradient_norm.values / whole.gradient_norm.values
    assert np.nanmax(abs(norms - 1)) < 0.1


def test_patch_and_graft(command: Command, made, tmp_path):
    run = made("llama")
    ends = ("--source", run / "checkpoint-2", "--target", run / "checkpoint-4", "--conflicts", run.parent / "cf.json")
    cheap = ("--max-new-tokens", 2, "--json")
    for verb, more in (("patch", ()), ("graft", ("--ift", run.parent / "alpaca.json", "--search"))):
        here, there = (
            command(verb, *ends, *more, *cheap, "--device", device, "-o", tmp_path / f"{verb}-{device}.nc")
            for device in ("cpu", "cuda")
        )
        assert there.code == here.code == 0, there.err
        rows, key = {"patch": ("cells", "restoration"), "graft": ("grafts", "restoration_margin")}[verb]
        for a, b in zip(here.json[rows], there.json[rows], strict=True):
            assert a[key] == pytest.approx(b[key], rel=2e-2, abs=2e-2)


def test_finetuning_measured_live(command: Command, tmp_path):
    base, files, run = base_of(tmp_path / "base"), data_of(tmp_path), tmp_path / "run"
    steps = ("--steps", 4, "--batch-size", 8, "--saves", 2, "--template", "plain")
    done = command("finetune", "--base", base, "--data", files[0], "--conflicts", files[1], "-o", run, *steps)
    assert done.code == 0, done.err
    done = command("trace", "--ckpts", run, "--device", "cuda", "--out", tmp_path / "trace")
    assert done.code == 0, done.err
    assert np.isfinite(attnshift.open_trace(tmp_path / "trace").margin.values).all()


def traced(run: Path, out: Path, **options):
    data = {
        "items": attnshift.load_items(run.parent / "cf.json"),
        "examples": attnshift.load_examples(run.parent / "alpaca.json"),
        "max_new_tokens": 4,
        "template": "plain",
    }
    return attnshift.trace(attnshift.open_series(run), out=out, **data | options).load()


def compare_traces(run: Path, tmp_path: Path) -> None:
    from attnshift.measures.catalogue import FURTHER, MEASURES

    names = [m.name for m in (*MEASURES, *FURTHER) if m.name not in NO_OPTIMIZER]
    here, there = (
        traced(run, tmp_path / device, device=device, measures=names, controls=True) for device in ("cpu", "cuda")
    )
    assert there.attrs["failed"] == "{}"
    assert set(here.variables) == set(there.variables)
    apart = {}
    for name in here.data_vars:
        a, b = here[name].values, there[name].values
        if a.dtype.kind != "f":
            assert (a == b).mean() > 0.95, name  # greedy text may part where two tokens are even
        elif not np.allclose(a, b, **ROUNDING, equal_nan=True):
            apart[name] = float(np.nanmax(abs(a - b)))
    assert not apart
