"""A trace of a model that is being trained: the same cells, written while the steps are taken."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr

from attnshift.checkpoints.manifest import read_manifest
from attnshift.checkpoints.tokenizer import require_fast
from attnshift.checkpoints.window import stated_window
from attnshift.data.groups import Grouping, group_examples
from attnshift.data.inputs import Inputs
from attnshift.errors import AttnshiftError
from attnshift.measures.measure import Measure
from attnshift.models.ghost import unwatchable
from attnshift.models.known import known_margins
from attnshift.models.live import LiveModel
from attnshift.models.placement import Placement
from attnshift.tracing.budget import AT_MOST_ON_CPU, TokenBudget, choose_budget, load_of
from attnshift.tracing.cell import compute_cell, fixed_inputs
from attnshift.tracing.dataset import failure_text, open_trace, read_failures, write_failures
from attnshift.tracing.job import Task, given_budget, settle, without_example_gradients
from attnshift.tracing.memory import free_bytes, held_footprint
from attnshift.tracing.observe import closed_book_losses, needs_of
from attnshift.tracing.plan import State, missing_measures

IN_MEMORY = "in memory"
"""What stands for the checkpoint's folder in a cell that was measured while training."""

ADAM = 3
"""Copies of the trained parameters that training itself will add to the weights: a gradient and two moments."""


@dataclass
class LiveTrace:
    """A trace that grows with the training of one model."""

    task: Task
    model: LiveModel
    budget: TokenBudget
    inputs: Inputs | None = None
    """with their groups, once the first step is measured"""

    def measure(self, step: int, epoch: float | None = None) -> Mapping[str, np.ndarray]:
        """Measure the model as it is now, after so many optimizer steps, and write the cell.

        Returns the variables just measured; none where the trace held them already. The model, random states and
        gradients are left as they were. The first step's model ranks the examples that have no group and says which
        items it knows; answers whose spelling is in doubt are spelt as the template renders them.
        """
        try:
            with self.model.undisturbed():
                inputs = self.inputs = self.inputs or self._fixed_inputs(step)
                digest = self.model.digest() if step else self.model.base_digest()
                state = State(step, epoch, IN_MEMORY, digest)
                missing = missing_measures(self.task.store, state, self.task.recipe(inputs), self.task.measures)
                return compute_cell(self.task, self.model, state, missing, inputs, self.budget) if missing else {}
        finally:
            if torch.cuda.is_available():
                torch.cuda.empty_cache()  # for training, whose blocks have other sizes

    def record_failure(self, step: int, error: Exception) -> None:
        """Keep that a step couldn't be measured, and why."""
        path = self.task.store.path
        write_failures(path, {**read_failures(path), step: failure_text(error)})

    def begin_at(self, step: int) -> None:
        """Make the trace ready for a training that begins after so many steps.

        What it holds of later steps is dropped when training is resumed: their weights are about to be made anew.
        Raises AttnshiftError where training begins anew and the trace is another training's.
        """
        store = self.task.store
        store.prepare()
        later = [each for each in store.steps() if each > step]
        if later and not step:
            raise AttnshiftError(
                f"{store.path} already holds the trace of a training, {len(later)} steps up to {later[-1]}",
                expected="a directory without a trace, for a training that begins at step 0",
                remedy="name another one with out=…, or delete that one",
            )
        for each in later:
            store.file(each).unlink()
        if later:
            told = f"training goes on from step {step}: what was measured at {later} is dropped and measured again"
            warnings.warn(told, UserWarning, stacklevel=2)
        failed = read_failures(store.path)
        write_failures(store.path, {each: error for each, error in failed.items() if each <= step})

    def open(self) -> xr.Dataset:
        """The trace so far."""
        return open_trace(self.task.store.path)

    def _fixed_inputs(self, step: int) -> Inputs:
        def closed_book_loss(positions: list[int]) -> np.ndarray:
            return self.budget.run(lambda tokens: closed_book_losses(self.model, self.task.inputs, positions, tokens))

        def find_groups() -> tuple[Grouping, int]:
            return group_examples(self.task.inputs.examples, closed_book_loss), step

        def find_known() -> tuple[np.ndarray, int]:
            known = self.budget.run(lambda tokens: known_margins(self.model.model, self.task.inputs, tokens))
            return known, step

        return fixed_inputs(self.task, find_groups, self.budget, find_known)[0]


def live_trace(
    model: Any,
    tokenizer: Any,
    run_path: Path,
    *,
    out: str | Path | None = None,
    measures: Sequence[str | Measure] | None = None,
    token_budget: int | None = None,
    **options: Any,
) -> LiveTrace:
    """Settle everything before a step is measured; raises AttnshiftError. Options as in `tracing.trace.trace`.

    ``run_path`` is the directory that checkpoints are saved to: what isn't given is as its manifest says, and the trace
    is ``trace/`` in it unless ``out`` names another place. A trace of the saved checkpoints with the same options
    extends this one.
    """
    manifest = read_manifest(run_path)
    live = LiveModel.around(model, manifest.trained)
    tokenizer = getattr(tokenizer, "tokenizer", tokenizer)  # of a processor that also reads pictures
    require_fast(tokenizer, "the trainer")
    task = settle(
        Path(out) if out is not None else run_path / "trace",
        run_path,
        manifest,
        tokenizer,
        stated_window(live.model.config.get_text_config().to_dict()),
        measures=measures,
        **options,
    )
    if measures is None and any("example_gradient" in measure.needs for measure in task.measures):
        task = without_example_gradients(task, unwatchable(live.model, live.trained_parameters()))
    load = load_of(task.inputs, task.settings.max_new_tokens)
    budget = given_budget(token_budget) or task.store.token_budget() or _fitting_budget(task, live)
    task = replace(task, settings=replace(task.settings, token_budget=budget))
    return LiveTrace(task, live, TokenBudget(budget, load.longest))


def _fitting_budget(task: Task, live: LiveModel) -> int:
    """What fits the memory that is free now and that training won't take."""
    load, device = load_of(task.inputs, task.settings.max_new_tokens), live.device
    with suppress(AttributeError):  # a configuration of a kind that isn't known
        footprint = held_footprint(live.model, live.trained_weights.values())
        placement = Placement(device, spread=len({p.device for p in live.model.parameters()}) > 1)
        held = 0 if task.settings.gradients_on_cpu and device.type != "cpu" else footprint.gradient
        free = free_bytes(placement) + footprint.weights - ADAM * footprint.gradient
        return choose_budget(footprint, needs_of(task.measures), load, free, device.type, held)
    return max(AT_MOST_ON_CPU, load.longest)
