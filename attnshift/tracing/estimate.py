"""What a trace will cost, before it is started: memory, time, disk."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from attnshift.data.batches import length_batches
from attnshift.data.distractors import DISTRACTORS
from attnshift.data.inputs import Inputs
from attnshift.data.roles import KEY_ROLES
from attnshift.tracing.budget import load_of, logit_rows
from attnshift.tracing.job import Job
from attnshift.tracing.memory import Footprint, free_bytes, gradient_copies, has_backward, read_footprint
from attnshift.tracing.observe import ANSWER_READS, needs_of

_BY_HEAD = {"context_mass_excess", "lookback_ratio", "retrieval_score", "external_context_score"}
_KNOCKOUTS = {"knockout", "knockout_by_layer"}


@dataclass(frozen=True)
class Estimate:
    """Rough figures; memory and disk in bytes."""

    parameters: int
    memory: Mapping[str, int]
    """weights, held gradients, and a full batch's activations and logits"""
    gradients_elsewhere: bool
    """whether the held gradients are on the CPU and the rest is not"""
    free: int
    """memory that is free now, on all the devices that are used"""
    gradient_copies: Mapping[str, int]
    """gradients of the trained parameters that are held at once, by the need that holds them"""
    streamed: Mapping[str, bool]
    """by group of training examples, whether its gradient is streamed instead of added up in a copy"""
    batches: int
    """forwards per checkpoint, and backwards where there are gradients; steps of generation not counted"""
    seconds: float
    """per checkpoint, from this machine's speed of matrix products; overheads not counted"""
    disk: int
    """per checkpoint, before compression"""


@dataclass(frozen=True)
class _Pass:
    """Sequences that go through the model together."""

    lengths: Sequence[int]
    backward: bool = False

    @property
    def products(self) -> int:
        """Multiplications and additions per parameter: two per token forward, four more backward."""
        return (6 if self.backward else 2) * sum(self.lengths)


def estimate(job: Job, inputs: Inputs | None = None) -> Estimate:
    """Estimate from shapes on disk and token counts; loads no weights.

    ``inputs``: the job's with their groups, where those are known.
    """
    footprint = read_footprint(job.series.run, job.checkpoints, job.dtype)
    inputs, needs, budget = inputs or job.inputs, needs_of(job.measures), job.settings.token_budget
    load = load_of(inputs, job.settings.max_new_tokens)
    streamed = load.streamed(budget) if "group_gradient" in needs else {}
    copies = gradient_copies(needs, not all(streamed.values()))
    passes = list(_passes(job, inputs, footprint))
    return Estimate(
        parameters=footprint.parameters,
        memory={
            "weights": footprint.weights,
            "gradients": sum(copies.values()) * footprint.gradient,
            "activations": max(budget, load.longest) * footprint.activations(needs, load.longest),
            "logits": logit_rows(load, budget) * footprint.logits(needs),
        },
        gradients_elsewhere=job.gradients_elsewhere,
        free=free_bytes(job.placement),
        gradient_copies=copies,
        streamed=streamed,
        batches=sum(len(length_batches(each.lengths, budget)) for each in passes),
        seconds=sum(each.products for each in passes) * footprint.parameters / _flops_per_second(job),
        disk=_disk(job, footprint),
    )


def _passes(job: Job, inputs: Inputs, footprint: Footprint) -> Iterator[_Pass]:
    """Every pass over the data that a checkpoint takes."""
    needs: frozenset[str] = needs_of(job.measures)
    items, examples = inputs.item_tokens, inputs.example_tokens
    opened = [len(t.prompt) for t in items]
    context, parametric = ([len(getattr(t, f"{kind}_answer_ids")) for t in items] for kind in ("context", "parametric"))
    if needs & {"item_attention", "context_answer"}:
        yield _Pass(_added(opened, context))
    for _ in needs & ANSWER_READS.keys():
        yield _Pass(_added(opened, context))
    if "parametric_answer" in needs:
        yield _Pass(_added(opened, parametric))
    if "parametric_closed_book" in needs:
        yield _Pass(_added([len(t.closed_book) for t in items], parametric))
    if "persuasion" in needs:
        yield _Pass(opened)
        yield _Pass([len(t.closed_book) for t in items])
    if "known" in needs:
        yield _Pass(_added([len(t.closed_book) for t in items], parametric) * (DISTRACTORS + 1))
    if "generation" in needs:
        yield _Pass([length + job.settings.max_new_tokens for length in opened])
    for t in (control.tokens for control in inputs.controls):
        there = [each for each in t if each is not None]
        if "control_margin" in needs:
            yield _Pass([len(t.prompt) + len(t.context_answer_ids) for t in there])
            yield _Pass([len(t.prompt) + len(t.parametric_answer_ids) for t in there])
        if "control_generation" in needs:
            yield _Pass([len(t.prompt) + job.settings.max_new_tokens for t in there])
    if "answer_row" in needs:
        yield _Pass([length + 1 for length in opened])
    if strikes := footprint.layers * (footprint.heads * ("knockout" in needs) + bool(needs & _KNOCKOUTS)):
        yield _Pass([len(t.prompt) + 1 for t in items for _ in range(strikes * len(np.unique(t.prompt.roles)) + 1)])
    for push in ("margin_push", "attention_push"):
        if push in needs:
            yield _Pass(_added(opened, context), backward=True)
    if needs & {"example_attention", "target"}:
        yield _Pass([len(t.sequence) for t in examples])
    if "target_closed_book" in needs:
        yield _Pass([len(t.closed_book) for t in examples])
    if has_backward(needs):
        train = zip(examples, inputs.examples, strict=True)
        yield _Pass([len(t.sequence) for t, example in train if example.split == "train"], backward=True)


def _added(first: Sequence[int], second: Sequence[int]) -> list[int]:
    return [a + b for a, b in zip(first, second, strict=True)]


def _disk(job: Job, footprint: Footprint) -> int:
    """Attention by item and example, which is nearly all of it."""
    names = {measure.name for measure in job.measures}
    by_role = len(names & {"attention_mass", "head_attribution", "knockout_effect"})
    rows = len(job.inputs.items) * by_role + len(job.inputs.examples) * ("ift_attention_mass" in names)
    by_head = len(job.inputs.items) * len(names & _BY_HEAD)
    return (rows * len(KEY_ROLES) + by_head) * footprint.layers * footprint.heads * 4


def _flops_per_second(job: Job) -> float:
    size = 512 if job.device.type == "cpu" else 4096
    a = torch.ones(size, size, device=job.device, dtype=job.dtype or torch.float32)
    best = float("inf")
    for _ in range(4):
        started = time.perf_counter()
        float((a @ a)[0, 0])  # reading a number waits for the device
        best = min(best, time.perf_counter() - started)
    return 2 * size**3 / best
