"""The model that a finetuning starts from: where it lies, how it reads, what it knows without a context."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from attnshift.checkpoints.base import resolve_base
from attnshift.checkpoints.checkpoint import classify
from attnshift.checkpoints.run import Run, find_run
from attnshift.checkpoints.tokenizer import load_tokenizer, tokenizer_dir
from attnshift.checkpoints.window import window_of
from attnshift.data.groups import PAPER, Grouping, Rule, group_examples
from attnshift.data.inputs import Inputs, encode
from attnshift.data.items import Example
from attnshift.data.prompts import Encoder
from attnshift.data.templates import default_template, load_template
from attnshift.errors import AttnshiftError
from attnshift.models.placement import place
from attnshift.models.skeleton import Skeleton
from attnshift.tracing.budget import AT_MOST_ON_CPU, TokenBudget, load_of
from attnshift.tracing.job import dtype_of
from attnshift.tracing.observe import closed_book_nats


@dataclass(frozen=True)
class Base:
    """A model with full weights, on disk."""

    name: str
    """as a run states it: a hub name, or an absolute folder"""
    run: Run
    """its folder as a run of one checkpoint"""
    dtype: str = "auto"
    device: str | None = None

    @property
    def digest(self) -> str:
        """Of its weights."""
        return self.run.digests[self.run.checkpoints[0].step]

    @cached_property
    def tokenizer(self) -> Any:
        """The tokenizer that lies beside the weights."""
        return load_tokenizer(tokenizer_dir(self.run))

    def encoder(self, template: str | None, target_eos: bool, max_length: int | None = None) -> Encoder:
        """How it reads examples: as a trace of the run will. ``max_length`` can only shorten the model's window."""
        limits = [limit for limit in (window_of([self.run.path]), max_length) if limit is not None]
        chosen = load_template(template or default_template(self.tokenizer), self.tokenizer)
        return Encoder(self.tokenizer, chosen, target_eos, min(limits, default=None))

    def skeleton(self) -> Skeleton:
        """Load it."""
        placement = place(self.device)
        skeleton = Skeleton(self.run, dtype_of(self.dtype), placement.device, placement.spread)
        skeleton.load(self.run.checkpoints[0])
        return skeleton

    def model(self) -> Any:
        """Load it as a transformers model of its own."""
        skeleton = self.skeleton()
        skeleton.model.set_attn_implementation(skeleton.usual_attention)
        return skeleton.model


def open_base(name: str | Path, dtype: str = "auto", device: str | None = None) -> Base:
    """Find a base model: a folder, or the name of a model on the hub, which is downloaded if it isn't in the cache.

    Raises AttnshiftError where there is none.
    """
    folder = resolve_base(str(name), Path.cwd(), explicit=True, allow_download=not Path(name).exists())
    if folder is None:
        holds = {"adapter": "holds an adapter", None: "holds no weights"}.get(classify(Path(name)), "can't be used")
        raise AttnshiftError(
            f"there is no base model {str(name)!r}" + (f": it {holds}" if Path(name).exists() else ""),
            expected="a folder with config.json and full weights, or a model's name on the hub",
            remedy="check the path; an adapter has to be merged into its base first",
        )
    return Base(str(folder) if Path(name).expanduser().exists() else str(name), find_run(folder), dtype, device)


@dataclass(frozen=True)
class ClosedBook:
    """What a model makes of targets without their context."""

    nats: Float[np.ndarray, "example answer_position"]
    """loss of every target token; NaN behind a target's end, and for examples that weren't asked about"""

    def losses(self, rule: Rule) -> Float[np.ndarray, "example"]:
        """A number per example, as the rule counts."""
        total, tokens = np.nansum(self.nats, -1), np.isfinite(self.nats).sum(-1)
        return np.where(tokens > 0, total / (1 if rule.score == "sum" else np.maximum(tokens, 1)), np.nan)

    def grouping(self, examples: Sequence[Example], rule: Rule = PAPER) -> Grouping:
        """The groups of the examples by a rule; given ones stay."""
        losses = self.losses(rule)
        return group_examples(examples, lambda positions: losses[positions], rule)


def closed_book(base: Base, inputs: Inputs, positions: Sequence[int]) -> ClosedBook:
    """Score the targets of some examples without their context, as a trace does."""
    load = load_of(inputs, 0)
    budget = TokenBudget(max(AT_MOST_ON_CPU, load.longest), load.longest)
    skeleton = base.skeleton()
    found = budget.run(lambda tokens: closed_book_nats(skeleton, inputs, positions, tokens))
    nats = np.full((len(inputs.examples), found.shape[1]), np.nan)
    nats[list(positions)] = found
    return ClosedBook(nats)


def encoded(encoder: Encoder, examples: Sequence[Example]) -> Inputs:
    """Examples with their tokens; raises AttnshiftError where nothing at all can be used."""
    if not examples:
        raise AttnshiftError("there are no examples", expected="at least one")
    return encode(encoder, (), examples)
