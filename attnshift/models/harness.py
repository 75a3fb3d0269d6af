"""Benchmarks of lm-evaluation-harness on a model in memory."""

from __future__ import annotations

import copy
import logging
import random
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from attnshift.errors import AttnshiftError
from attnshift.models.task_files import refuse_programs, sandboxed

_NO_METRICS = ("alias", "sample_len", "sample_count", "name")
BATCH = 16
"""Requests that go through the model together."""


@dataclass(frozen=True)
class BenchmarkTask:
    """A task of the harness, by its name there or by a file of one's own."""

    name: str
    metric: str = ""
    """of those that the task has; its first one where none is asked for"""
    folder: Path | None = None
    """where its file is, for a task of one's own"""


@dataclass(frozen=True)
class BenchmarkScore:
    """What a model scores at a task, in the task's own unit."""

    task: str
    value: float
    about: str
    """the metric, the harness's version, the part of the task"""


def read_tasks(names: Sequence[str]) -> list[BenchmarkTask]:
    """Tasks as ``--benchmarks`` names them: ``arc_easy``, ``arc_easy:acc_norm``, a task's yaml file, a folder of them.

    Raises AttnshiftError for files that name no task, and for those that are programs.
    """
    tasks: list[BenchmarkTask] = []
    for given in names:
        path = Path(given)
        if path.is_dir() or path.suffix in (".yaml", ".yml"):
            files = sorted([*path.glob("*.yaml"), *path.glob("*.yml")]) if path.is_dir() else [path]
            found = [BenchmarkTask(name, folder=file.parent) for file in files if (name := _task_of(file))]
            if not found:
                raise AttnshiftError(
                    f"{given!r} names no benchmark task",
                    expected="a yaml file of lm-evaluation-harness, with its task:",
                )
            refuse_programs(found[0].folder or path)
            tasks += found
        else:
            name, _, metric = given.partition(":")
            tasks.append(BenchmarkTask(name, metric))
    return tasks


def _task_of(file: Path) -> str:
    try:
        named = re.search(r"^task:\s*['\"]?([^'\"\s#]+)", file.read_text(encoding="utf-8"), re.MULTILINE)
    except (OSError, UnicodeDecodeError) as error:
        raise AttnshiftError(
            f"{str(file)!r} can't be read: {error}", expected="a benchmark task's yaml file"
        ) from error
    return named[1] if named else ""


def evaluate(
    model: Any, tokenizer: Any, tasks: Sequence[BenchmarkTask], limit: int | None = None
) -> list[BenchmarkScore]:
    """What a model scores at some tasks; at most ``limit`` documents of each. Random states are left as they were.

    Raises AttnshiftError where the harness isn't installed or a task isn't to be had.
    """
    try:
        import lm_eval
        from lm_eval.models.huggingface import HFLM
        from lm_eval.tasks import TaskManager
    except ImportError as error:
        raise AttnshiftError(
            f"benchmarks need lm-evaluation-harness: {error}", remedy="pip install 'attnshift[eval]'"
        ) from error
    folders = sorted({str(task.folder) for task in tasks if task.folder is not None})
    names = [task.name for task in tasks]
    with _undisturbed(), sandboxed() if folders else nullcontext():
        try:
            manager = TaskManager(include_path=folders or None, include_defaults=any(not t.folder for t in tasks))
            found = lm_eval.simple_evaluate(
                model=HFLM(pretrained=model, tokenizer=copy.deepcopy(tokenizer), batch_size=BATCH),
                tasks=list(names),
                limit=limit,
                task_manager=manager,
                log_samples=False,
                bootstrap_iters=0,
            )
        except Exception as error:  # the harness raises whatever it meets, a wrong name too
            raise AttnshiftError(
                f"the benchmarks {', '.join(names)} can't be run: {type(error).__name__}: {str(error)[:300]}",
                expected="tasks that lm-evaluation-harness knows, with their data at hand",
                remedy="lm-eval ls tasks; or a task file of your own",
            ) from error
    part = "all" if limit is None else f"the first {limit}"
    results = found["results"]
    return [_score(task, results[task.name], f"lm_eval {lm_eval.__version__}, {part}") for task in tasks]


def _score(task: BenchmarkTask, result: dict[str, Any], made: str) -> BenchmarkScore:
    metrics = {
        name: value
        for name, value in result.items()
        if name not in _NO_METRICS and "_stderr" not in name and isinstance(value, int | float)
    }
    chosen = [name for name in metrics if not task.metric or name.partition(",")[0] == task.metric]
    if not chosen:
        raise AttnshiftError(
            f"the benchmark {task.name} has no {task.metric or 'metric'}", expected=f"one of {', '.join(metrics)}"
        )
    return BenchmarkScore(task.name, float(metrics[chosen[0]]), f"{chosen[0].removesuffix(',none')}, {made}")


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Random states, log levels and gradients as they were, though the harness seeds everything."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002  (it seeds this one)
    on_gpus = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    log = logging.getLogger("lm_eval")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
        torch.set_rng_state(states[2])
        if on_gpus:
            torch.cuda.set_rng_state_all(on_gpus)
