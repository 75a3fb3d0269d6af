"""Files inside a run lead nowhere out of it, and to nothing that a reader would wait for."""

from __future__ import annotations

import json
import os
import shutil
import socket
from pathlib import Path

import pytest
import torch
from audit import opened, recorded
from command_line import is_one_block
from safetensors.torch import save_file

import attnshift
from attnshift.errors import AttnshiftError

CHEAP = ("--measures", "margin", "--max-new-tokens", 1, "--limit", 2)
SECRET = "a word that nobody may see"


@pytest.fixture
def outside(tmp_path) -> Path:
    """A folder beside the run, of files that a run could want to read."""
    folder = tmp_path / "outside"
    folder.mkdir()
    rows = [{"context": f"{SECRET} is here.", "question": "Where?", "answer": "here", "memory_answer": "there"}]
    (folder / "secret.json").write_text(json.dumps(rows))
    (folder / "secret.jinja").write_text(f"{SECRET} {{{{ context }}}} {{{{ question }}}} {{{{ answer }}}}")
    save_file({"w": torch.ones(2)}, folder / "secret.safetensors")
    return folder


@pytest.fixture
def run(made, tmp_path) -> Path:
    return Path(shutil.copytree(made("llama"), tmp_path / "run"))


def ways(outside: Path, run: Path, name: str) -> list[str]:
    """Paths to a file outside of a run: upwards, absolute, through a link to it or to its folder."""
    (run / f"link{Path(name).suffix}").symlink_to(outside / name)
    (run / "linked").symlink_to(outside)
    relative = os.path.relpath(outside / name, run)
    return [relative, f"checkpoint-2/../{relative}", str(outside / name), f"link{Path(name).suffix}", f"linked/{name}"]


@pytest.mark.parametrize("key", ["conflicts", "ift", "template"])
def test_a_manifest(command, run, outside, key):
    for path in ways(outside, run, "secret.jinja" if key == "template" else "secret.json"):
        for value in [path] if key == "template" else [path, ["nothing.json", path]]:
            (run / "attnshift.json").write_text(json.dumps({key: value}))
            with recorded() as events:
                for words in (("inspect", run), ("trace", "--ckpts", run, "--dry-run")):
                    done = command(*words)
                    assert is_one_block(done, path, "leaves")
                    assert SECRET not in done.err
            assert not opened(events, outside)


def test_an_index_of_shards(command, run, outside):
    weights = run / "checkpoint-2" / "model.safetensors"
    weights.unlink()
    for path in ways(outside, weights.parent, "secret.safetensors"):
        weights.with_name("model.safetensors.index.json").write_text(json.dumps({"weight_map": {"w": path}}))
        with recorded() as events:
            done = command("inspect", run)
        assert done.code == 0
        assert "leaves" in done.out
        assert not opened(events, outside)


def test_what_a_trainers_state_calls_the_best_checkpoint(command, run, outside, tmp_path):
    shutil.copytree(run / "checkpoint-2", outside / "checkpoint-9")
    for file in run.rglob("trainer_state.json"):
        state = json.loads(file.read_text()) | {"best_model_checkpoint": str(outside / "checkpoint-9")}
        file.write_text(json.dumps(state | {"best_global_step": 9}))
    with recorded() as events:
        assert "checkpoint-9" not in command("inspect", run).out
        done = command("trace", "--ckpts", run, *CHEAP, "--out", tmp_path / "t")
    assert done.code == 0, done.err
    assert not opened(events, outside)


def test_an_adapters_base_may_lie_anywhere_and_is_read_under_the_same_rules(command, made, tmp_path, outside):
    run = Path(shutil.copytree(made("llama", lora=True), tmp_path / "run"))
    base = Path(shutil.copytree(made("llama", lora=True).parent / "base", outside / "base"))
    for file in run.glob("*/adapter_config.json"):
        file.write_text(json.dumps(json.loads(file.read_text()) | {"base_model_name_or_path": "../outside/base"}))
    assert attnshift.open_series(run).run.base == base
    (base / "model.safetensors").write_bytes(b"\x80\x04\x95")
    assert is_one_block(command("inspect", run), base, "can't be read")
    (base / "model.safetensors").unlink()
    (base / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"w": "../secret.safetensors"}}))
    assert is_one_block(command("inspect", run), "../secret.safetensors", "leaves")


