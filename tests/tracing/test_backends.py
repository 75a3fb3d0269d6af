"""The same trace, whoever measures it: several processes, processes that die, several commands at once."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Lock

import numpy as np
import psutil
import pytest
import tiny_traces
import torch
import xarray as xr
from tiny_traces import assert_same, series

import attnshift
from attnshift.data.templates import load_template
from attnshift.measures.measure import Measure, Observation
from attnshift.tracing.backends import processes
from attnshift.tracing.backends.choice import choose_backend
from attnshift.tracing.backends.elsewhere import Post, packed
from attnshift.tracing.backends.processes import Processes, devices_for
from attnshift.tracing.errands import Settle
from attnshift.tracing.job import prepare
from attnshift.tracing.store import Store
from attnshift.tracing.trace import run_job

SOME = ["margin", "attention_mass", "loss", "gradient_norm"]


options = partial(tiny_traces.options, measures=SOME)


@pytest.fixture(scope="module")
def run(made) -> Path:
    return made("llama")


@pytest.fixture(scope="module")
def alone(run, tmp_path_factory) -> xr.Dataset:
    return attnshift.trace(series(run), **options(run, tmp_path_factory.mktemp("alone")))


def workers() -> list[psutil.Process]:
    return [p for p in psutil.Process().children() if "attnshift.tracing.backends.worker" in " ".join(p.cmdline())]


@pytest.mark.parametrize("killed", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_two_workers_measure_the_same_and_may_be_killed(run, alone, tmp_path, killed):
    """Both are killed when the first checkpoint is done: one of them idle, the other over its work."""
    seen, before = [], set()

    def progress(said):
        seen.append(said)
        if len(seen) == 1:
            before.update(workers())
            for process in before if killed else ():
                process.kill()

    trace = attnshift.trace(series(run), **options(run, tmp_path), workers=2, progress=progress)
    assert_same(trace, alone)
    assert before
    assert sorted(p.step for p in seen) == [0, 2, 4]
    assert [(p.done, p.total) for p in seen] == [(1, 3), (2, 3), (3, 3)]
    assert all("margin" in p.values and "attention_mass" not in p.values for p in seen)
    assert not workers()


@dataclass(frozen=True)
class Deadly(Measure):
    """Kills its process, as running out of memory does, until so many have died."""

    folder: str
    lives: int = 10**9

    name, unit, dims, needs = "deadly", "nats", ("item",), frozenset({"context_answer"})

    def compute(self, seen: Observation) -> np.ndarray:
        died = Path(self.folder) / f"{os.getpid()}"
        if len(list(died.parent.iterdir())) < self.lives:
            died.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return np.nansum(seen.get("context_answer").logprob, -1)


@pytest.mark.slow
def test_a_checkpoint_that_kills_every_worker_is_a_failed_row(run, tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "ATTEMPTS", 2)
    (tmp_path / "died").mkdir()
    job = prepare(series(run), **options(run, tmp_path / "t", measures=[Deadly(str(tmp_path / "died"))], steps=[2]))
    with Processes(2, "cpu") as backend:
        outcome = run_job(job, backend=backend)
    assert outcome.computed == ()
    assert list(outcome.failed) == [2]
    assert "died 2 times" in outcome.failed[2]
    assert "SIGKILL" in outcome.failed[2]
    assert len(list((tmp_path / "died").iterdir())) == 2
    assert json.loads((tmp_path / "t" / "failures.json").read_text())["2"] == outcome.failed[2]


def command(run: Path, out: Path, *more: str) -> subprocess.Popen[str]:
    words = ["trace", "--ckpts", run, "--base", run.parent / "base", "--conflicts", run.parent / "cf.json"]
    words += ["--ift", run.parent / "alpaca.json", "--out", out, "--max-new-tokens", 2, *more]
    arguments = [sys.executable, "-m", "attnshift", *map(str, words)]
    return subprocess.Popen(
        arguments,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # which tests in the background ignore
    )


@pytest.mark.slow
def test_two_commands_at_once_leave_what_one_leaves(run, alone, tmp_path):
    """With other measures each: both add to the same files."""
    both = [command(run, tmp_path / "t", "--measures", names) for names in ("margin,loss", ",".join(SOME[1:]))]
    ended = [process.communicate(timeout=300) for process in both]
    assert [process.returncode for process in both] == [0, 0], ended
    assert_same(attnshift.open_trace(tmp_path / "t"), alone)
    assert not list((tmp_path / "t").glob(".*.tmp"))


@pytest.mark.slow
def test_an_interrupted_sweep_leaves_no_worker_and_goes_on(run, alone, tmp_path):
    process = command(run, tmp_path / "t", "--measures", ",".join(SOME), "--workers", "2")
    while not list((tmp_path / "t").glob("step-*.nc")):
        assert process.poll() is None
        time.sleep(0.02)
    started = psutil.Process(process.pid).children()
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "goes on from there" in said[1]
    assert not [each for each in started if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]
    assert_same(attnshift.trace(series(run), **options(run, tmp_path / "t")), alone)


@pytest.mark.slow
def test_workers_follow_a_parent_that_is_killed(run, tmp_path):
    process = command(run, tmp_path / "t", "--workers", "2")
    while not (tmp_path / "t" / "inputs.nc").is_file():
        assert process.poll() is None
        time.sleep(0.02)
    started = psutil.Process(process.pid).children()
    assert started
    process.kill()
    process.communicate()
    assert not psutil.wait_procs(started, timeout=10)[1]


def test_who_is_second_finds_the_trace_settled_and_the_cell_measured(run, tmp_path):
    """Two jobs prepared before either begins, one after the other."""
    first, second = (prepare(series(run), **options(run, tmp_path, steps=[2], measures=["margin"])) for _ in "ab")
    assert run_job(first).computed == (2,)
    file = Store(tmp_path).file(2)
    before = file.stat().st_mtime_ns
    outcome = run_job(second)
    assert (outcome.computed, outcome.kept) == ((), (2,))
    assert file.stat().st_mtime_ns == before


def test_failures_of_other_steps_are_kept(run, tmp_path):
    out = tmp_path / "t"
    run_job(prepare(series(run), **options(run, out, steps=[2], measures=["margin"])))
    (out / "failures.json").write_text('{"0": "went wrong", "4": "went wrong"}')
    run_job(prepare(series(run), **options(run, out, steps=[0], measures=["margin"])))
    assert json.loads((out / "failures.json").read_text()) == {"4": "went wrong"}


@pytest.mark.parametrize("template", ["plain", "chat", "file"])
def test_a_job_can_be_sent(made, tmp_path, template):
    run = made("llama", chat=True)
    file = tmp_path / "mine.jinja"
    file.write_text("{{ context }} {{ question }} {{ answer }}")
    name = str(file) if template == "file" else template
    job = prepare(series(run), **options(run, tmp_path, template=name))
    got = pickle.loads(packed(job))
    assert got.recipe(got.inputs) == job.recipe(job.inputs)
    assert got.encoder.template.render("a", "b", "c") == job.encoder.template.render("a", "b", "c")
    assert load_template(name, job.tokenizer).digest == got.encoder.template.digest


def test_what_cannot_be_sent_is_refused(run, tmp_path):
    job = prepare(series(run), **options(run, tmp_path, measures=[Deadly(lambda: None)]))  # type: ignore[arg-type]
    packed(job)  # a function can be
    job = prepare(series(run), **options(run, tmp_path, measures=[Deadly(Lock())]))  # type: ignore[arg-type]
    with pytest.raises(attnshift.AttnshiftError, match="can't be sent") as error:
        packed(job)
    assert "--workers 1" in error.value.remedy


def test_a_worker_that_cannot_see_the_run_says_so(run, tmp_path):
    job = prepare(series(run), **options(run, tmp_path / "nowhere"))
    done = Post("cpu", torch.get_num_threads()).attempt(packed(job), packed(Settle()))
    assert isinstance(done.error, attnshift.AttnshiftError)
    assert "nowhere can't be seen" in str(done.error)
    assert "share" in str(done.error)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("local", 0), "0 workers"),
        (("cloud", 1), "no backend 'cloud'"),
        (("local", 2, {"address": "here"}), "no cluster"),
        (("local", 2, None, "cuda:1"), "a device each"),
        (("local", 2, None, "cuda"), "0 GPUs"),
    ],
)
def test_impossible_requests_are_refused(arguments, told, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(attnshift.AttnshiftError) as error:
        choose_backend(*arguments)
    assert told in str(error.value)


def test_workers_that_die_before_they_are_ready_end_the_sweep_with_one_error(run, tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "_PROGRAM", "import sys; sys.exit(3)")
    with pytest.raises(attnshift.AttnshiftError) as error:
        attnshift.trace(series(run), **options(run, tmp_path), workers=2)
    assert "the last of 3 ended with code 3" in error.value.problem
    assert error.value.remedy == "--workers 1"


def test_a_gpu_for_every_worker(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    assert devices_for(3, None) == ["cuda:0", "cuda:1", "cuda:2"]
    assert devices_for(2, "cpu") == ["cpu", "cpu"]
    with pytest.raises(attnshift.AttnshiftError) as error:
        devices_for(5, "cuda")
    assert "4 GPUs" in error.value.problem
    assert error.value.remedy == "--workers 4"


def test_workers_on_one_processor_share_its_threads_and_memory(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 7)
    backend = Processes(3, "cpu")
    assert (backend.share, backend._threads) == (3, 2)


def test_a_share_of_memory_is_a_smaller_budget(run, tmp_path, monkeypatch):
    from attnshift.tracing import job as jobs

    monkeypatch.setattr(jobs, "free_bytes", lambda _: 20_000_000)
    one, four = (prepare(series(run), **options(run, tmp_path, share=n)).settings.token_budget for n in (1, 4))
    assert four < one
