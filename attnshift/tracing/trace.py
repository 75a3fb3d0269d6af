"""Measure a series of checkpoints: plan, observe, store; resumed by running again."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
import xarray as xr

from attnshift.checkpoints.checkpoint import Checkpoint
from attnshift.data.groups import Grouping, group_examples
from attnshift.data.inputs import Inputs
from attnshift.data.roles import KEY_ROLES
from attnshift.errors import AttnshiftError, CheckpointError
from attnshift.measures.measure import Measure, Observation
from attnshift.models.series import Series
from attnshift.models.skeleton import Skeleton
from attnshift.tracing.atomic import atomic
from attnshift.tracing.budget import TokenBudget, load_of
from attnshift.tracing.dataset import FAILURES, open_trace
from attnshift.tracing.job import Job, prepare, stored_groups
from attnshift.tracing.observe import closed_book_losses, needs_of, observe
from attnshift.tracing.plan import Cell, plan_cells, refuse_other_recipe
from attnshift.tracing.prefetch import read_ahead
from attnshift.tracing.schema import cell_dataset, inputs_dataset
from attnshift.tracing.store import Header


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


Report = Callable[[Progress], None]


def trace(series: Series, *, progress: Report | None = None, **options: Any) -> xr.Dataset:
    """Measure every checkpoint of a series and return the trace.

    One file per checkpoint is written atomically to ``out`` (default: ``trace/`` inside the run). Run it again
    and only what is missing is computed; what contradicts the stored part is refused, with the difference named.

    Parameters
    ----------
    series
        As `open_series` returns it.
    progress
        Called with a `Progress` after every checkpoint.
    items, examples
        Conflict items and IFT examples. With neither, what the run's manifest names, else the sets that ship.
    out
        Directory of the trace.
    measures
        Names, or `Measure` objects of your own; default: all of the catalogue that the data allows.
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
    job = prepare(series, **options)
    run_job(job, progress)
    return open_trace(job.store.path)


def run_job(job: Job, progress: Report | None = None) -> Outcome:
    """Compute what the job's trace lacks."""
    job.store.prepare()
    skeleton = Skeleton(job.series.run, job.dtype, job.device, job.placement.spread)
    load = load_of(job.inputs, job.settings.max_new_tokens)
    budget = TokenBudget(job.settings.token_budget, load.longest)
    inputs, grouping = _fixed_inputs(job, skeleton, budget)
    recipe = job.recipe(inputs)
    cells = plan_cells(job.store, job.checkpoints, job.series.run.digests, recipe, job.measures)
    missing = [cell for cell in cells if cell.missing]
    failed = {step: str(error) for step, error in job.broken.items()}
    computed: list[int] = []
    with closing(read_ahead(missing)) as cells_to_do:
        for done, cell in enumerate(cells_to_do, start=1):
            started, step = time.perf_counter(), cell.checkpoint.step
            values: Mapping[str, np.ndarray] = {}
            try:
                values = _compute_cell(job, cell, skeleton, inputs, recipe, budget)
                computed.append(step)
            except Exception as error:
                if isinstance(error, AttnshiftError) and not isinstance(error, CheckpointError):
                    raise  # wrong for every checkpoint
                failed[step] = str(error) if isinstance(error, AttnshiftError) else f"{type(error).__name__}: {error}"
            if progress is not None:
                seconds = time.perf_counter() - started
                progress(Progress(done, len(missing), step, seconds, values, failed.get(step, "")))
    with atomic(job.store.path / FAILURES) as file:
        file.write_text(json.dumps(failed, indent=1), encoding="utf-8")
    kept = tuple(cell.checkpoint.step for cell in cells if not cell.missing)
    return Outcome(tuple(computed), kept, failed, grouping)


