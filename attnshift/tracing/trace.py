"""Measure a series of checkpoints: plan, observe, store; resumed by running again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
import xarray as xr

from attnshift.errors import AttnshiftError, CheckpointError
from attnshift.models.harness import read_tasks
from attnshift.models.series import Series
from attnshift.tracing.backends.backend import Backend
from attnshift.tracing.backends.choice import choose_backend
from attnshift.tracing.backends.serial import Serial
from attnshift.tracing.benchmarks import run_benchmarks
from attnshift.tracing.dataset import failure_text, open_trace, read_failures, write_failures
from attnshift.tracing.errands import MeasureCell, Settle
from attnshift.tracing.job import Job, prepare
from attnshift.tracing.plan import plan_cells
from attnshift.tracing.settled import Settled, is_settled


@dataclass(frozen=True)
class Progress:
    """One checkpoint is done, or failed."""

    done: int
    total: int
    step: int
    seconds: float
    values: Mapping[str, np.ndarray]
    """the variables just measured but for those by layer; none if it failed or another process was faster"""
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
    backend: str = "local",
    workers: int | None = None,
    cluster: Mapping[str, Any] | None = None,
    device: str | torch.device | None = None,
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
    backend, workers
        Where checkpoints are measured and how many at once: ``local`` with so many processes, one per GPU or with a
        share of the CPU each (default: this process alone); ``ray`` and ``slurm`` (default: as many as they have room
        for). On a cluster the run and ``out`` have to be where all machines see them.
    cluster
        What a cluster is told: ``gpus``, ``cpus`` and ``memory`` (GB) per checkpoint; for Ray its ``address`` (default:
        one is started here); for SLURM ``time`` (minutes) and whatever sbatch takes, such as ``partition``.
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
    chosen = choose_backend(backend, workers, cluster, None if device is None else str(device))
    job = prepare(series, device=chosen.device, share=chosen.share, **options)
    with chosen:
        run_job(job, progress, chosen)
        run_benchmarks(job, tasks, benchmark_limit, backend=chosen)
    return open_trace(job.store.path)


def run_job(job: Job, progress: Report | None = None, backend: Backend | None = None) -> Outcome:
    """Compute what the job's trace lacks. ``backend`` is one that is open; default: this process."""
    backend = backend or Serial()
    job.store.prepare()
    read_failures(job.store.path)  # what it raises is told before anything is computed
    settled = _settled(job, backend)
    job = settled.applied(job)
    cells = plan_cells(job.store, job.checkpoints, job.series.run.digests, job.recipe(job.inputs), job.measures)
    missing = [MeasureCell(cell) for cell in cells if cell.missing]
    failed = {step: str(error) for step, error in job.broken.items()}
    computed: list[int] = []
    kept = [cell.checkpoint.step for cell in cells if not cell.missing]
    with closing(backend.perform(job, missing)) as ended:
        for count, (errand, done) in enumerate(ended, start=1):
            if done.error is None:
                (kept if done.result.kept else computed).append(errand.step)
            elif isinstance(done.error, AttnshiftError) and not isinstance(done.error, CheckpointError):
                raise done.error  # wrong for every checkpoint
            else:
                failed[errand.step] = failure_text(done.error)
            if progress is not None:
                values = {} if done.result is None else done.result.values
                progress(Progress(count, len(missing), errand.step, done.seconds, values, failed.get(errand.step, "")))
    _keep_failures(job, failed)
    stated = job.store.stated()
    spelling = str(stated.get("answer_spelling", "")) if job.inputs.doubtful else ""
    return Outcome(
        tuple(sorted(computed)), tuple(sorted(kept)), failed, settled.grouping, str(stated.get("known", "")), spelling
    )


def _settled(job: Job, backend: Backend) -> Settled:
    """What holds for the whole trace: read where it is settled, else settled where there is a model."""
    where = Serial() if is_settled(job) else backend
    for _, done in where.perform(job, [Settle()]):
        if done.error is not None:
            raise done.error
        return cast(Settled, done.result)
    raise AssertionError("an errand ends")


def _keep_failures(job: Job, failed: Mapping[int, str]) -> None:
    """Write what failed; of steps that this job isn't about, what was known before."""
    store, about = job.store, {*job.broken, *(checkpoint.step for checkpoint in job.checkpoints)}
    with store.alone("failures"):
        others = {step: text for step, text in read_failures(store.path).items() if step not in about}
        write_failures(store.path, {**others, **failed})