def test_an_adapter_names_no_file_as_its_base(command, made, tmp_path, outside):
    run = Path(shutil.copytree(made("llama", lora=True), tmp_path / "run"))
    for name in (str(outside / "secret.json"), "../outside", "/dev/zero", "", 3, None, ["x"], {"a": 1}, "a\0b", "~/x"):
        for file in run.glob("*/adapter_config.json"):
            file.write_text(json.dumps(json.loads(file.read_text()) | {"base_model_name_or_path": name}))
        with recorded() as events:
            assert is_one_block(command("inspect", run), "base model")
        assert not opened(events, outside)


def pipe(path: Path) -> None:
    path.unlink(missing_ok=True)
    os.mkfifo(path)


def device(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.symlink_to("/dev/zero")


def listening(path: Path) -> None:
    path.unlink(missing_ok=True)
    here = Path.cwd()
    os.chdir(path.parent)  # the name of a socket is short
    try:
        with socket.socket(socket.AF_UNIX) as end:
            end.bind(path.name)
    finally:
        os.chdir(here)


@pytest.mark.slow
@pytest.mark.parametrize("place", [pipe, device, listening])
@pytest.mark.parametrize(
    "name",
    ["config.json", "model.safetensors", "trainer_state.json", "generation_config.json", "tokenizer_config.json"],
)
def test_pipes_and_devices_in_a_checkpoint(command, run, place, name, tmp_path):
    """Whoever reads a pipe waits for ever, and a device never ends."""
    place(run / "checkpoint-2" / name)
    done = command("inspect", run)
    assert done.code == 0
    assert "is a pipe or a device" in done.out
    place(run / "checkpoint-4" / name)
    assert is_one_block(command("trace", "--ckpts", run, *CHEAP, "--out", tmp_path / "t"), "pipe")


@pytest.mark.parametrize("place", [pipe, device])
def test_pipes_and_devices_elsewhere(command, run, place, tmp_path):
    for name in ("attnshift.json", "trainer_state.json"):
        place(run / name)
        done = command("inspect", run)
        assert done.code == (2 if name == "attnshift.json" else 0)
        (run / name).unlink()
    for name, key in (("data.json", "conflicts"), ("mine.jinja", "template")):
        place(run / name)
        (run / "attnshift.json").write_text(json.dumps({key: name}))
        assert is_one_block(command("trace", "--ckpts", run, "--dry-run"), name)
    (run / "attnshift.json").unlink()
    (run / "tokenizer").mkdir()
    shutil.copy(run / "checkpoint-2" / "tokenizer.json", run / "tokenizer")
    place(run / "tokenizer" / "special_tokens_map.json")
    assert is_one_block(command("trace", "--ckpts", run, "--tokenizer", run / "tokenizer"), "pipe or a device")
    trace = tmp_path / "t"
    trace.mkdir()
    for name in ("inputs.nc", "step-00000002.nc", "summary.nc", "failures.json"):
        place(trace / name)
    assert is_one_block(command("plot", trace, "margin"), trace)
    for words in (("trace", "--ckpts", run, "--conflicts", run / "data.json"), ("ingest", run / "data.json")):
        assert is_one_block(command(*words, "--out", tmp_path / "other"), "pipe or a device")


def test_a_graft_is_saved_nowhere_that_something_is(tmp_path):
    from attnshift.interventions.save import refuse_existing

    (tmp_path / "link").symlink_to("nowhere")
    (tmp_path / "file").touch()
    for name in (".", "..", "link", "file"):
        with pytest.raises(AttnshiftError, match="exists already"):
            refuse_existing(tmp_path / name)
    refuse_existing(tmp_path / "new")
