"""From what was asked for to what will be done: data, template, tokens, checkpoints, measures, settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast, get_args

import torch
import xarray as xr

from attnshift.checkpoints.checkpoint import Checkpoint
from attnshift.checkpoints.manifest import Manifest
from attnshift.checkpoints.optimizer import FILE_NAME as OPTIMIZER
from attnshift.checkpoints.run import Run
from attnshift.checkpoints.tokenizer import tokenizer_dir
from attnshift.checkpoints.window import window_of
from attnshift.data.formats import load_examples, load_items
from attnshift.data.groups import with_groups
from attnshift.data.inputs import Inputs, encode, sample, with_controls
from attnshift.data.items import Example, Group, Item
from attnshift.data.prompts import Encoder
from attnshift.data.shipped import CAPITALS, PROBES
from attnshift.data.templates import default_template, load_template
from attnshift.errors import AttnshiftError, CheckpointError
from attnshift.measures.catalogue import choose_measures
from attnshift.measures.measure import ITEM_NEEDS, Measure
from attnshift.models.configuration import read_config
from attnshift.models.forward import Rows
from attnshift.models.ghost import unwatchable
from attnshift.models.placement import Placement, place
from attnshift.models.series import Series
from attnshift.tracing.budget import AT_MOST_ON_CPU, choose_budget, load_of
from attnshift.tracing.memory import free_bytes, read_footprint
from attnshift.tracing.notes import RESPELT, control_notes, dropped_note, other_steps_note, spelling_note
from attnshift.tracing.observe import Settings, needs_of
from attnshift.tracing.plan import other_steps
from attnshift.tracing.store import Store
from attnshift.tracing.vocabulary import refuse_other_tokenizers

EXAMPLES_BY_DEFAULT = 1000
"""Examples that are sampled from a larger file where no limit is given: gradients need hundreds, not all 52,000."""

MAX_NEW_TOKENS = 32

DTYPES: dict[str, torch.dtype | None] = {
    "auto": None,
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "float64": torch.float64,
}


@dataclass(frozen=True)
class Task:
    """What is measured, on which data and how, and where it is kept: all of a trace but its models."""

    run_path: Path
    """the run's folder"""
    tokenizer: Any
    encoder: Encoder
    inputs: Inputs
    """examples may still lack their groups"""
    stated_shares: Mapping[str, float]
    measures: tuple[Measure, ...]
    settings: Settings
    dtype: torch.dtype | None
    store: Store
    notes: tuple[str, ...]
    """what a user must be told"""

    def recipe(self, inputs: Inputs) -> dict[str, str]:
        """All that numbers depend on, beside weights and formulas, by aspect."""
        return {
            **inputs.digests(),
            "template": self.encoder.template.stated,
            "target_eos": str(self.encoder.target_eos),
            "rows": self.settings.rows,
            "max_new_tokens": str(self.settings.max_new_tokens),
            "dtype": "as stored" if self.dtype is None else str(self.dtype).removeprefix("torch."),
        }

    def grouped(self, groups: Sequence[Group]) -> Inputs:
        """The inputs with their groups."""
        return self.inputs.with_examples(with_groups(self.inputs.examples, groups), dict(self.stated_shares))


@dataclass(frozen=True)
class Job(Task):
    """A trace of checkpoints that is ready to be computed."""

    series: Series
    checkpoints: tuple[Checkpoint, ...]
    broken: Mapping[int, CheckpointError]
    """of the steps asked for, those whose files can't be read"""
    placement: Placement
    budget_asked: int | None = None
    """the token budget as asked for; None: what the trace was begun with, else what fits"""
    share: int = 1
    """models that are measured at once in the memory of this device"""

    @property
    def device(self) -> torch.device:
        """Where inputs go."""
        return self.placement.device

    @property
    def gradients_elsewhere(self) -> bool:
        """Whether held gradients take none of the memory that the model lives in."""
        return self.settings.gradients_on_cpu and self.device.type != "cpu"


def stored_groups(task: Task, stored: xr.Dataset) -> Inputs:
    """The task's inputs with the groups of a stored trace; without, where that has other examples."""
    groups = tuple(stored["group_of_example"].values.tolist()) if "example" in stored.dims else ()
    return task.grouped(groups) if len(groups) == len(task.inputs.examples) else task.inputs


