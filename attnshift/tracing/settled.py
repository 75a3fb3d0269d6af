"""What models settle once for a whole trace: groups, how doubtful answers are spelt, and which items are known."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np

from attnshift.checkpoints.checkpoint import Checkpoint
from attnshift.data.groups import Grouping, group_examples
from attnshift.data.inputs import Inputs
from attnshift.errors import CheckpointError
from attnshift.models.forward import Target, score_targets
from attnshift.models.known import known_margins
from attnshift.models.skeleton import Skeleton
from attnshift.tracing.budget import TokenBudget
from attnshift.tracing.cell import fixed_inputs
from attnshift.tracing.job import Job, as_spelt
from attnshift.tracing.observe import closed_book_losses

Result = TypeVar("Result")


@dataclass(frozen=True)
class Settled:
    """What holds for all of a trace's checkpoints, wherever they are measured."""

    inputs: Inputs
    """with groups, doubtful answers spelt as they are scored"""
    token_budget: int
    grouping: str
    """how the examples were grouped"""

    def applied(self, job: Job) -> Job:
        """The job, settled."""
        return replace(job, inputs=self.inputs, settings=replace(job.settings, token_budget=self.token_budget))


def is_settled(job: Job) -> bool:
    """Whether the job's trace already holds all that would be settled, so that no model is needed for it."""
    stored = job.store.read_inputs()
    if stored is None or (job.inputs.items and "known_item" not in stored):
        return False
    return not job.inputs.controls or "control_token_ids" in stored


def settle_job(job: Job, skeleton: Skeleton, budget: TokenBudget) -> Settled:
    """Settle what the job's trace lacks and freeze it there; what it holds stays.

    Raises AttnshiftError where that was made otherwise, CheckpointError where no checkpoint can be read.
    """
    job = settle_spelling(job, skeleton, budget)
    inputs, grouping = fixed_inputs(
        job, lambda: _find_groups(job, skeleton, budget), budget, lambda: find_known(job, skeleton, budget)
    )
    return Settled(inputs, budget.tokens, grouping)


def on_first_readable(
    checkpoints: Iterable[Checkpoint], skeleton: Skeleton, action: Callable[[], Result]
) -> tuple[Result, int] | None:
    """What ``action`` gives on the first checkpoint that can be read, and its step; None where none can."""
    for checkpoint in checkpoints:
        try:
            skeleton.load(checkpoint)
            return action(), checkpoint.step
        except CheckpointError:  # its own step will fail and be told; the others are worth measuring
            continue
    return None


def settle_spelling(job: Job, skeleton: Skeleton, budget: TokenBudget) -> Job:
    """The job with doubtful answers spelt as its models would write them, where its trace is not begun yet.

    The other spelling is scored if both the first and the last checkpoint find it likelier for most of the doubtful
    answers; else the template's, since training may have taught it.
    """
    if job.store.stated():
        return replace(job, inputs=as_spelt(job.inputs, job.store))
    if not job.inputs.doubtful:
        return job

    def prefers_other() -> bool:
        return budget.run(lambda tokens: _prefers_other(skeleton.model, job.inputs, tokens))

    checkpoints = job.series.run.checkpoints
    for order in (checkpoints, checkpoints[::-1]):
        found = on_first_readable(order, skeleton, prefers_other)
        if found is None or not found[0]:
            return job
    return replace(job, inputs=job.inputs.respelt())


def find_known(job: Job, skeleton: Skeleton, budget: TokenBudget) -> tuple[np.ndarray, int] | None:
    """``known_margin`` of every item on the base or first checkpoint that can be read, and that one's step."""
    return on_first_readable(
        job.series.run.checkpoints,
        skeleton,
        lambda: budget.run(lambda tokens: known_margins(skeleton.model, job.inputs, tokens)),
    )


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


def _prefers_other(model: Any, inputs: Inputs, token_budget: int) -> bool:
    """Whether most of the doubtful answers are likelier in their other spelling."""
    chosen = [inputs.item_tokens[i] for i in inputs.doubtful]
    nats = []
    for each in (chosen, [inputs.respelt().item_tokens[i] for i in inputs.doubtful]):
        targets = [Target.after(t.prompt, ids) for t in each for ids in (t.context_answer_ids, t.parametric_answer_ids)]
        scores, _ = score_targets(model, targets, token_budget)
        nats.append(np.nansum(scores.logprob, -1))
    return bool((nats[1] > nats[0]).mean() > 0.5)
