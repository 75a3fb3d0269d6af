"""One cell of a trace: a model observed, measured and written with how it was made."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
import xarray as xr

from attnshift.data.controls import CONDITIONS
from attnshift.data.groups import Grouping
from attnshift.data.inputs import Inputs
from attnshift.data.roles import KEY_ROLES
from attnshift.measures.measure import Measure, Observation
from attnshift.models.subject import Subject
from attnshift.tracing.budget import TokenBudget
from attnshift.tracing.job import Task, stored_groups
from attnshift.tracing.notes import spelling_text
from attnshift.tracing.observe import needs_of, observe
from attnshift.tracing.plan import State, refuse_other_recipe
from attnshift.tracing.schema import cell_dataset, control_dataset, inputs_dataset, known_dataset
from attnshift.tracing.store import Header


def compute_cell(
    task: Task, subject: Subject, state: State, missing: Sequence[Measure], inputs: Inputs, budget: TokenBudget
) -> Mapping[str, np.ndarray]:
    """Measure what a state's cell lacks and store it; the variables by name."""
    needs, recipe = needs_of(missing), task.recipe(inputs)
    seen = budget.run(
        lambda tokens: observe(subject, task.tokenizer, inputs, needs, replace(task.settings, token_budget=tokens))
    )
    values = {measure.name: np.asarray(measure.compute(seen)) for measure in missing}
    header = Header(state.digest, recipe, {m.name: m.key for m in missing})
    dataset = _dataset(state, missing, values, seen, inputs, subject).assign_attrs(token_budget=budget.tokens)
    task.store.write_cell(state.step, dataset, header)
    return values


def fixed_inputs(
    task: Task,
    find_groups: Callable[[], tuple[Grouping, int]],
    budget: TokenBudget,
    find_known: Callable[[], tuple[np.ndarray, int] | None] = lambda: None,
) -> tuple[Inputs, str]:
    """The inputs with their groups, and how they were grouped: as the trace already holds, else found and frozen.

    ``find_groups`` returns the groups and the step of the model that ranked the examples; ``find_known`` the items'
    ``known_margin`` and the step of the model that it is of.
    """
    stored = task.store.read_inputs()
    if stored is not None:
        inputs = stored_groups(task, stored)
        refuse_other_recipe(str(task.store.path), json.loads(stored.attrs["recipe"]), task.recipe(inputs))
        if "known_item" not in stored:
            _freeze_known(task, inputs, find_known)
        if inputs.controls and "control_token_ids" not in stored:
            task.store.update_inputs(control_dataset(inputs))
        return inputs, str(stored.attrs["grouping"])
    grouping, step = find_groups()
    inputs = task.grouped(grouping.groups)
    told = grouping.describe() + (f"; by the checkpoint at step {step}" if grouping.ranked else "")
    attributes = _attributes(task, inputs, told, step if grouping.ranked else None)
    task.store.write_inputs(inputs_dataset(inputs, attributes | {"token_budget": budget.tokens}))
    _freeze_known(task, inputs, find_known)
    if inputs.controls:
        task.store.update_inputs(control_dataset(inputs))
    return inputs, told


def _freeze_known(task: Task, inputs: Inputs, find_known: Callable[[], tuple[np.ndarray, int] | None]) -> None:
    """Add to a trace's inputs which items are known, and how many."""
    found = find_known() if inputs.items else None
    if found is not None:
        margins, step = found
        told = f"known closed book at step {step}: {int((margins > 0).sum())} of {len(margins)} items"
        task.store.update_inputs(known_dataset(inputs, margins, step).assign_attrs(known=told))


def _attributes(task: Task, inputs: Inputs, grouping: str, step: int | None) -> dict[str, Any]:
    return {
        "attnshift_version": version("attnshift"),
        "run": str(task.run_path),
        "recipe": task.recipe(inputs),
        "template": task.encoder.template.name,
        "template_source": task.encoder.template.source,
        "target_eos": str(task.encoder.target_eos),
        "bos_is_special": str(bool(task.encoder.special_prefix) or not task.encoder.template.adds_special_tokens),
        "grouping": grouping,
        "grouped_on_step": "given" if step is None else step,
        "answer_spelling": spelling_text(inputs),
        "dropped": [{"id": d.id, "reason": d.reason} for d in inputs.dropped],
        "notes": list(task.notes),
    }


def _dataset(
    state: State,
    missing: Sequence[Measure],
    values: Mapping[str, np.ndarray],
    seen: Observation,
    inputs: Inputs,
    subject: Subject,
) -> xr.Dataset:
    sizes = {d: n for m in missing for d, n in zip(m.dims, values[m.name].shape, strict=True)}
    labels: dict[str, Sequence[Any]] = {
        "item": [item.id for item in inputs.items],
        "example": [example.id for example in inputs.examples],
        "layer": range(sizes.get("layer", 0)),
        "head": range(sizes.get("head", 0)),
        "role": KEY_ROLES,
        "group": inputs.groups,
        "condition": CONDITIONS,
        "part": () if seen.group_gradient is None else seen.group_gradient.parts,
    }
    dataset = cell_dataset(values, {measure.name: measure for measure in missing}, labels)
    dataset.attrs |= {
        "attnshift_version": version("attnshift"),
        "step": state.step,
        "epoch": float("nan") if state.epoch is None else state.epoch,
        "checkpoint": state.place,
        "torch": str(torch.__version__),
        "transformers": version("transformers"),
        "device": str(subject.device),
        "dtype": str(subject.model.dtype).removeprefix("torch."),
        "threads": torch.get_num_threads(),
    }
    if seen.group_gradient is not None:
        dataset.attrs["trained_parameters"] = json.dumps(sorted(subject.trained_parameters()))
    return dataset
