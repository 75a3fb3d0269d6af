"""A sweep by one process and by two: time on the clock, and the processor's with all that the workers take."""

from __future__ import annotations

import gc
import resource
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from typing import Any

import psutil
import torch

from benchmarks.bench import Bench
from benchmarks.clock import Cost
from benchmarks.rows import Row, Section
from benchmarks.sweep import make_sweep

CHECKPOINTS = 12
WORKERS = 2
PAIRS = 3


def scaling(bench: Bench) -> Section:
    """A trace by two workers beside the same by this process alone, with and without what starting takes."""
    if bench.device.type == "cuda" and torch.cuda.device_count() < WORKERS:
        return Section(notes=[f"A sweep by {WORKERS} workers: left out, it takes a GPU for each."])
    checkpoints, job_of = _sweep(bench)
    name = f"sweep of {checkpoints} checkpoints by {WORKERS} workers"
    rows = [
        Row(name, "starting them and their models included", "one process, its model included", clock="wall"),
        Row(f"{name} that run", "workers that hold a model", "one process that holds a model", clock="wall"),
    ]
    for pair in range(1 if bench.quick else min(PAIRS, bench.pairs)):
        sides = {workers: _costs(job_of, workers, bench) for workers in ((1, WORKERS) if pair % 2 else (WORKERS, 1))}
        for i, row in enumerate(rows):
            ours, against = [*row.ours_costs, sides[WORKERS][i]], [*row.against_costs, sides[1][i]]
            rows[i] = replace(row, ours_costs=ours, against_costs=against)
    return Section(rows)


def _sweep(bench: Bench) -> tuple[int, Callable[[], Any]]:
    """A run's number of checkpoints, and a function that prepares a new trace of it."""
    from attnshift.tracing.job import prepare

    checkpoints = 2 if bench.quick else CHECKPOINTS
    opened, options = make_sweep(bench, checkpoints)
    options["device"], number = bench.device.type, count()
    return checkpoints, lambda: prepare(opened, out=bench.folder / f"sweep-{next(number)}", **options)


def _costs(job_of: Callable[[], Any], workers: int, bench: Bench) -> tuple[Cost, Cost]:
    """What a sweep takes from the start, and what another one takes by the same workers."""
    from attnshift.tracing.backends.choice import choose_backend
    from attnshift.tracing.trace import run_job

    jobs = job_of(), job_of()
    with choose_backend("local", workers, device=bench.device.type) as backend:
        first, second = (_cost(lambda job=job: run_job(job, backend=backend)) for job in jobs)
    return first, second


def _cost(work: Callable[[], Any]) -> Cost:
    """What a call took, with the processes that it started or uses."""
    gc.collect()
    wall, cpu = time.perf_counter(), _cpu_seconds()
    outcome = work()
    assert not outcome.failed, outcome.failed
    return Cost(_cpu_seconds() - cpu, time.perf_counter() - wall)


def _cpu_seconds() -> float:
    """The processor's time of this process and its children, those that have ended and those that live."""
    ended = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    alive = [child.cpu_times() for child in psutil.Process().children()]
    return sum(each.ru_utime + each.ru_stime for each in ended) + sum(each.user + each.system for each in alive)
