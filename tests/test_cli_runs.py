"""Several runs at once, and a run that is followed, from the command line."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from command_line import Command, is_one_block

import attnshift

CHEAP = ("--measures", "margin", "--max-new-tokens", "2")


@pytest.fixture
def runs(made, tmp_path) -> tuple[Path, Path]:
    """Two runs that ended long ago."""
    made_at = made("llama")
    for name in ("a", "b"):
        shutil.copytree(made_at, tmp_path / name)
        for file in (tmp_path / name).rglob("*"):
            os.utime(file, (1_000_000, 1_000_000))
    return tmp_path / "a", tmp_path / "b"


@pytest.fixture
def data(made) -> tuple[object, ...]:
    folder = made("llama").parent
    return "--conflicts", folder / "cf.json", "--base", folder / "base", *CHEAP


def test_a_trace_for_each_run(command: Command, runs, data, tmp_path):
    a, b = runs
    done = command("trace", "--ckpts", a, "--ckpts", b, *data)
    assert done.code == 0, done.err
    assert f"attnshift.open_traces({{'a': '{a}/trace', 'b': '{b}/trace'}})" in done.out
    both = attnshift.open_traces({"a": a / "trace", "b": b / "trace"})
    assert both.margin.dims == ("run", "step", "item")
    elsewhere = ("--out", tmp_path / "out", "--dry-run")
    facts = command("trace", "--ckpts", a, "--ckpts", b, *data, *elsewhere, "--json").json
    assert [each["out"] for each in facts["traces"]] == [str(tmp_path / "out/a"), str(tmp_path / "out/b")]
    assert command("trace", "--ckpts", a, "--ckpts", b, *data, *elsewhere).out.count("run        ") == 2


@pytest.mark.slow
def test_one_failed_checkpoint_of_several_runs(command: Command, runs, data):
    a, b = runs
    next(b.glob("checkpoint-*/model.safetensors")).write_bytes(b"")
    done = command("trace", "--ckpts", a, "--ckpts", b, *data)
    assert done.code == 1
    assert "failed" in done.err
    assert (a / "trace").is_dir()


def test_a_folder_of_runs_says_what_to_do(command: Command, runs, data, tmp_path):
    assert is_one_block(command("trace", "--ckpts", tmp_path, *data), "2 runs", f"--ckpts {runs[0]} --ckpts {runs[1]}")


def test_runs_that_would_share_a_trace(command: Command, runs, data, tmp_path):
    a, _ = runs
    other = shutil.copytree(a, tmp_path / "other/a")
    two = ("trace", "--ckpts", a, "--ckpts", other, *data)
    assert is_one_block(command(*two, "--out", tmp_path / "out"), "'a'", "--out")
    assert is_one_block(command("trace", "--ckpts", a, "--ckpts", f"{a}/../a", *data), "two runs")
    assert command(*two, "--dry-run").code == 0


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("--follow", "--dry-run"),
        ("--follow", "--steps=1"),
        ("--follow", "--every=2"),
        ("--follow", "--revisions=main"),
    ],
)
def test_what_following_excludes(command: Command, runs, data, first, second):
    told = second.partition("=")[0]
    assert is_one_block(command("trace", "--ckpts", runs[0], *data, first, second), first, told)


@pytest.mark.parametrize("option", ["--follow", "--revisions=main", "--benchmark-csv=x.csv"])
def test_what_several_runs_exclude(command: Command, runs, data, option):
    two = ("trace", "--ckpts", runs[0], "--ckpts", runs[1], *data)
    assert is_one_block(command(*two, option), "a second --ckpts", option.partition("=")[0])


def test_following_a_run_that_is_over(command: Command, runs, data):
    done = command("trace", "--ckpts", runs[0], *data, "--follow", "--json")
    assert done.code == 0, done.err
    assert "is at step" in done.json["over"]
    assert done.json["deleted"] == []
    again = command("trace", "--ckpts", runs[0], *data)
    assert "0 checkpoints measured" in again.out


def test_following_what_isnt_there(command: Command, tmp_path, data):
    assert is_one_block(command("trace", "--ckpts", tmp_path / "gone", *data, "--follow"), "gone", "to follow")
