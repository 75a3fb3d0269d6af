"""Benchmarks beside a trace: run on every checkpoint, or read from a file of one's own."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from attnshift.checkpoints.checkpoint import Checkpoint
from attnshift.data.rows import read_rows
from attnshift.errors import AttnshiftError, CheckpointError
from attnshift.models.harness import BenchmarkScore, BenchmarkTask, evaluate
from attnshift.tracing.backends.backend import Backend
from attnshift.tracing.backends.serial import Serial
from attnshift.tracing.job import Job
from attnshift.tracing.station import Station
from attnshift.tracing.store import INPUTS, Store

BENCHMARK, ABOUT = "benchmark", "benchmark_about"
KEY = "benchmark/1"

Say = Callable[[str], None]


@dataclass(frozen=True)
class ScoreBenchmarks:
    """Score one checkpoint at benchmark tasks and add that to its file."""

    checkpoint: Checkpoint
    tasks: Sequence[BenchmarkTask]
    limit: int | None

    @property
    def step(self) -> int:
        """The checkpoint's."""
        return self.checkpoint.step

    @property
    def files(self) -> Sequence[Path]:
        """The checkpoint's."""
        return self.checkpoint.files

    def run(self, station: Station) -> Sequence[BenchmarkScore]:
        """Returns the scores; none where the checkpoint can no longer be read."""
        try:
            station.skeleton.load(self.checkpoint)
        except CheckpointError:
            return ()  # it was read when it was measured; what is wrong now is told when it is measured again
        found = evaluate(station.skeleton.model, station.job.tokenizer, self.tasks, self.limit)
        put_scores(station.job.store, self.step, found)
        return found


def run_benchmarks(
    job: Job,
    tasks: Sequence[BenchmarkTask],
    limit: int | None = None,
    say: Say | None = None,
    backend: Backend | None = None,
) -> None:
    """Score every checkpoint that the job's trace holds at the tasks that it lacks there.

    A score that was made otherwise (another metric, limit or version of the harness) is made anew. ``say`` is called
    with a line per checkpoint. ``backend`` is one that is open; default: this process. Raises AttnshiftError for tasks
    that can't be run.
    """
    steps, errands = set(job.store.steps()), []
    for checkpoint in job.checkpoints:
        if checkpoint.step not in steps:
            continue
        held = scores(job.store, checkpoint.step)
        missing = [task for task in tasks if not _made_alike(held.get(task.name), task, limit)]
        if missing:
            errands.append(ScoreBenchmarks(checkpoint, tuple(missing), limit))
    for errand, done in (backend or Serial()).perform(job, errands):
        if done.error is not None:
            raise done.error
        told = ", ".join(f"{each.task} {each.value:.3f} ({each.about.partition(',')[0]})" for each in done.result)
        if say is not None and told:
            say(f"benchmarks at step {errand.step}: {told}")


def scores(store: Store, step: int) -> dict[str, BenchmarkScore]:
    """The benchmark scores that a step's file holds, by task."""
    held = store.read_variables(step, ("task", BENCHMARK, ABOUT))
    if BENCHMARK not in held:
        return {}
    rows = zip(*(held[name].values.tolist() for name in ("task", BENCHMARK, ABOUT)), strict=True)
    return {task: BenchmarkScore(task, value, about) for task, value, about in rows}


def put_scores(store: Store, step: int, found: Sequence[BenchmarkScore]) -> None:
    """Add scores to a step's file, in place of those of the same tasks."""
    with store.alone("scores"):
        _put_scores(store, step, {**scores(store, step), **{score.task: score for score in found}})


def _put_scores(store: Store, step: int, whole: Mapping[str, BenchmarkScore]) -> None:
    values = np.array([score.value for score in whole.values()])
    about = np.array([score.about for score in whole.values()], object)
    unit = {"unit": "the task's own", "measure": "score at a benchmark task", "key": KEY}
    told = {"unit": "text", "measure": "metric and making of the score", "key": KEY}
    store.replace_variables(
        step, xr.Dataset({BENCHMARK: ("task", values, unit), ABOUT: ("task", about, told)}, {"task": list(whole)})
    )


def read_benchmarks(trace: str | Path, file: str | Path) -> tuple[list[str], list[int]]:
    """Read benchmark scores from a csv, json or jsonl file into a trace: a column ``step`` and a column per task.

    Returns the tasks, and the steps of the file that the trace doesn't have.

    Raises
    ------
    AttnshiftError
        There is no trace; the file has no step, a step twice, no other column, or a value that is no number.
    """
    store = Store(Path(trace))
    if not store.steps():
        raise AttnshiftError(f"there is no trace in {str(trace)!r}", expected=f"{INPUTS} and step-*.nc")
    by_step = _columns(Path(file))
    for step, row in by_step.items():
        if step in store.steps():
            about = f"column of {Path(file).name}"
            put_scores(store, step, [BenchmarkScore(task, value, about) for task, value in row.items()])
    tasks = list(dict.fromkeys(task for row in by_step.values() for task in row))
    return tasks, sorted(set(by_step) - set(store.steps()))


def _columns(file: Path) -> dict[int, dict[str, float]]:
    by_step: dict[int, dict[str, float]] = {}
    for number, row in enumerate(read_rows(file), 1):
        place = f"{file}, row {number}"
        stated = str(row.get("step", "")).strip().removesuffix(".0")
        if not stated.isdecimal():
            raise AttnshiftError(
                f"{place}: the step is {row.get('step')!r}", expected="a column step of whole numbers, and one per task"
            )
        if int(stated) in by_step:
            raise AttnshiftError(f"{place}: step {stated} is there twice", expected="one row per step")
        found = {task: _value(place, task, given) for task, given in row.items() if task != "step"}
        by_step[int(stated)] = {task: value for task, value in found.items() if value is not None}
    if not any(by_step.values()):
        raise AttnshiftError(f"{file}: there is no score in it", expected="a column per task beside step")
    return by_step


def _value(place: str, task: str, given: Any) -> float | None:
    if given is None or str(given).strip() == "":
        return None
    try:
        value = float(given)
    except (TypeError, ValueError):
        value = math.nan
    if not math.isfinite(value):
        raise AttnshiftError(f"{place}: {task} is {given!r}", expected="a number, or nothing where there is no score")
    return value


def _made_alike(held: BenchmarkScore | None, task: BenchmarkTask, limit: int | None) -> bool:
    if held is None or not held.about.endswith("all" if limit is None else f"the first {limit}"):
        return False
    return not task.metric or held.about.startswith(f"{task.metric},")
