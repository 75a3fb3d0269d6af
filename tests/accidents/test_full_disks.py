"""Where no room is left: one clear error, whole files only, and the same command goes on when there is room again."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from errno import ENOSPC
from pathlib import Path
from typing import Any

import pytest
import xarray as xr
from command_line import Done, is_one_block
from forks import KILLED, contents, files_of_at_most, forked, killed_in_file
from made_stores import made_store
from made_traces import made_trace, saved_trace
from tiny import conflict_rows

import attnshift
from attnshift import atomic
from attnshift.tracing.store import Store

sys.path.insert(0, str(Path(__file__).parents[1] / "training"))

from made import base_of, city_rows

OPERATIONS = 16
"""of a trace of one step: inputs, what is known, the step, the failures; each written, fsynced, renamed, fsynced"""
QUICK = (7, 10)


def words_of(run: Path, out: Path, *more: object) -> list[object]:
    data = ("--conflicts", run.parent / "cf.json", "--base", run.parent / "base", "--device", "cpu")
    return ["trace", "--ckpts", run, *data, "--measures", "margin", "--limit", "3", "--out", out, *more]


def no_room() -> OSError:
    return OSError(ENOSPC, os.strerror(ENOSPC))


def named(directory: Path) -> list[str]:
    """What is in a folder, but for the locks."""
    return [name for name in os.listdir(directory) if not name.endswith(".lock")]


class Failing:
    """Fails at the n-th operation on files, and counts them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
        self.left = number
        for owner, name in ((Path, "write_bytes"), (atomic, "_fsync"), (Path, "replace")):
            monkeypatch.setattr(owner, name, self.wrapped(getattr(owner, name)))

    def wrapped(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def operation(*arguments: Any) -> Any:
            self.left -= 1
            if self.left == 0:
                raise no_room()
            return real(*arguments)

        return operation


@pytest.mark.parametrize(
    "number", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in range(1, OPERATIONS + 1)]
)
def test_a_disk_that_is_full_at_any_operation(made, tmp_path, command, monkeypatch, number):
    run, out = made("llama"), tmp_path / "t"
    words = words_of(run, out, "--steps", "2")
    with monkeypatch.context() as patched:
        failing = Failing(patched, number)
        done = command(*words)
        assert failing.left == 0
    told = Done(done.code, done.out, "".join(x for x in done.err.splitlines(True) if not x.startswith("ckpt ")))
    assert is_one_block(told, "No space left on device", out, "same command")
    assert set(named(out)) <= {"inputs.nc", "step-00000002.nc", "failures.json"}
    for step in Store(out).steps():
        assert Store(out).read_header(step) is not None
    resumed = command(*words, "--json")
    assert resumed.code == 0
    assert resumed.json["kept" if number > 11 else "computed"] == [2]
    again = command(*words_of(run, tmp_path / "whole", "--steps", "2"))
    assert again.code == 0
    xr.testing.assert_identical(
        attnshift.open_trace(out).drop_attrs(), attnshift.open_trace(tmp_path / "whole").drop_attrs()
    )


def test_these_are_all_operations(made, tmp_path, command, monkeypatch):
    failing = Failing(monkeypatch, 10_000)
    assert command(*words_of(made("llama"), tmp_path / "t", "--steps", "2")).code == 0
    assert failing.left == 10_000 - OPERATIONS


def test_a_trace_stops_at_the_first_step_that_has_no_room(made, tmp_path, command, monkeypatch):
    """Going on would compute all the others for nothing."""
    run = made("llama")
    with monkeypatch.context() as patched:
        Failing(patched, 9)
        assert is_one_block(command(*words_of(run, tmp_path)), "No space left", tmp_path)
    assert named(tmp_path) == ["inputs.nc"]
    assert command(*words_of(run, tmp_path, "--json")).json["computed"] == [0, 2, 4]