def prepare(
    series: Series,
    *,
    out: str | Path | None = None,
    measures: Sequence[str | Measure] | None = None,
    steps: Sequence[int] | None = None,
    tokenizer: Any = None,
    token_budget: int | None = None,
    device: str | torch.device | None = None,
    share: int = 1,
    **options: Any,
) -> Job:
    """Settle everything before a weight is loaded; raises AttnshiftError. Options as in `trace`.

    ``share``: models that are measured at once in the memory of one device.
    """
    run = series.run
    checkpoints = _chosen(series, steps)
    task = settle(
        trace_folder(run, out),
        run.path,
        run.manifest,
        tokenizer or series.tokenizer,
        window_of([*(c.path for c in checkpoints if c.kind == "full"), *([run.base] if run.base else [])]),
        notes=(*run.notes, *other_steps_note(other_steps(Store(trace_folder(run, out)), run))),
        measures=measures,
        **options,
    )
    _need_optimizer(run, task.measures)
    if tokenizer is None:
        refuse_other_tokenizers(tokenizer_dir(run), task.encoder, task.inputs, checkpoints, run.base)
    if measures is None:
        task = without_example_gradients(task, _mixes_examples(run, task.measures))
    job = Job(
        **vars(task),
        series=series,
        checkpoints=checkpoints,
        broken={step: error for step, error in run.broken.items() if steps is None or step in steps},
        placement=place(device),
        budget_asked=given_budget(token_budget),
        share=share,
    )
    return with_budget(job)


def with_budget(job: Job) -> Job:
    """The job with the token budget that was asked for, else the one its trace was begun with, else one that fits."""
    budget = job.budget_asked or job.store.token_budget() or _fitting_budget(job)
    return replace(job, settings=replace(job.settings, token_budget=budget))


def trace_folder(run: Run, out: str | Path | None) -> Path:
    """Where the trace of a run lies: as told, else inside the run. Raises AttnshiftError where it has no folder."""
    if out is None and run.hub:
        raise AttnshiftError(
            f"{run.hub!r} is on the hub: there is no run directory for its trace",
            expected="a folder for the trace",
            remedy="name one with --out",
        )
    return run.path / "trace" if out is None else Path(out)


def settle(
    store: Path,
    run_path: Path,
    manifest: Manifest,
    tokenizer: Any,
    window: int | None,
    *,
    notes: Sequence[str] = (),
    items: Sequence[Item] | None = None,
    examples: Sequence[Example] | None = None,
    measures: Sequence[str | Measure] | None = None,
    controls: bool = False,
    limit: int | None = None,
    seed: int = 0,
    template: str | None = None,
    target_eos: bool | None = None,
    rows: str = "last",
    gradients_on_cpu: bool = False,
    max_new_tokens: int | None = None,
    dtype: str | torch.dtype | None = None,
) -> Task:
    """Settle what is measured, on which data and how; raises AttnshiftError. The token budget is still open.

    ``window`` is the model's, in tokens, if it has one. What isn't given is as the manifest says.
    """
    told = list(notes)
    items, examples = data_of(manifest, items, examples, told)
    total = len(examples)
    items = sample(items, limit, seed)
    examples = sample(examples, EXAMPLES_BY_DEFAULT if limit is None else limit, seed)
    if len(examples) < total:
        told.append(f"{len(examples)} of {total} examples, sampled with seed {seed}; --limit takes more")
    encoder = encoder_of(manifest, tokenizer, window, template, target_eos, max_new_tokens)
    inputs = encode(encoder, items, examples)
    chosen = _possible(choose_measures(measures, controls), inputs, strict=measures is not None)
    if needs_of(chosen) & {"control_margin", "control_generation"}:
        inputs = with_controls(encoder, inputs)
    inputs = as_spelt(inputs, Store(store))
    return Task(
        run_path=run_path,
        tokenizer=tokenizer,
        encoder=encoder,
        inputs=inputs,
        stated_shares=manifest.shares,
        measures=chosen,
        settings=Settings(_rows(rows), encoder.max_new_tokens, gradients_on_cpu=gradients_on_cpu),
        dtype=dtype_of(dtype),
        store=Store(store),
        notes=(*told, *dropped_note(inputs), *spelling_note(inputs, tokenizer), *control_notes(inputs)),
    )


def as_spelt(inputs: Inputs, store: Store) -> Inputs:
    """The inputs with doubtful answers spelt as in a trace that is begun."""
    spelt = RESPELT in str(store.stated().get("answer_spelling"))
    return inputs.respelt() if spelt and not inputs.is_respelt else inputs


def encoder_of(
    manifest: Manifest,
    tokenizer: Any,
    window: int | None,
    template: str | None = None,
    target_eos: bool | None = None,
    max_new_tokens: int | None = None,
) -> Encoder:
    """What turns a trace's data into tokens; what isn't given is as the manifest says, else the default."""
    eos = manifest.target_eos if target_eos is None else target_eos
    return Encoder(
        tokenizer,
        load_template(template or manifest.template or default_template(tokenizer), tokenizer),
        target_eos=True if eos is None else eos,
        max_length=window,
        max_new_tokens=max_new_tokens or manifest.max_new_tokens or MAX_NEW_TOKENS,
    )


