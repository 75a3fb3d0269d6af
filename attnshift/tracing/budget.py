"""The token budget: how many tokens go through the model at once."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TypeVar

import torch

from attnshift.data.groups import NON_CRITICAL_SHARE
from attnshift.data.inputs import Inputs
from attnshift.data.items import GROUPS, Example
from attnshift.data.roles import ANSWER
from attnshift.errors import CheckpointError
from attnshift.tracing.memory import Footprint, gradient_copies

AT_MOST_ON_CPU = 8192
AT_MOST_ON_ACCELERATORS = 65536

# How allocators other than CUDA's say it: they raise a plain RuntimeError.
_SAID = ("can't allocate memory", "not enough memory", "out of memory", "CUBLAS_STATUS_ALLOC_FAILED")

Result = TypeVar("Result")


@dataclass(frozen=True)
class Load:
    """What of a trace's data decides how large a batch can be."""

    longest: int
    """tokens of the longest sequence"""
    answers: float
    """the largest part of a sequence that is answer tokens, whose rows go through the unembedding"""
    groups: tuple[tuple[str, int, int], ...]
    """name, training examples and tokens of the longest one; of groups by rank not yet known, at most"""

    def streamed(self, budget: int) -> dict[str, bool]:
        """By group, whether its gradient comes out of a single batch and is never held."""
        return {name: count <= max(1, budget // max(1, length)) for name, count, length in self.groups}


def load_of(inputs: Inputs, max_new_tokens: int) -> Load:
    """Lengths and groups of the inputs."""
    items = [
        (len(t.prompt) + max(len(t.context_answer_ids), len(t.parametric_answer_ids), max_new_tokens), len(ids))
        for t in (*inputs.item_tokens, *(t for control in inputs.controls for t in control.tokens if t is not None))
        for ids in (t.context_answer_ids, t.parametric_answer_ids)
    ]
    examples = [(len(t.sequence), int((t.sequence.roles == ANSWER).sum())) for t in inputs.example_tokens]
    shares = [answer / max(1, length) for length, answer in [*items, *examples]]
    return Load(
        max((length for length, _ in [*items, *examples]), default=1), max(shares, default=0.0), _groups(inputs)
    )


def choose_budget(
    footprint: Footprint, needs: Collection[str], load: Load, free: int, device: str, held: int | None = None
) -> int:
    """The largest power of two whose batch fits half of the memory that weights and held gradients leave.

    ``held`` are the bytes of one held gradient where that isn't the footprint's: 0 if it lives elsewhere.
    At most 8192 tokens on a CPU, where more gain nothing, and 65536 elsewhere; at least the longest sequence, which
    can't be split.
    """
    budget = AT_MOST_ON_CPU if device == "cpu" else AT_MOST_ON_ACCELERATORS
    held = footprint.gradient if held is None else held
    while budget > load.longest:
        copies = sum(gradient_copies(needs, not all(load.streamed(budget).values())).values())
        room = (free - footprint.weights - copies * held) / 2
        if _batch(footprint, needs, load, budget) <= room:
            break
        budget //= 2
    return max(budget, load.longest)


def logit_rows(load: Load, budget: int) -> int:
    """Rows of a full batch that go through the unembedding, at most."""
    return int(min(1.0, load.answers) * max(budget, load.longest))


def _batch(footprint: Footprint, needs: Collection[str], load: Load, budget: int) -> int:
    """Bytes of a full batch's activations and logits."""
    activations = max(budget, load.longest) * footprint.activations(needs, load.longest)
    return activations + logit_rows(load, budget) * footprint.logits(needs)


def _groups(inputs: Inputs) -> tuple[tuple[str, int, int], ...]:
    """Groups as given; those of examples that are yet to be ranked by loss with the count that they will have."""
    members: dict[str, list[int]] = {group: [] for group in GROUPS}
    unranked: list[int] = []
    for example, tokens in zip(inputs.examples, inputs.example_tokens, strict=True):
        if example.split == "train":
            _chosen(example, members, unranked).append(len(tokens.sequence))
    low = int(NON_CRITICAL_SHARE * len(unranked))
    more = {"non_critical": low, "critical": len(unranked) - low}
    rows = []
    for group, lengths in members.items():
        if count := len(lengths) + more.get(group, 0):
            rows.append((group, count, max([*lengths, *(unranked if more.get(group) else [])])))
    return tuple(rows)


def _chosen(example: Example, members: dict[str, list[int]], unranked: list[int]) -> list[int]:
    if example.group is not None:
        return members[example.group]
    return unranked if example.context.strip() else members["no_context"]


@dataclass
class TokenBudget:
    """A budget that halves itself where a batch doesn't fit into memory, down to a single longest sequence."""

    tokens: int
    longest: int

    def run(self, action: Callable[[int], Result]) -> Result:
        """Call ``action`` with the budget, again with half of it as long as memory runs out.

        Raises CheckpointError where a single sequence doesn't fit. What it came down to holds for later calls.
        """
        while True:
            try:
                return action(self.tokens)
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                reason = str(error).strip().partition("\n")[0] or type(error).__name__
            # Out here the error is gone, and with it the frames that hold what didn't fit.
            release()
            self._halve(reason)

    def _halve(self, reason: str) -> None:
        if self.tokens <= self.longest:
            raise CheckpointError(
                f"memory runs out even with a batch of one sequence, {self.longest} tokens at most: {reason}",
                expected="memory for the weights and for the activations of one sequence",
                remedy="fewer datapoints with --limit, a shorter context, --dtype bfloat16, or another --device",
            )
        before, self.tokens = self.tokens, max(self.longest, self.tokens // 2)
        told = f"memory ran out with {before} tokens in a batch: this checkpoint and those after it take {self.tokens}"
        warnings.warn(told, UserWarning, stacklevel=3)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error is some allocator's way of saying that memory ran out."""
    known = isinstance(error, MemoryError | torch.OutOfMemoryError)
    return known or (isinstance(error, RuntimeError) and any(said in str(error) for said in _SAID))


def release() -> None:
    """Give back what is no longer used."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