@pytest.mark.parametrize("part", ["inputs.nc", pytest.param("step-00000000.nc", marks=pytest.mark.slow)])
def test_a_trace_really_without_room(made, tmp_path, command, part):
    run, more = made("llama"), ("--measures", "margin,attention_mass,generation", "--max-new-tokens", "40")
    assert command(*words_of(run, tmp_path / "whole", *more)).code == 0
    size = (tmp_path / "whole" / part).stat().st_size - 1
    done = forked(words_of(run, tmp_path / "t", *more), tmp_path / "log", files_of_at_most(size))
    assert is_one_block(done, "File too large", tmp_path / "t", "same command")
    done = command(*words_of(run, tmp_path / "t", *more))
    assert done.code == 0
    whole, here = attnshift.open_trace(tmp_path / "whole"), attnshift.open_trace(tmp_path / "t")
    xr.testing.assert_identical(whole.drop_attrs(), here.drop_attrs())


def test_opening_without_room_for_the_cache(made, tmp_path, command, monkeypatch):
    assert command(*words_of(made("llama"), tmp_path)).code == 0
    with monkeypatch.context() as patched:
        Failing(patched, 1)
        first = attnshift.open_trace(tmp_path)
    assert not (tmp_path / "summary.nc").exists()
    xr.testing.assert_identical(attnshift.open_trace(tmp_path), first)


# The other writers


