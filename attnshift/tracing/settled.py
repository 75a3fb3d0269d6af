"""What models settle once for a whole trace: how doubtful answers are spelt, and which items are known."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np

from attnshift.checkpoints.checkpoint import Checkpoint
from attnshift.data.inputs import Inputs
from attnshift.errors import CheckpointError
from attnshift.models.forward import Target, score_targets
from attnshift.models.known import known_margins
from attnshift.models.skeleton import Skeleton
from attnshift.tracing.budget import TokenBudget
from attnshift.tracing.job import Job

Result = TypeVar("Result")


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
    if not job.inputs.doubtful or job.store.read_inputs() is not None:
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


def _prefers_other(model: Any, inputs: Inputs, token_budget: int) -> bool:
    """Whether most of the doubtful answers are likelier in their other spelling."""
    chosen = [inputs.item_tokens[i] for i in inputs.doubtful]
    nats = []
    for each in (chosen, [inputs.respelt().item_tokens[i] for i in inputs.doubtful]):
        targets = [Target.after(t.prompt, ids) for t in each for ids in (t.context_answer_ids, t.parametric_answer_ids)]
        scores, _ = score_targets(model, targets, token_budget)
        nats.append(np.nansum(scores.logprob, -1))
    return bool((nats[1] > nats[0]).mean() > 0.5)
