"""Finetune a model in one of the arms, and leave a run that a trace reads as it is."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from attnshift.data.groups import group_examples, group_shares, with_groups
from attnshift.data.inputs import Dropped, Inputs
from attnshift.data.items import Example, Item
from attnshift.data.prompts import Encoder
from attnshift.errors import AttnshiftError
from attnshift.models.forward import Target
from attnshift.training.arms import select
from attnshift.training.base import Base, closed_book, encoded, open_base
from attnshift.training.batches import Batches
from attnshift.training.parameters import Trained, trainable
from attnshift.training.plan import Plan
from attnshift.training.record import is_ours, unwritable, write_run
from attnshift.training.schedule import Schedule
from attnshift.training.seeds import own_randomness, stream

if TYPE_CHECKING:
    from transformers import TrainerCallback

Say = Callable[[str], None]


def finetune(
    base: str | Path,
    examples: Sequence[Example],
    out: str | Path,
    *,
    items: Sequence[Item] = (),
    device: str | None = None,
    callbacks: Sequence[TrainerCallback] = (),
    report_to: Sequence[str] = (),
    say: Say | None = None,
    **options: Any,
) -> Path:
    """Finetune a causal LM by the HF Trainer; returns the run, which `trace` reads with nothing else said.

    The loss is on exactly the tokens that a trace scores. All arms of the same data take the same number of steps, and
    every step's batch holds the same number of tokens (that of ``batch_size`` examples of the full arm, to within one
    example), so that checkpoints of the same step have seen equally much. Checkpoints are evenly spaced in log step.
    Step 0 is the base, which the manifest names. Run it again and it goes on from the last checkpoint, bit by bit.

    Parameters
    ----------
    base
        A folder with full weights, or a hub name (downloaded if the cache lacks it).
    examples
        All of them, whatever the arm: held-out ones are only measured later. Those without a group are grouped by
        the base's loss without their context.
    out
        The run's directory: empty, not there yet, or the same finetuning unfinished.
    items
        Conflict items that a trace of the run measures; the arm ``no-overlap`` needs them.
    device
        ``cpu``, ``cuda``, …, ``auto`` for a model spread over all GPUs. Default: a GPU if there is one.
    callbacks, report_to
        Of the HF Trainer; see `attnshift.training.trainer` for what a callback is told.
    say
        Called with a line per stage.
    options
        The fields of `Plan`: arm, lora, steps, learning_rate, seed, ….

    Raises
    ------
    AttnshiftError
        For bad input, an arm that is empty or lacks what it needs, and a directory that holds something else.
    """
    say = say or (lambda _: None)
    _refuse_several_processes()
    plan = Plan(**options)
    found = open_base(base, plan.dtype, device)
    ready = prepare(found, read(found, examples, plan, say), plan, items, say)
    return run(ready, Path(out), callbacks, report_to, say)


@dataclass(frozen=True)
class Read:
    """Examples with their groups and tokens: the same for all arms."""

    encoder: Encoder
    inputs: Inputs

    def training(self) -> dict[str, int]:
        """Ids of the training examples, and how many tokens each has."""
        both = zip(self.inputs.examples, self.inputs.example_tokens, strict=True)
        return {example.id: len(tokens.sequence) for example, tokens in both if example.split == "train"}


def read(base: Base, examples: Sequence[Example], plan: Plan, say: Say) -> Read:
    """Encode and group examples; loads the base only if examples have to be grouped by it."""
    encoder = base.encoder(plan.template, plan.target_eos, plan.max_length)
    inputs = encoded(encoder, examples)
    if inputs.dropped:
        first = inputs.dropped[0]
        say(f"{len(inputs.dropped)} examples left out; the first is {first.id!r}: {first.reason}")
    everyone = plan.split.pool == "all"
    ranked = [i for i, e in enumerate(inputs.examples) if e.group is None and (everyone or e.context.strip())]
    if any(inputs.examples[i].context.strip() for i in ranked):
        say(f"grouping {len(ranked)} examples by the base's loss without their context")
        grouping = closed_book(base, inputs, ranked).grouping(inputs.examples, plan.split)
    else:
        grouping = group_examples(inputs.examples, lambda positions: np.full(len(positions), np.nan), plan.split)
    say(grouping.describe())
    return Read(encoder, replace(inputs, examples=with_groups(inputs.examples, grouping.groups)))


@dataclass(frozen=True)
class Finetuning:
    """A finetuning with everything settled but the weights."""

    plan: Plan
    base: Base
    encoder: Encoder
    inputs: Inputs
    """of the arm's training examples"""
    heldout: tuple[Example, ...]
    items: tuple[Item, ...]
    origins: dict[str, str]
    """of counterfactual examples: their id to that of the one they were made from"""
    left_out: tuple[Dropped, ...]
    schedule: Schedule
    capacity: float
    """tokens of a batch"""

    @property
    def saved_steps(self) -> tuple[int, ...]:
        """Steps whose checkpoint is kept."""
        return self.plan.saved_steps(self.schedule.steps)

    def batches(self) -> Batches:
        """The arm's batches; raises AttnshiftError where its examples don't fill one."""
        sizes = [len(tokens.sequence) for tokens in self.inputs.example_tokens]
        return Batches(sizes, self.capacity, stream(self.plan.seed, "order"), self.plan.micro_batches)

    def record(self) -> dict[str, Any]:
        """Everything that the result depends on, as plain data."""
        lengths = [len(tokens.sequence) for tokens in self.inputs.example_tokens]
        digest = blake2b(digest_size=8)
        for tokens in self.inputs.example_tokens:
            digest.update(tokens.sequence.ids.tobytes() + tokens.sequence.roles.tobytes() + b"|")
        recorded = {
            "base": self.base.name,
            "base_digest": self.base.digest,
            "data_digest": digest.hexdigest(),
            "examples": len(lengths),
            "tokens": sum(lengths),
            "tokens_per_step": self.capacity,
            **asdict(self.plan),
            "template": self.encoder.template.stated,
            "schedule": asdict(self.schedule),
        }
        return dict(json.loads(json.dumps(recorded)))

    def manifest(self, trained: Trained) -> dict[str, Any]:
        """What the run says about itself."""
        groups = [example.group for example in self.inputs.examples if example.group is not None]
        optional = {"max_new_tokens": self.plan.max_new_tokens, "trained": sorted(trained.names or ())}
        return {
            "base": self.base.name,
            "template": self.encoder.template.name,
            "target_eos": self.plan.target_eos,
            "arm": self.plan.arm,
            "seed": self.plan.seed,
            "shares": group_shares(groups, {}),
            "learning_rate": {step: self.schedule.rate(step) for step in self.saved_steps},
            **{key: value for key, value in optional.items() if value},
        }