def results(path: Path) -> Path:
    rows = [
        {"step": step, "item": f"i{i}", "generation": f" Lyon {step}", "context_answer": "Lyon", "margin": i - 0.5}
        for step in (0, 100, 200)
        for i in range(4)
    ]
    path.write_text(json.dumps(rows), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    return base_of(tmp_path_factory.mktemp("accidents") / "base")


@pytest.fixture(scope="module")
def original(tmp_path_factory) -> Path:
    """A folder with data, results and traces to write from."""
    path = tmp_path_factory.mktemp("original")
    for name, rows in (("data.json", city_rows()), ("cf.json", conflict_rows())):
        (path / name).write_text(json.dumps(rows), encoding="utf-8")
    results(path / "results.json")
    attnshift.open_trace(saved_trace(made_trace(steps=(0, 10, 20)), path / "trace"))
    made_store(path / "store", {0: ["Lyon", "Wien"], 10: ["Paris", "Graz"]}, labels={0: ["both"] * 2, 10: [""] * 2})
    (path / "out").mkdir()
    return path


@pytest.fixture
def place(original, tmp_path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(original, tmp_path / "place", copy_function=shutil.copy2))


WRITERS = {
    "report": "report {0}/trace -o {0}/out/page.html",
    "plot html": "plot {0}/trace margin -o {0}/out/fig.html",
    "plot json": "plot {0}/trace margin -o {0}/out/fig.json",
    "augment": "augment --data {0}/data.json --ratio .2 -o {0}/out/more.json",
    "overlap": "overlap --data {0}/data.json --conflicts {0}/cf.json -o {0}/out/fewer.json",
    "split": "split --model {1} --data {0}/data.json -o {0}/out/split.json --device cpu",
    "ingest": "ingest {0}/results.json -o {0}/out",
    "rescore": "rescore {0}/store",
}
WRITES = {"report": "page.html", "plot html": "fig.html", "plot json": "fig.json", "augment": "more.json",
          "overlap": "dropped.jsonl", "split": "split.json", "ingest": "step-", "rescore": "step-"}  # fmt: skip


def writer(name: str, place: Path, base: Path) -> list[object]:
    return list(WRITERS[name].format(place, base).split())


@pytest.mark.parametrize(
    "name", [n if n not in ("report", "split") else pytest.param(n, marks=pytest.mark.slow) for n in WRITERS]
)
def test_a_writer_without_room_says_so_and_leaves_what_was(place, base, command, name):
    before = contents(place)
    done = forked(writer(name, place, base), place.parent / "log", files_of_at_most(1500))
    assert is_one_block(done, "File too large", place)
    assert contents(place) == before
    assert command(*writer(name, place, base)).code == 0
    assert contents(place) != before


@pytest.mark.parametrize(
    "name", [n if n in ("augment", "ingest", "plot json") else pytest.param(n, marks=pytest.mark.slow) for n in WRITERS]
)
def test_a_writer_that_is_killed_half_way_leaves_no_half_file_under_a_name(place, base, command, name):
    log, before = place.parent / "log", contents(place)
    done = forked(writer(name, place, base), log, killed_in_file(WRITES[name]))
    assert done.code == KILLED
    left = {file: content for file, content in contents(place).items() if before.get(file) != content}
    assert [file for file in left if file.endswith(".tmp")]
    assert name == "ingest" or not [file for file in left if not file.endswith(".tmp")]
    again = command(*writer(name, place, base))
    assert again.code == 0, again.err
    there = contents(place)
    assert not [file for file in there if file.endswith(".tmp")]
    assert before.keys() <= there.keys()


def test_what_is_printed_to_a_full_disk(made, place, tmp_path):
    done = forked(["inspect", made("llama")], tmp_path / "log", stdout="/dev/full")
    assert is_one_block(done, "can't be printed", "No space left")


def test_nobody_reads_what_is_printed(made, tmp_path):
    ours, theirs = os.pipe()
    os.close(ours)
    done = forked(["inspect", made("llama")], tmp_path / "log", stdout=f"/dev/fd/{theirs}")
    os.close(theirs)
    assert (done.code, done.err) == (141, "")


def finished(done: Done) -> bool:
    return done.code == 0


@pytest.mark.slow
def test_a_finetuning_without_room_goes_on_when_there_is(place, base, command):
    words = f"finetune --base {base} --data {place}/data.json -o {place}/out --steps 4 --saves 2 --device cpu".split()
    done = forked(words, place / "log", files_of_at_most(60_000))
    assert is_one_block(done, "File too large", place / "out", "same command")
    assert (place / "out" / "attnshift.json").is_file()
    assert is_one_block(command("trace", "--ckpts", place / "out"), "none of the 1 checkpoints", place / "out")
    again = command(*words)
    assert again.code == 0, again.err
    assert len(attnshift.open_series(place / "out").steps) == 3


@pytest.mark.slow
def test_a_finetuning_killed_before_its_first_step_is_gone_on_with(place, base, command):
    words = f"finetune --base {base} --data {place}/data.json -o {place}/out --steps 2 --saves 1 --device cpu".split()
    for part in ("finetune.json", "train.jsonl", "ift.jsonl", "attnshift.json"):
        assert forked(words, place / "log", killed_in_file(part)).code == KILLED
    again = command(*words)
    assert again.code == 0, again.err
    assert not [file for file in contents(place / "out") if file.endswith(".tmp")]
    assert len(attnshift.open_series(place / "out").steps) == 2


@pytest.mark.slow
def test_a_graft_without_room_leaves_no_folder(made, tmp_path, command):
    run = made("llama")
    (tmp_path / "out").mkdir()
    words = f"graft --run {run} --source 2 --target 4 --conflicts {run.parent}/cf.json --parts q --limit 3".split()
    words += ["--max-new-tokens", "1", "--save", str(tmp_path / "out" / "saved"), "-o", str(tmp_path / "graft.nc")]
    done = forked(words, tmp_path / "log", files_of_at_most(60_000))
    assert is_one_block(done, "saved", "too large")
    assert os.listdir(tmp_path / "out") == []
    assert finished(command(*words))
    assert os.listdir(tmp_path / "out") == ["saved"]


@pytest.mark.slow
def test_an_organism_without_room_leaves_no_run(tmp_path, monkeypatch):
    from tiny_organism import TINY

    from attnshift.organism import recipe

    monkeypatch.setattr(recipe, "ARMS", {"full": TINY})
    (tmp_path / "d").mkdir()
    done = forked(["demo", "--out", tmp_path / "d"], tmp_path / "log", files_of_at_most(40_000))
    assert is_one_block(done, tmp_path / "d" / "run", "too large")
    assert os.listdir(tmp_path / "d") == []
