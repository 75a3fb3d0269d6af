"""What a trace will cost, before it is started: memory, time, disk."""

from __future__ import annotations

import time
from dataclasses import dataclass
from math import prod

import torch

from attnshift.data.roles import ANSWER, KEY_ROLES
from attnshift.tracing.job import Job
from attnshift.tracing.observe import needs_of


@dataclass(frozen=True)
class Estimate:
    """Rough figures; memory and disk in bytes."""

    parameters: int
    weights: int
    """the model, and one checkpoint read ahead"""
    gradients: int
    """accumulated gradients of the trained parameters (float32), two where a cosine is measured"""
    logits: int
    """the largest batch's logits with their float32 copy"""
    seconds: float
    """per checkpoint, from this machine's speed of matrix products; overheads not counted"""
    disk: int
    """per checkpoint, before compression"""

    @property
    def memory(self) -> int:
        """All of it together."""
        return self.weights + self.gradients + self.logits


def estimate(job: Job) -> Estimate:
    """Estimate from shapes on disk and token counts; loads no weights."""
    widest = next((c for c in job.checkpoints if c.kind == "full"), job.series.run.checkpoints[0])
    with widest.open() as tensors:
        shapes = [tensors.shape(name) for name in tensors.names]
        stored = tensors.dtype(tensors.names[0])
    parameters, width = sum(map(prod, shapes)), (job.dtype or stored).itemsize
    needs = needs_of(job.measures)
    copies = ("group_gradient" in needs) + ("gradient_cross_product" in needs)
    vocabulary = max(shape[0] for shape in shapes if len(shape) == 2)
    forward, backward = _tokens(job)
    return Estimate(
        parameters=parameters,
        weights=2 * parameters * width,
        gradients=copies * parameters * 4,
        logits=_answer_tokens(job) * vocabulary * (width + 4),
        seconds=(2 * forward + 6 * backward) * parameters / _flops_per_second(job),
        disk=_disk(job),
    )


def _tokens(job: Job) -> tuple[int, int]:
    """Tokens that go through forwards alone, and through forward and backward."""
    needs, inputs = needs_of(job.measures), job.inputs
    forward = 0
    for t in inputs.item_tokens:
        opened, closed = len(t.prompt), len(t.closed_book)
        forward += (opened + len(t.context_answer_ids)) * bool(needs & {"item_attention", "context_answer"})
        forward += (opened + len(t.parametric_answer_ids)) * ("parametric_answer" in needs)
        forward += (closed + len(t.parametric_answer_ids)) * ("parametric_closed_book" in needs)
        forward += (opened + job.settings.max_new_tokens) * ("generation" in needs)
    for e in inputs.example_tokens:
        forward += len(e.sequence) * bool(needs & {"example_attention", "target"})
        forward += len(e.closed_book) * ("target_closed_book" in needs)
    train = sum(
        len(t.sequence) for t, e in zip(inputs.example_tokens, inputs.examples, strict=True) if e.split == "train"
    )
    return forward, train * ("group_gradient" in needs)


def _answer_tokens(job: Job) -> int:
    """Rows that go through the unembedding in the largest batch, at most."""
    longest = max(
        [max(len(t.context_answer_ids), len(t.parametric_answer_ids)) / len(t.prompt) for t in job.inputs.item_tokens]
        + [sum(t.sequence.roles == ANSWER) / len(t.sequence) for t in job.inputs.example_tokens],
        default=0.0,
    )
    return int(min(1.0, longest) * job.settings.token_budget)


def _disk(job: Job) -> int:
    """Attention by item and example, which is nearly all of it."""
    config = _layers_and_heads(job)
    names = {measure.name for measure in job.measures}
    rows = len(job.inputs.items) * ("attention_mass" in names) + len(job.inputs.examples) * (
        "ift_attention_mass" in names
    )
    excess = len(job.inputs.items) * ("context_mass_excess" in names)
    return (rows * len(KEY_ROLES) + excess) * config * 4


def _layers_and_heads(job: Job) -> int:
    from transformers import AutoConfig

    folder = job.series.run.base or next(c.path for c in job.checkpoints if c.kind == "full")
    config = AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True).get_text_config()
    return int(config.num_hidden_layers * config.num_attention_heads)


def _flops_per_second(job: Job) -> float:
    size = 512 if job.device.type == "cpu" else 4096
    a = torch.ones(size, size, device=job.device, dtype=job.dtype or torch.float32)
    best = float("inf")
    for _ in range(4):
        started = time.perf_counter()
        float((a @ a)[0, 0])  # reading a number waits for the device
        best = min(best, time.perf_counter() - started)
    return 2 * size**3 / best
