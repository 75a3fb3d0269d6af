"""What a trace would do, for `--dry-run`: prompts with their roles, cells to compute, costs."""

from __future__ import annotations

import json
from itertools import groupby
from typing import Any

import numpy as np
import xarray as xr

from attnshift.data.prompts import Tokens
from attnshift.data.roles import TOKEN_ROLES
from attnshift.tracing.estimate import estimate
from attnshift.tracing.job import Job, stored_groups
from attnshift.tracing.plan import plan_cells, refuse_other_recipe


def preview(job: Job) -> dict[str, Any]:
    """All that a dry run tells, as plain data. Loads no weights and writes nothing."""
    stored = job.store.read_inputs()
    done = [] if stored is None else _done(job, stored)
    costs = estimate(job, None if stored is None else stored_groups(job, stored))
    return {
        "run": job.series.run.hub or str(job.series.run.path),
        "out": str(job.store.path),
        "steps": [c.step for c in job.checkpoints],
        "done": done,
        "broken": {step: str(error) for step, error in job.broken.items()},
        "items": len(job.inputs.items),
        "examples": len(job.inputs.examples),
        "dropped": [{"id": d.id, "reason": d.reason} for d in job.inputs.dropped],
        "measures": [measure.name for measure in job.measures],
        "template": {"name": job.encoder.template.name, "digest": job.encoder.template.digest},
        "prompts": _prompts(job),
        "device": str(job.placement),
        "token_budget": job.settings.token_budget,
        "batches": costs.batches,
        "memory": dict(costs.memory),
        "memory_bytes": sum(costs.memory.values()) - costs.gradients_elsewhere * costs.memory["gradients"],
        "gradients_elsewhere": costs.gradients_elsewhere,
        "free_bytes": costs.free,
        "gradient_copies": dict(costs.gradient_copies),
        "groups": {group: "streamed" if one else "accumulated" for group, one in costs.streamed.items()},
        "parameters": costs.parameters,
        "seconds_per_checkpoint": round(costs.seconds, 3),
        "disk_bytes": costs.disk * (len(job.checkpoints) - len(done)),
        "notes": list(job.notes),
    }


def _done(job: Job, stored: xr.Dataset) -> list[int]:
    """Steps that lack nothing; raises where the trace on disk would be refused."""
    recipe = json.loads(stored.attrs["recipe"])
    now = job.recipe(job.inputs) | {"groups": recipe["groups"]}
    refuse_other_recipe(str(job.store.path), recipe, now)
    cells = plan_cells(job.store, job.checkpoints, job.series.run.digests, recipe, job.measures)
    return [cell.checkpoint.step for cell in cells if not cell.missing]


def _prompts(job: Job) -> dict[str, Any]:
    """The first item and the first example with a context, as the model would read them."""
    shown: dict[str, Any] = {}
    if job.inputs.items:
        tokens = job.inputs.item_tokens[0]
        shown["item"] = _by_role(job, tokens.prompt)
        shown["item_closed_book"] = _by_role(job, tokens.closed_book)
        for name in ("context_answer_ids", "parametric_answer_ids"):
            ids = getattr(tokens, name)
            shown[name.removesuffix("_ids")] = _answer(job, ids.tolist())
    if job.inputs.examples:
        first = next((i for i, e in enumerate(job.inputs.examples) if e.context.strip()), 0)
        shown["example"] = _by_role(job, job.inputs.example_tokens[first].sequence)
        shown["example_closed_book"] = _by_role(job, job.inputs.example_tokens[first].closed_book)
    return shown


def _answer(job: Job, ids: list[int]) -> dict[str, Any]:
    """A scored answer, token by token: a phantom space would be one of its own."""
    return {"text": job.tokenizer.decode(ids), "tokens": job.tokenizer.convert_ids_to_tokens(ids), "ids": ids}


def _by_role(job: Job, tokens: Tokens) -> list[dict[str, Any]]:
    """Runs of tokens of one role, decoded."""
    runs = []
    for role, members in groupby(range(len(tokens)), key=lambda i: int(tokens.roles[i])):
        ids = tokens.ids[np.array(list(members))].tolist()
        runs.append({"role": TOKEN_ROLES[role], "tokens": len(ids), "text": job.tokenizer.decode(ids)})
    return runs
