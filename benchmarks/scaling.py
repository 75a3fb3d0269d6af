"""A sweep by one process and by two: time on the clock, and the processor's with all that the workers take."""

from __future__ import annotations

import gc
import resource
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from typing import Any

import torch

from benchmarks.bench import Bench
from benchmarks.clock import Cost
from benchmarks.models import QUICK, STANDARD
from benchmarks.rows import Row, Section
from benchmarks.rundir import word_tokenizer, write_run
from benchmarks.trace import MEASURES, NEW_TOKENS, TOKEN_BUDGET, write_data

CHECKPOINTS = 12
WORKERS = 2
CONTEXT_WORDS = 120
PAIRS = 3


def scaling(bench: Bench) -> Section:
    """A trace by two workers beside the same by this process alone, and what it takes to start a worker."""
    import attnshift
    from attnshift.tracing.backends.processes import Processes
    from attnshift.tracing.errands import Settle
    from attnshift.tracing.job import prepare

    if bench.device.type == "cuda" and torch.cuda.device_count() < WORKERS:
        return Section(notes=[f"A sweep by {WORKERS} workers: left out, it takes a GPU for each."])
    checkpoints, shape = (2, QUICK) if bench.quick else (CHECKPOINTS, STANDARD)
    words = [f"w{i}" for i in range(shape.vocabulary - 2)]
    run = write_run(bench.folder / "swept", shape, checkpoints)
    word_tokenizer(words).save_pretrained(run)
    items, examples, template = write_data(bench.folder, words, CONTEXT_WORDS // (10 if bench.quick else 1))
    options: dict[str, Any] = {
        "items": attnshift.load_items(items),
        "examples": attnshift.load_examples(examples),
        "measures": MEASURES,
        "template": str(template),
        "max_new_tokens": NEW_TOKENS,
        "token_budget": TOKEN_BUDGET,
        "device": bench.device.type,
    }
    opened, number = attnshift.open_series(run), count()

    def sweep(workers: int) -> Callable[[], Any]:
        return lambda: attnshift.trace(opened, out=bench.folder / f"sweep-{next(number)}", workers=workers, **options)

    def start() -> None:
        with Processes(1, bench.device.type) as backend:
            for _, done in backend.perform(settled, [Settle()]):
                assert done.error is None, done.error

    attnshift.trace(opened, out=bench.folder / "settled", steps=[1], **options)
    settled = prepare(opened, out=bench.folder / "settled", **options)
    row = Row(
        f"sweep of {checkpoints} checkpoints by {WORKERS} workers",
        f"attnshift.trace(workers={WORKERS}), starting them included",
        "the same by one process",
        clock="wall",
    )
    for pair in range(1 if bench.quick else min(PAIRS, bench.pairs)):
        costs = {workers: _cost(sweep(workers)) for workers in ((1, WORKERS) if pair % 2 else (WORKERS, 1))}
        row = replace(row, ours_costs=[*row.ours_costs, costs[WORKERS]], against_costs=[*row.against_costs, costs[1]])
    what = "a process, its imports, and an errand without a model"
    starts = Row("start of a worker", what, "", [_cost(start) for _ in range(PAIRS)], clock="wall")
    return Section([row, starts])


def _cost(work: Callable[[], Any]) -> Cost:
    """What a call took, with the processes that it started and saw end."""
    gc.collect()
    wall, cpu = time.perf_counter(), _cpu_seconds()
    work()
    return Cost(_cpu_seconds() - cpu, time.perf_counter() - wall)


def _cpu_seconds() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)