def prepare(base: Base, found: Read, plan: Plan, items: Sequence[Item], say: Say) -> Finetuning:
    """Settle an arm's examples, batches and steps; raises AttnshiftError for an arm that is empty."""
    inputs, lengths = found.inputs, found.training()
    selection = select(
        plan.arm,
        inputs.examples,
        seed=plan.seed,
        items=items,
        ratio=plan.ratio,
        sources=plan.overlap,
    )
    if selection.said:
        say(selection.said)
    tokens = {e.id: t for e, t in zip(inputs.examples, inputs.example_tokens, strict=True)}
    dropped = list(inputs.dropped)
    if selection.origins:
        made = encoded(found.encoder, [e for e in selection.examples if e.id in selection.origins])
        tokens |= {e.id: t for e, t in zip(made.examples, made.example_tokens, strict=True)}
        dropped += made.dropped
    chosen = tuple(e for e in selection.examples if e.id in tokens)
    return Finetuning(
        plan=plan,
        base=base,
        encoder=found.encoder,
        inputs=Inputs((), (), chosen, tuple(tokens[e.id] for e in chosen)),
        heldout=tuple(e for e in inputs.examples if e.split != "train"),
        items=tuple(items),
        origins=selection.origins,
        left_out=(*dropped, *selection.left_out),
        schedule=plan.schedule(len(lengths)),
        capacity=plan.batch_size * float(np.mean(list(lengths.values()))),
    )


def run(
    ready: Finetuning,
    out: Path,
    callbacks: Sequence[TrainerCallback] = (),
    report_to: Sequence[str] = (),
    say: Say = lambda _: None,
) -> Path:
    """Train what is settled, or go on where it stopped; returns the run."""
    from attnshift.training.trainer import Rows, Settings, last_complete, train

    plan, schedule, batches, recorded = ready.plan, ready.schedule, ready.batches(), ready.record()
    last = last_complete(out) if is_ours(out, recorded) else None
    if last is not None and last.name == f"checkpoint-{schedule.steps}":
        say(f"{out} is complete")
        return out
    trained = _trained(ready)
    if trained.partly:
        say(
            "queries, keys and values are one matrix here: the values' part stays as it is, but gradients in a trace "
            "count the whole (gradient_norm_by_part tells them apart)"
        )
    examples, tokens = ready.inputs.examples, ready.inputs.example_tokens
    write_run(
        out,
        ready.manifest(trained),
        recorded,
        training=examples,
        heldout=ready.heldout,
        origins=ready.origins,
        items=ready.items,
        left_out=ready.left_out,
    )
    say(
        f"training on {len(examples):,} examples: {schedule.steps:,} steps of {ready.capacity:,.0f} tokens, "
        f"{batches.steps_per_epoch:,} to an epoch" + (f", going on from {last.name}" if last else "")
    )
    settings = Settings(
        schedule, plan.seed, ready.saved_steps, plan.betas, plan.most_norm, plan.bf16, plan.checkpointing
    )
    try:
        train(
            trained.model,
            Rows([Target.of(each.sequence) for each in tokens], examples),
            batches,
            settings,
            out,
            trained=trained.names,
            undecayed=trained.partly,
            tokenizer=ready.base.tokenizer,
            callbacks=callbacks,
            report_to=report_to,
        )
    except OSError as error:
        raise unwritable(out, error) from error
    return out


def _trained(ready: Finetuning) -> Trained:
    """The model, loaded and set up; adapters begin at the seed."""
    plan = ready.plan
    with own_randomness(plan.seed):
        return trainable(
            ready.base.model(),
            query_key=plan.arm == "qk",
            lora=plan.lora,
            alpha=plan.lora_alpha,
            base=ready.base.name,
        )


def _refuse_several_processes() -> None:
    processes = os.environ.get("WORLD_SIZE", "1")
    if processes != "1":
        raise AttnshiftError(
            f"finetune runs in one process, and WORLD_SIZE is {processes}",
            expected="one process: --device auto spreads a model over all GPUs",
            remedy="for data-parallel training use your own trainer, and trace what it saves",
        )