def without_example_gradients(task: Task, mixing: str) -> Task:
    """The task without what is measured by gradients per example, where the module ``mixing`` hides those."""
    if not mixing:
        return task
    note = f"no gradients per example: {mixing} is no linear layer, embedding or norm"
    kept = tuple(measure for measure in task.measures if "example_gradient" not in measure.needs)
    return replace(task, measures=kept, notes=(*task.notes, note))


def data_of(
    manifest: Manifest, items: Sequence[Item] | None, examples: Sequence[Example] | None, notes: list[str]
) -> tuple[Sequence[Item], Sequence[Example]]:
    """What was given; with neither, what the manifest names; without a manifest, the sets that ship."""
    if items is not None or examples is not None:
        return items or (), examples or ()
    if manifest.conflicts or manifest.ift:
        return (
            [item for path in manifest.conflicts for item in load_items(path)],
            [example for path in manifest.ift for example in load_examples(path)],
        )
    notes.append("no data named: the sets that ship with attnshift are used (capital conflicts and probe examples)")
    return load_items(CAPITALS), load_examples(PROBES)


def _chosen(series: Series, steps: Sequence[int] | None) -> tuple[Checkpoint, ...]:
    run = series.run
    if steps is None:
        return run.checkpoints
    unknown = sorted(set(steps) - set(series.steps) - set(run.broken))
    if unknown:
        raise AttnshiftError(
            f"there is no checkpoint at step {', '.join(map(str, unknown))}",
            expected=f"steps of {', '.join(map(str, series.steps))}",
        )
    return tuple(checkpoint for checkpoint in run.checkpoints if checkpoint.step in set(steps))


def _rows(rows: str) -> Rows:
    if rows not in get_args(Rows):
        raise AttnshiftError(f"there are no rows {rows!r}", expected=f"one of {', '.join(get_args(Rows))}")
    return cast(Rows, rows)


def dtype_of(dtype: str | torch.dtype | None) -> torch.dtype | None:
    """None: as the checkpoint is stored."""
    if dtype is None or isinstance(dtype, torch.dtype):
        return dtype
    if dtype not in DTYPES:
        raise AttnshiftError(f"there is no dtype {dtype!r}", expected=f"one of {', '.join(DTYPES)}")
    return DTYPES[dtype]


def given_budget(token_budget: int | None) -> int | None:
    """A token budget that a user gave, or None; raises AttnshiftError for one that isn't positive."""
    if token_budget is not None and token_budget < 1:
        raise AttnshiftError(f"the token budget is {token_budget}", expected="at least 1, or None to let memory decide")
    return token_budget


def _fitting_budget(job: Job) -> int:
    """What fits the memory that is free now."""
    load = load_of(job.inputs, job.settings.max_new_tokens)
    try:
        footprint = read_footprint(job.series.run, job.checkpoints, job.dtype)
    except Exception:  # of files that say anything; loading the model says better what is wrong with it
        return max(AT_MOST_ON_CPU, load.longest)
    held = 0 if job.gradients_elsewhere else footprint.gradient
    free = free_bytes(job.placement) // job.share
    return choose_budget(footprint, needs_of(job.measures), load, free, job.device.type, held)


def _possible(measures: Sequence[Measure], inputs: Inputs, strict: bool) -> tuple[Measure, ...]:
    """The measures for which there is data; a missing one is an error if it was asked for by name."""
    possible = []
    for measure in measures:
        lacking = "conflict items (--conflicts)" if measure.needs & ITEM_NEEDS and not inputs.items else ""
        lacking = lacking or ("examples (--ift)" if measure.needs - ITEM_NEEDS and not inputs.examples else "")
        if not lacking:
            possible.append(measure)
        elif strict:
            raise AttnshiftError(f"{measure.name} can't be measured", expected=lacking)
    if not possible:
        raise AttnshiftError("there is nothing to measure", expected="conflict items or examples")
    return tuple(possible)


def _need_optimizer(run: Run, measures: Sequence[Measure]) -> None:
    """Raise where a measure needs the optimizer's state and no checkpoint kept it."""
    asked = [measure.name for measure in measures if "preconditioner" in measure.needs]
    if asked and not any((checkpoint.path / OPTIMIZER).is_file() for checkpoint in run.checkpoints):
        raise AttnshiftError(
            f"{asked[0]} can't be measured: no checkpoint of {run.path} keeps {OPTIMIZER}",
            expected="checkpoints that were saved with their optimizer (save_only_model=False)",
            remedy="leave the preconditioned pushes out with --measures",
        )


def _mixes_examples(run: Run, measures: Sequence[Measure]) -> str:
    """The module that hides gradients per example, if there is one: stacked experts do."""
    from transformers import AutoModelForCausalLM

    if not any("example_gradient" in measure.needs for measure in measures):
        return ""
    folder = next((c.path for c in run.checkpoints if c.kind == "full"), run.base)
    try:
        config = read_config(folder or run.path)
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config)
    except Exception:  # loading the model says better what is wrong with it
        return ""
    return unwatchable(model, dict(model.named_parameters()))
