"""Measure a series of checkpoints: plan, observe, store; resumed by running again."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from attnshift.checkpoints.checkpoint import Checkpoint
from attnshift.data.groups import Grouping, group_examples
from attnshift.errors import AttnshiftError, CheckpointError
from attnshift.models.harness import read_tasks
from attnshift.models.series import Series
from attnshift.models.skeleton import Skeleton
from attnshift.tracing.benchmarks import run_benchmarks
from attnshift.tracing.budget import TokenBudget, load_of
from attnshift.tracing.cell import compute_cell, fixed_inputs
from attnshift.tracing.dataset import failure_text, open_trace, write_failures
from attnshift.tracing.job import Job, prepare
from attnshift.tracing.observe import closed_book_losses
from attnshift.tracing.plan import plan_cells
from attnshift.tracing.prefetch import read_ahead
from attnshift.tracing.settled import find_known, settle_spelling


@dataclass(frozen=True)
class Progress:
    """One checkpoint is done, or failed."""

    done: int
    total: int
    step: int
    seconds: float
    values: Mapping[str, np.ndarray]
    """the variables just measured; empty if it failed"""
    error: str = ""


@dataclass(frozen=True)
class Outcome:
    """What became of every checkpoint."""

    computed: tuple[int, ...]
    kept: tuple[int, ...]
    failed: Mapping[int, str]
    grouping: str
    """how the examples were grouped"""
    known: str
    """how many items were known, and when; empty where nothing could be said"""
    spelling: str
    """how doubtful answers are spelt; empty where none is in doubt"""


Report = Callable[[Progress], None]


def trace(
    series: Series,
    *,
    progress: Report | None = None,
    benchmarks: Sequence[str] = (),
    benchmark_limit: int | None = None,
    **options: Any,
) -> xr.Dataset:
    """Measure every checkpoint of a series and return the trace.

    One file per checkpoint is written atomically to ``out`` (default: ``trace/`` inside the run). Run it again
    and only what is missing is computed; what contradicts the stored part is refused, with the difference named.

    Parameters
    ----------
    series
        As `open_series` returns it.
    progress
        Called with a `Progress` after every checkpoint.
    benchmarks, benchmark_limit
        Tasks of lm-evaluation-harness, or task files of your own, and at most so many documents of each.
    items, examples
        Conflict items and IFT examples. With neither, what the run's manifest names, else the sets that ship.
    out
        Directory of the trace.
    measures
        Names, or `Measure` objects of your own; default: all of the catalogue that the data allows.
    controls
        Whether also to measure the items with an agreeing context, an unknown entity and an irrelevant context.
    steps
        Steps to measure; default: all.
    limit, seed
        At most so many items and so many examples, chosen by a hash of seed and id.
    template
        ``plain``, ``alpaca``, ``chat`` or a Jinja file; default: the manifest's, else the tokenizer's chat
        template, else ``plain``.
    tokenizer
        Instead of the run's own.
    target_eos
        Whether targets end with EOS, as in training; default: the manifest's word, else True.
    rows
        Attention of the ``last`` prompt token, or the mean over the rows that predict the ``answer``.
    token_budget
        Tokens in a batch, padding included; changes numbers by rounding only. Default: what the trace was begun with,
        else the largest power of two that fits the free memory. Halved, with a warning, where memory runs out.
    gradients_on_cpu
        Whether gradients that have to be held are held there, where the model's device has no room for them.
    max_new_tokens
        Length of generations; default: the manifest's, else 32.
    dtype, device
        ``float32``, ``bfloat16``, …; ``cpu``, ``cuda``, …, or ``auto`` for a model spread over all GPUs. Default: as
        the checkpoint is stored; a GPU if there is one.

    Raises
    ------
    AttnshiftError
        For bad input. A checkpoint that fails doesn't raise: it is missing from the trace and named in its
        ``failed`` attribute.
    """
    tasks = read_tasks(benchmarks)
    job = prepare(series, **options)
    run_job(job, progress)
    run_benchmarks(job, tasks, benchmark_limit)
    return open_trace(job.store.path)


def run_job(job: Job, progress: Report | None = None) -> Outcome:
    """Compute what the job's trace lacks."""
    job.store.prepare()
    skeleton = Skeleton(job.series.run, job.dtype, job.device, job.placement.spread)
    load = load_of(job.inputs, job.settings.max_new_tokens)
    budget = TokenBudget(job.settings.token_budget, load.longest)
    job = settle_spelling(job, skeleton, budget)
    inputs, grouping = fixed_inputs(
        job, lambda: _find_groups(job, skeleton, budget), budget, lambda: find_known(job, skeleton, budget)
    )
    cells = plan_cells(job.store, job.checkpoints, job.series.run.digests, job.recipe(inputs), job.measures)
    missing = [cell for cell in cells if cell.missing]
    failed = {step: str(error) for step, error in job.broken.items()}
    computed: list[int] = []
    with closing(read_ahead(missing)) as cells_to_do:
        for done, cell in enumerate(cells_to_do, start=1):
            started, step = time.perf_counter(), cell.checkpoint.step
            values: Mapping[str, np.ndarray] = {}
            try:
                skeleton.load(cell.checkpoint)
                values = compute_cell(job, skeleton, cell.state, cell.missing, inputs, budget)
                computed.append(step)
            except Exception as error:
                if isinstance(error, AttnshiftError) and not isinstance(error, CheckpointError):
                    raise  # wrong for every checkpoint
                failed[step] = failure_text(error)
            if progress is not None:
                seconds = time.perf_counter() - started
                progress(Progress(done, len(missing), step, seconds, values, failed.get(step, "")))
    write_failures(job.store.path, failed)
    kept = tuple(cell.checkpoint.step for cell in cells if not cell.missing)
    stated = job.store.stated()
    spelling = str(stated.get("answer_spelling", "")) if inputs.doubtful else ""
    return Outcome(tuple(computed), kept, failed, grouping, str(stated.get("known", "")), spelling)


def _find_groups(job: Job, skeleton: Skeleton, budget: TokenBudget) -> tuple[Grouping, int]:
    """The examples' groups by the base or first checkpoint that can be read, and that one's step."""
    checkpoints = job.series.run.checkpoints
    for checkpoint in checkpoints:

        def closed_book_loss(positions: list[int], checkpoint: Checkpoint = checkpoint) -> np.ndarray:
            skeleton.load(checkpoint)
            return budget.run(lambda tokens: closed_book_losses(skeleton, job.inputs, positions, tokens))

        try:
            return group_examples(job.inputs.examples, closed_book_loss), checkpoint.step
        except CheckpointError:  # its own step will fail and be told; the others are worth measuring
            if checkpoint is checkpoints[-1]:
                raise
    raise AssertionError("a run has checkpoints")
