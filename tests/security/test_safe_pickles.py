"""A pickle is a program: none of them runs, whatever it is called and wherever a run keeps it."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from pathlib import Path

import pytest
import torch
from audit import opened, recorded
from command_line import is_one_block

import attnshift
from attnshift.checkpoints.optimizer import read_second_moments
from attnshift.errors import AttnshiftError, CheckpointError

CANARY = "a-pickle-ran"


class Program:
    """Makes a file when it is unpickled."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self):
        return (os.system, (f"touch '{self.place}'",))


def plain(content: object, path: Path) -> None:
    path.write_bytes(pickle.dumps(content))


def zipped(content: object, path: Path) -> None:
    torch.save(content, path)


def legacy(content: object, path: Path) -> None:
    torch.save(content, path, _use_new_zipfile_serialization=False)


WRITERS = [plain, zipped, legacy]


@pytest.fixture
def canary(tmp_path) -> Path:
    return tmp_path / CANARY


def test_the_program_does_run_where_it_is_let(tmp_path, canary):
    """Else the tests below would show nothing."""
    for write in WRITERS:
        write({"w": Program(canary)}, tmp_path / "x.bin")
        if write is plain:
            pickle.loads((tmp_path / "x.bin").read_bytes())
        else:
            torch.load(tmp_path / "x.bin", weights_only=False)
        assert canary.exists()
        canary.unlink()


def folder(path: Path, config: str, **content: object) -> Path:
    path.mkdir(parents=True)
    (path / config).write_text(json.dumps({"model_type": "llama", "architectures": ["LlamaForCausalLM"], **content}))
    return path


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.safetensors"])
def test_weights_of_a_full_checkpoint(command, tmp_path, canary, name, write):
    run = tmp_path / "run"
    write({"w": Program(canary)}, folder(run / "checkpoint-1", "config.json") / name)
    for words in (("inspect", run), ("trace", "--ckpts", run)):
        assert is_one_block(command(*words), f"checkpoint-1/{name}", "can't be read")
    assert not canary.exists()


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("name", ["adapter_model.bin", "adapter_model.safetensors"])
def test_weights_of_an_adapter(command, made, tmp_path, canary, name, write):
    run, base = tmp_path / "run", made("llama").parent / "base"
    write({"w": Program(canary)}, folder(run / "checkpoint-1", "adapter_config.json", peft_type="LORA") / name)
    for words in (("inspect", run, "--base", base), ("trace", "--ckpts", run, "--base", base)):
        assert is_one_block(command(*words), f"checkpoint-1/{name}", "can't be read")
    assert not canary.exists()


@pytest.mark.parametrize("write", WRITERS)
def test_shards(command, tmp_path, canary, write):
    run = tmp_path / "run"
    checkpoint = folder(run / "checkpoint-1", "config.json")
    for suffix, stem in ((".safetensors", "model"), (".bin", "pytorch_model")):
        shutil.rmtree(checkpoint)
        folder(checkpoint, "config.json")
        write({"w": Program(canary)}, checkpoint / f"part{suffix}")
        index = {"weight_map": {"w": f"part{suffix}"}}
        (checkpoint / f"{stem}{suffix}.index.json").write_text(json.dumps(index))
        assert is_one_block(command("inspect", run), f"part{suffix}", "can't be read")
    assert not canary.exists()


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("wrapped", [True, False])
def test_the_optimizers_state(tmp_path, canary, write, wrapped):
    content = {"state": {0: Program(canary)}, "param_groups": []} if wrapped else Program(canary)
    write(content, tmp_path / "optimizer.pt")
    with pytest.raises(CheckpointError, match=r"optimizer\.pt can't be used"):
        read_second_moments(tmp_path, {"w": torch.Size([2])}, ["w"], [])
    assert not canary.exists()


def test_a_trainers_other_pickles_are_never_even_opened(command, made, tmp_path, canary):
    made_run = made("llama")
    run = Path(shutil.copytree(made_run, tmp_path / "run"))
    names = ("training_args.bin", "scheduler.pt", "rng_state.pth", "optimizer.pt", "scaler.pt")
    for at in (run, *run.glob("checkpoint-*")):
        for name in names:
            zipped(Program(canary), at / name)
    data = ("--conflicts", made_run.parent / "cf.json", "--ift", made_run.parent / "alpaca.json")
    with recorded() as events:
        assert command("inspect", run).code == 0
        done = command("trace", "--ckpts", run, *data, "--limit", 2, "--max-new-tokens", 1, "--out", tmp_path / "t")
    assert done.code == 0, done.err
    assert not canary.exists()
    assert not [path for path in opened(events, run) if path.endswith(names)]
    assert not [event for event in events if event[0] in ("pickle.find_class", "os.system")]


def test_an_optimizer_that_is_asked_for_is_refused_alone(command, made, tmp_path, canary):
    made_run = made("llama")
    run = Path(shutil.copytree(made_run, tmp_path / "run"))
    for at in run.glob("checkpoint-*"):
        zipped({"state": Program(canary), "param_groups": []}, at / "optimizer.pt")
    data = ("--ift", made_run.parent / "alpaca.json", "--conflicts", made_run.parent / "cf.json", "--limit", 4)
    measures = ("--measures", "margin_push_preconditioned", "--out", tmp_path / "t")
    done = command("trace", "--ckpts", run, *data, *measures)
    assert done.code == 1, done.err
    assert "optimizer.pt can't be used" in done.err
    assert "Traceback" not in done.err
    assert not canary.exists()


def test_in_python_too(tmp_path, canary):
    zipped({"w": Program(canary)}, folder(tmp_path / "run", "config.json") / "pytorch_model.bin")
    with pytest.raises(AttnshiftError, match="can't be read"):
        attnshift.open_series(tmp_path / "run")
    assert not canary.exists()
