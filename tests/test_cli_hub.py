"""Revisions of a model on the hub from the command line, the network cut."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import xarray as xr
from command_line import Command, is_one_block

REPO = "someone/tiny"
CHEAP = ("--measures", "margin", "--max-new-tokens", "2")


@pytest.fixture
def cache(made, tmp_path, monkeypatch) -> Path:
    """A cache with three revisions, made of the checkpoints of a run."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    repository, run = tmp_path / "cache/models--someone--tiny", made("llama")
    for step, folder in enumerate((run.parent / "base", *sorted(run.glob("checkpoint-*")))):
        commit = f"{step}" * 40
        shutil.copytree(folder, repository / "snapshots" / commit)
        (repository / "refs").mkdir(exist_ok=True)
        (repository / f"refs/step{1000 * step}").write_text(commit)
    return tmp_path / "cache"


def data(made) -> tuple[object, ...]:
    return "--conflicts", made("llama").parent / "cf.json"


def test_inspect_and_trace_from_the_cache(command: Command, cache, made, tmp_path):
    named = ("--revisions", "step0,step2000,step1000")
    facts = command("inspect", REPO, *named, "--json").json
    assert facts["run"] == REPO
    assert [(c["step"], c["revision"]) for c in facts["checkpoints"]] == [
        (0, "step0"),
        (1000, "step1000"),
        (2000, "step2000"),
    ]
    assert "step2000" in command("inspect", REPO, *named).out
    done = command("trace", "--ckpts", REPO, *named, *data(made), *CHEAP, "--out", tmp_path / "trace")
    assert done.code == 0, done.err
    with xr.open_dataset(tmp_path / "trace/step-00002000.nc") as cell:
        assert "2" * 40 in cell.attrs["checkpoint"]
    again = command("trace", "--ckpts", REPO, *named, *data(made), *CHEAP, "--out", tmp_path / "trace")
    assert "0 checkpoints measured, 3 kept" in again.out
    dry = command("trace", "--ckpts", REPO, *named, *data(made), *CHEAP, "--out", tmp_path / "trace", "--dry-run")
    assert dry.out.startswith(f"run        {REPO}")


def test_a_trace_of_the_hub_needs_a_place(command: Command, cache):
    assert is_one_block(command("trace", "--ckpts", REPO, "--revisions", "step0"), REPO, "--out")


def test_a_dry_run_tells_what_would_be_downloaded(command: Command, cache, monkeypatch):
    files = [SimpleNamespace(rfilename=name, size=820_000_000) for name in ("model.safetensors", "pytorch_model.bin")]
    monkeypatch.setattr("huggingface_hub.model_info", lambda *_, **__: SimpleNamespace(siblings=files))
    arguments = ("trace", "--ckpts", REPO, "--revisions", "step0,step9000", "--dry-run")
    done = command(*arguments)
    assert "revision   step0: in the cache" in done.out
    assert "revision   step9000: 820.0 MB, 1 files" in done.out
    assert command(*arguments, "--json").json["bytes"] == 820_000_000
    assert command("inspect", REPO, "--revisions", "step9000").out.endswith("once it is in the cache\n")


def test_what_isnt_there(command: Command, cache):
    assert is_one_block(command("inspect", REPO, "--revisions", "step7"), "step7", "can't be downloaded", "hf download")
    assert is_one_block(command("inspect", REPO), "doesn't exist", "--revisions")
