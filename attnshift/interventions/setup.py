"""From two checkpoints to what is run: prompts that both read, a token budget, the models themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from attnshift.data.items import Example, Item
from attnshift.interventions.fit import refuse_unlike
from attnshift.interventions.pair import Pair, Side
from attnshift.models.series import Series
from attnshift.models.skeleton import Skeleton
from attnshift.tracing.budget import AT_MOST_ON_CPU, choose_budget, load_of
from attnshift.tracing.job import Job, data_of, prepare
from attnshift.tracing.memory import Footprint, free_bytes, read_footprint

RELIANCE = ("margin", "counterfactual_accuracy", "parametric_accuracy")
"""Measures of the conflict items."""


@dataclass(frozen=True)
class Bench:
    """Two checkpoints with everything that is put to them."""

    pair: Pair
    job: Job
    """as for a trace of the target: tokens, tokenizer, settings"""
    captured_budget: int
    """tokens whose activations of every site fit into memory beside a batch"""

    def skeleton(self, side: Side) -> Skeleton:
        """A model that becomes checkpoints of a side's run."""
        return Skeleton(side.run, self.job.dtype, self.job.placement.device, self.job.placement.spread)


@dataclass
class Models:
    """Source and target in memory: two models, or one that turns from adapter to adapter where they share a base."""

    bench: Bench
    _source: Skeleton
    _target: Skeleton

    @classmethod
    def of(cls, bench: Bench) -> Models:
        """Nothing is loaded yet."""
        source, target = bench.pair.source, bench.pair.target
        first = bench.skeleton(target)
        shared = bench.pair.of_one_run and target.adapted
        return cls(bench, first if shared else bench.skeleton(source), first)

    def source(self) -> Any:
        """The source; what was handed out as the target may be gone."""
        return self._ready(self._source, self.bench.pair.source)

    def target(self) -> Any:
        """The target; what was handed out as the source may be gone."""
        return self._ready(self._target, self.bench.pair.target)

    @staticmethod
    def _ready(skeleton: Skeleton, side: Side) -> Any:
        if skeleton.checkpoint is not side.checkpoint:
            skeleton.load(side.checkpoint)
        return skeleton.model


def set_up(
    pair: Pair,
    *,
    items: Sequence[Item] | None = None,
    examples: Sequence[Example] | None = None,
    with_examples: bool = False,
    token_budget: int | None = None,
    **options: Any,
) -> Bench:
    """Settle everything before a weight is loaded; raises AttnshiftError. Options as in `attnshift.trace`.

    With neither items nor examples, those that the target's run names. Of examples the held-out ones are taken, all
    where none is held out.
    """
    refuse_unlike(pair)
    series, notes = Series(pair.target.run), list[str]()
    items, examples = data_of(series.run.manifest, items, examples, notes)
    held = [example for example in examples if example.split == "heldout"]
    chosen = (held or examples) if with_examples else ()
    if with_examples and not held and examples:
        notes.append("no example is held out: the loss is that of training examples")
    measures = (*RELIANCE, "loss") if chosen else RELIANCE
    step = pair.target.checkpoint.step
    job = prepare(
        series,
        items=items,
        examples=chosen,
        measures=measures,
        steps=[step],
        token_budget=token_budget,
        **options,
    )
    job = replace(job, notes=(*notes, *job.notes))
    budget, captured = _budgets(job, token_budget)
    return Bench(pair, replace(job, settings=replace(job.settings, token_budget=budget)), captured)


def _budgets(job: Job, given: int | None) -> tuple[int, int]:
    """Tokens of a batch, beside two models, and tokens whose activations may be kept meanwhile."""
    needs, load = frozenset({"generation"}), load_of(job.inputs, job.settings.max_new_tokens)
    try:
        footprint = read_footprint(job.series.run, job.checkpoints, job.dtype)
    except Exception:  # of files that say anything; loading the model says better what is wrong with it
        budget = given or max(AT_MOST_ON_CPU, load.longest)
        return budget, budget
    free = free_bytes(job.placement) - footprint.weights
    budget = given or choose_budget(footprint, needs, load, free, job.device.type)
    # Half of what is free was left over for what a batch doesn't account for: as much again as the batch itself.
    captured = budget * footprint.activations(needs, load.longest) // _captured(footprint)
    return budget, max(captured, load.longest)


def _captured(footprint: Footprint) -> int:
    """Bytes per token of all sites: three of the stream, what attention and MLP add, the heads' outputs, per layer."""
    heads = footprint.projected - footprint.cached
    return footprint.layers * footprint.width * (5 * footprint.hidden + heads)
