"""A run is followed while a trainer, played by the tests, writes it: file by file, and with deletions."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from attnshift.checkpoints.growing import Growing
from attnshift.data.formats import load_items
from attnshift.errors import AttnshiftError
from attnshift.models.series import open_series
from attnshift.tracing.dataset import open_trace
from attnshift.tracing.follow import follow
from attnshift.tracing.job import Job, prepare
from attnshift.tracing.trace import Outcome, run_job, trace

MINUTES = 5


class Trainer:
    """Does one thing whenever somebody sleeps; nobody waits in truth."""

    def __init__(self, run: Path, *doings: Callable[[], object]) -> None:
        self.run, self.doings, self.now = run, list(doings), 1_000_000.0
        self.slept = 0

    def clock(self) -> float:
        for path in self.run.rglob("*"):
            if path.stat().st_mtime > 2_000_000:
                os.utime(path, (self.now, self.now))
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept += 1
        assert self.slept < 1000, "follow never ends"
        self.now += seconds
        if self.slept % 6 == 0 and self.doings:  # a minute between two
            self.doings.pop(0)()


@pytest.fixture
def source(made) -> Path:
    return made("llama")


@pytest.fixture
def run(tmp_path, source) -> Path:
    """What is there before the first checkpoint."""
    (tmp_path / "run").mkdir()
    shutil.copytree(source.parent / "base", tmp_path / "run/base")
    return tmp_path / "run"


def checkpoints(source: Path) -> list[Path]:
    return sorted(source.glob("checkpoint-*"), key=lambda path: int(path.name.partition("-")[2]))


def save(run: Path, folder: Path, *, without: str = "") -> None:
    (run / folder.name).mkdir(exist_ok=True)
    for file in folder.iterdir():
        if file.is_file() and file.name != without:
            shutil.copyfile(file, run / folder.name / file.name)


def pretend(job: Job) -> Outcome:
    """A round without its arithmetic."""
    failed = {step: str(error) for step, error in job.broken.items()}
    return Outcome(tuple(checkpoint.step for checkpoint in job.checkpoints), (), failed, "", "", "")


def followed(trainer: Trainer, source: Path, do: Callable[[Job], Outcome] = pretend):
    """Follow it, and what each round was about."""
    items = load_items(source.parent / "cf.json")
    rounds: list[list[int]] = []
    told: list[str] = []

    def job_of(ready) -> Job:
        series = open_series(trainer.run, ready=ready)
        return prepare(series, items=items, measures=["margin"], max_new_tokens=2, token_budget=512)

    def measure(job: Job) -> Outcome:
        rounds.append([checkpoint.step for checkpoint in job.checkpoints])
        return do(job)

    growing = Growing(trainer.run, trainer.run / "trace", trainer.clock)
    ended = follow(growing, job_of, measure, told.append, minutes=MINUTES, clock=trainer.clock, sleep=trainer.sleep)
    return ended, rounds, told


def steps_of(source: Path) -> list[int]:
    return [int(folder.name.partition("-")[2]) for folder in checkpoints(source)]


def test_round_after_round_gives_the_same_trace(run, source, tmp_path):
    folders = checkpoints(source)
    trainer = Trainer(
        run,
        partial(save, run, folders[0], without="trainer_state.json"),
        partial(save, run, folders[0]),
        *(partial(save, run, folder) for folder in folders[1:]),
    )
    ended, rounds, told = followed(trainer, source, run_job)
    steps = steps_of(source)
    assert rounds[:2] == [[0, *steps[:1]], [0, *steps[:2]]]
    assert rounds[-1] == [0, *steps]
    assert ended.over == f"checkpoint-{steps[-1]}/ is at step {steps[-1]} of {steps[-1]}"
    assert ended.outcome.computed == (0, *steps)
    assert ended.outcome.kept == ()
    assert not ended.outcome.failed
    assert not ended.deleted
    assert any(f"complete: checkpoint-{steps[0]}" in line for line in told)
    whole = shutil.copytree(run, tmp_path / "whole", ignore=shutil.ignore_patterns("trace"))
    items = load_items(source.parent / "cf.json")
    plain = trace(open_series(whole), items=items, measures=["margin"], max_new_tokens=2, token_budget=512)
    mine = open_trace(run / "trace").margin.load()
    xr.testing.assert_identical(mine.drop_vars("checkpoint"), plain.margin.load().drop_vars("checkpoint"))


def test_a_half_written_checkpoint_is_not_touched(run, source):
    """A safetensors file that is cut short would be an error if anybody opened it."""
    first, second, *_ = checkpoints(source)

    def half() -> None:
        save(run, second, without="model.safetensors")
        content = (second / "model.safetensors").read_bytes()
        (run / second.name / "model.safetensors").write_bytes(content[: len(content) // 2])

    def grow() -> None:
        with (run / second.name / "model.safetensors").open("ab") as file:
            file.write(b"0")

    steps = steps_of(source)
    trainer = Trainer(run, partial(save, run, first), half, *[grow] * 3, partial(save, run, second))
    patient = partial(Growing, run, run / "trace", trainer.clock, 90.0)
    growing = patient()
    seen = []
    for _ in range(60):
        seen.append({folder.name for folder in growing.look().numbered})
        trainer.sleep(10)
    assert {first.name} in seen
    assert seen[-1] == {first.name, second.name}
    assert steps[1] not in growing.deleted()


def test_what_save_total_limit_deletes_before_it_is_measured_is_skipped(run, source):
    folders, steps = checkpoints(source), steps_of(source)
    trainer = Trainer(run, *(partial(save, run, folder) for folder in folders))

    def delete(job: Job) -> Outcome:
        """Between reading the run and measuring it."""
        if job.checkpoints[-1].step == steps[1]:
            shutil.rmtree(run / f"checkpoint-{steps[1]}")
        return run_job(job)

    ended, _, _ = followed(trainer, source, delete)
    assert ended.deleted == (steps[1],)
    assert not ended.outcome.failed
    assert steps[1] not in ended.outcome.computed
    opened = open_trace(run / "trace")
    assert opened.attrs["failed"] == "{}"
    assert opened.step.values.tolist() == [0, *(step for step in steps if step != steps[1])]


def test_what_was_measured_may_be_deleted(run, source):
    folders, steps = checkpoints(source), steps_of(source)
    trainer = Trainer(
        run,
        partial(save, run, folders[0]),
        partial(shutil.rmtree, run / folders[0].name),
        partial(save, run, folders[1]),
    )
    ended, rounds, _ = followed(trainer, source, run_job)
    assert rounds[-1] == [0, steps[1]]
    assert ended.outcome.computed == (0, steps[0], steps[1])
    assert not ended.deleted
    assert np.isfinite(open_trace(run / "trace").margin.sel(step=steps[0])).all()


def test_silence_ends_it(run, source):
    trainer = Trainer(run, partial(save, run, checkpoints(source)[0]))
    ended, rounds, _ = followed(trainer, source)
    assert ended.over == f"nothing was written for {MINUTES} minutes"
    assert len(rounds) == 2
    assert trainer.now - 1_000_000 >= 60 * MINUTES


def test_a_checkpoint_that_stays_broken_is_told_at_the_end(run, source):
    first, second, *_ = checkpoints(source)
    torn = partial((run / second.name).mkdir)
    trainer = Trainer(run, partial(save, run, first), torn)
    ended, _, _ = followed(trainer, source)
    assert list(ended.outcome.failed) == [int(second.name.partition("-")[2])]


def test_a_run_that_stays_empty_is_an_error_in_the_end(run, source):
    shutil.rmtree(run / "base")
    with pytest.raises(AttnshiftError, match="no checkpoints"):
        followed(Trainer(run), source)


def test_without_a_base_the_second_checkpoint_is_waited_for(run, source):
    """What is trained shows in the difference of two."""
    shutil.rmtree(run / "base")
    folders, steps = checkpoints(source), steps_of(source)
    _, rounds, _ = followed(Trainer(run, *(partial(save, run, folder) for folder in folders)), source)
    assert rounds[0] == steps[:2]


def test_bad_input_is_an_error_at_once(run, source):
    first, second, *_ = checkpoints(source)

    def twin() -> None:
        shutil.copytree(run / first.name, run / second.name)

    trainer = Trainer(run, partial(save, run, first), twin)
    with pytest.raises(AttnshiftError, match="identical weights"):
        followed(trainer, source)
