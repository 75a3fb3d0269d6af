"""Losses of the finetuning examples, and whether they are answered exactly."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from attnshift.measures.measure import Measure, Observation


@dataclass(frozen=True)
class Loss(Measure):
    """Mean cross-entropy over the target's tokens, EOS included where training included it."""

    name = "loss"
    unit = "nats per token"
    dims = ("example",)
    needs = frozenset({"target"})

    def compute(self, seen: Observation) -> Float[np.ndarray, "example"]:
        return -np.nanmean(seen.get("target").logprob, -1)


@dataclass(frozen=True)
class LossClosedBook(Measure):
    """Mean cross-entropy over the same target tokens, without the context; equals ``loss`` where there is none."""

    name = "loss_closed_book"
    unit = "nats per token"
    dims = ("example",)
    needs = frozenset({"target_closed_book"})

    def compute(self, seen: Observation) -> Float[np.ndarray, "example"]:
        return -np.nanmean(seen.get("target_closed_book").logprob, -1)


@dataclass(frozen=True)
class ExactMatch(Measure):
    """1 where greedy decoding writes exactly the target.

    Greedy decoding reproduces a target if and only if each of its tokens is the most likely one given the
    tokens before it, so the forward that gives the loss gives this too.
    """

    name = "exact_match"
    unit = "0/1"
    dims = ("example",)
    needs = frozenset({"target"})

    def compute(self, seen: Observation) -> Float[np.ndarray, "example"]:
        return seen.get("target").greedy.all(-1).astype(np.float64)
