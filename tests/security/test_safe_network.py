"""No command reaches for the network unless its user names a model on the hub."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from audit import network, recorded
from command_line import is_one_block

NAMED = "someone/some-model"


@pytest.fixture
def online(monkeypatch, tmp_path):
    """As a user is: nothing tells the hub's client to stay offline, and its cache is empty."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def naming(made, tmp_path) -> Path:
    """A run of adapters that names models on the hub wherever a file can."""
    run = Path(shutil.copytree(made("llama", lora=True), tmp_path / "run"))
    for file in run.glob("*/adapter_config.json"):
        file.write_text(json.dumps(json.loads(file.read_text()) | {"base_model_name_or_path": NAMED, "revision": "x"}))
    for file in run.rglob("tokenizer_config.json"):
        file.write_text(json.dumps(json.loads(file.read_text()) | {"name_or_path": NAMED, "_commit_hash": "x"}))
    (run / "attnshift.json").write_text(json.dumps({"base": NAMED}))
    return run


def test_a_name_inside_a_run_is_looked_up_on_disk_alone(command, naming, online, tmp_path):
    with recorded() as events:
        for words in (("inspect", naming), ("trace", "--ckpts", naming, "--dry-run"), ("trace", "--ckpts", naming)):
            assert is_one_block(command(*words), f"'{NAMED}'", "--base")
    assert not network(events)


def test_with_its_base_named_a_run_that_names_others_is_traced_without_a_network(
    command, naming, made, online, tmp_path
):
    base = made("llama", lora=True).parent / "base"
    for name in ("config.json", "generation_config.json"):
        (copied := Path(shutil.copytree(base, tmp_path / f"base-{name}")))
        file = copied / name
        file.write_text(json.dumps(json.loads(file.read_text()) | {"_name_or_path": NAMED, "base_model": NAMED}))
        words = ("--measures", "margin", "--max-new-tokens", 1, "--limit", 2, "--out", tmp_path / f"t-{name}")
        with recorded() as events:
            done = command("trace", "--ckpts", naming, "--base", copied, *words)
        assert done.code == 0, done.err
        assert not network(events)


def test_a_name_that_the_user_gives_is_asked_for(command, naming, online):
    """Else the tests above would show nothing."""
    with recorded() as events:
        assert is_one_block(command("inspect", naming, "--base", NAMED), f"'{NAMED}'", "can't be downloaded")
    assert network(events)


def test_a_pickled_checkpoint_asks_nobody_to_convert_it(made, online, tmp_path):
    """transformers can start a thread that asks the hub for a safe copy."""
    import torch
    from safetensors.torch import load_file

    import attnshift

    run = Path(shutil.copytree(made("llama"), tmp_path / "run"))
    for weights in run.glob("*/model.safetensors"):
        torch.save(load_file(weights), weights.with_name("pytorch_model.bin"))
        weights.unlink()
    with recorded() as events:
        series = attnshift.open_series(run)
        for step in series.steps:
            series[step].model()
    assert series.steps
    assert not network(events)


@pytest.mark.slow
def test_every_command_works_with_the_network_cut(made, tmp_path):
    """From the first import on, in a process of its own."""
    run, out = made("llama"), tmp_path / "t"
    data = ["--conflicts", run.parent / "cf.json", "--ift", run.parent / "alpaca.json", "--limit", "4"]
    ours = ["--ckpts", run, *data, "--base", run.parent / "base", "--out", out]
    ends = ["--source", run / "checkpoint-2", "--target", run / "checkpoint-4", *data, "--out", tmp_path / "g"]
    commands = [
        ["--help"],
        ["inspect", run],
        ["trace", *ours, "--dry-run"],
        ["trace", *ours],
        ["trace", "--ckpts", run, "--out", tmp_path / "shipped", "--limit", "4", "--measures", "margin"],
        ["rescore", out],
        *(["plot", out, "margin", "-o", tmp_path / f"x.{suffix}"] for suffix in ("html", "json", "csv")),
        ["report", out, "-o", tmp_path / "r.html"],
        ["compare", f"{out}@2", f"{out}@4"],
        ["graft", *ends],
        ["theory", "--json"],
        ["demo", "--out", tmp_path / "demo", "--arm", "nonsense"],
        ["split", "--model", run / "checkpoint-2", "--data", run.parent / "alpaca.json", "-o", tmp_path / "split.json"],
    ]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("HF_")} | {"HF_HOME": str(tmp_path / "hf")}
    words = json.dumps([list(map(str, each)) for each in commands])
    program = [sys.executable, Path(__file__).with_name("audit.py"), tmp_path / "events.json", words]
    done = subprocess.run(program, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads((tmp_path / "events.json").read_text())
    assert [each["network"] for each in told] == [[]] * len(commands), done.stderr
    codes = {commands[i][0]: each["code"] for i, each in enumerate(told)}
    assert codes.pop("demo") == 2
    assert set(codes.values()) == {0}, (codes, done.stderr)