def _compute_cell(
    job: Job, cell: Cell, skeleton: Skeleton, inputs: Inputs, recipe: Mapping[str, str], budget: TokenBudget
) -> Mapping[str, np.ndarray]:
    """Measure one checkpoint and store what was measured."""
    skeleton.load(cell.checkpoint)
    needs = needs_of(cell.missing)
    seen = budget.run(
        lambda tokens: observe(skeleton, job.tokenizer, inputs, needs, replace(job.settings, token_budget=tokens))
    )
    values = {measure.name: np.asarray(measure.compute(seen)) for measure in cell.missing}
    step = cell.checkpoint.step
    header = Header(job.series.run.digests[step], recipe, {m.name: m.key for m in cell.missing})
    dataset = _cell(cell, values, seen, inputs, skeleton).assign_attrs(token_budget=budget.tokens)
    job.store.write_cell(step, dataset, header)
    return values


def _fixed_inputs(job: Job, skeleton: Skeleton, budget: TokenBudget) -> tuple[Inputs, str]:
    """The inputs with their groups, and how they were grouped: as the trace already holds, else found and frozen."""
    stored = job.store.read_inputs()
    if stored is not None:
        inputs = stored_groups(job, stored)
        refuse_other_recipe(str(job.store.path), json.loads(stored.attrs["recipe"]), job.recipe(inputs))
        return inputs, str(stored.attrs["grouping"])
    grouping, step = _find_groups(job, skeleton, budget)
    inputs = job.grouped(grouping.groups)
    told = grouping.describe() + (f"; by the checkpoint at step {step}" if grouping.ranked else "")
    attributes = _attributes(job, inputs, told, step if grouping.ranked else None)
    job.store.write_inputs(inputs_dataset(inputs, attributes | {"token_budget": budget.tokens}))
    return inputs, told


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


def _attributes(job: Job, inputs: Inputs, grouping: str, step: int | None) -> dict[str, Any]:
    return {
        "attnshift_version": version("attnshift"),
        "run": str(job.series.run.path),
        "recipe": job.recipe(inputs),
        "template": job.encoder.template.name,
        "template_source": job.encoder.template.source,
        "target_eos": str(job.encoder.target_eos),
        "bos_is_special": str(bool(job.encoder.special_prefix) or not job.encoder.template.adds_special_tokens),
        "grouping": grouping,
        "grouped_on_step": "given" if step is None else step,
        "dropped": [{"id": d.id, "reason": d.reason} for d in inputs.dropped],
        "notes": list(job.notes),
    }


def _cell(
    cell: Cell, values: Mapping[str, np.ndarray], seen: Observation, inputs: Inputs, skeleton: Skeleton
) -> xr.Dataset:
    sizes = {d: n for m in cell.missing for d, n in zip(m.dims, values[m.name].shape, strict=True)}
    labels: dict[str, Sequence[Any]] = {
        "item": [item.id for item in inputs.items],
        "example": [example.id for example in inputs.examples],
        "layer": range(sizes.get("layer", 0)),
        "head": range(sizes.get("head", 0)),
        "role": KEY_ROLES,
        "group": inputs.groups,
        "part": () if seen.group_gradient is None else seen.group_gradient.parts,
    }
    measures: dict[str, Measure] = {measure.name: measure for measure in cell.missing}
    dataset = cell_dataset(values, measures, labels)
    checkpoint = cell.checkpoint
    dataset.attrs |= {
        "attnshift_version": version("attnshift"),
        "step": checkpoint.step,
        "epoch": float("nan") if checkpoint.epoch is None else checkpoint.epoch,
        "checkpoint": str(checkpoint.path),
        "torch": str(torch.__version__),
        "transformers": version("transformers"),
        "device": str(skeleton.device),
        "dtype": str(skeleton.model.dtype).removeprefix("torch."),
        "threads": torch.get_num_threads(),
    }
    if seen.group_gradient is not None:
        dataset.attrs["trained_parameters"] = json.dumps(sorted(skeleton.trained_parameters()))
    return dataset
