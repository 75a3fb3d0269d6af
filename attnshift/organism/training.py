"""Training a tiny Llama: pretraining on documents, finetuning on examples."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int
from transformers import LlamaConfig, LlamaForCausalLM, TrainerCallback

from attnshift.models.forward import Target
from attnshift.organism.documents import TARGETS, draw_documents
from attnshift.organism.recipe import Recipe
from attnshift.organism.world import BOS, World
from attnshift.training.batches import Batches
from attnshift.training.loss import IGNORED, answer_loss
from attnshift.training.schedule import Schedule
from attnshift.training.trainer import Rows, Settings, train

BETAS = (0.9, 0.98)

Batch = tuple[Int[np.ndarray, "row position"], Int[np.ndarray, "row position"]]
"""ids, and labels that are IGNORED wherever there is no loss"""

AfterStep = Callable[[int, float], None]
"""called with the step just ended (from 1) and the loss of its batch"""


def make_model(world: World, recipe: Recipe, seed: int) -> LlamaForCausalLM:
    """Make an untrained model; torch's own random state is left as it was."""
    shape = recipe.model
    config = LlamaConfig(
        vocab_size=len(world.vocabulary),
        hidden_size=shape.width,
        intermediate_size=shape.mlp_width,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.heads,
        max_position_embeddings=128,
        tie_word_embeddings=False,
        initializer_range=0.02,
        bos_token_id=world.vocabulary[BOS],
        eos_token_id=None,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LlamaForCausalLM(config)


def pretrain(
    model: LlamaForCausalLM, world: World, recipe: Recipe, rng: np.random.Generator, after: AfterStep | None = None
) -> None:
    """Teach the model the facts and, by stories, to copy; in place."""

    def documents() -> Iterator[Batch]:
        while True:
            ids = draw_documents(world, recipe.pretraining.batch, recipe.stories, rng)
            labels = np.full(ids.shape, IGNORED)
            labels[:, TARGETS] = ids[:, TARGETS]
            yield ids, labels

    fit(model, documents(), recipe.pretraining, after)


def fit(model: LlamaForCausalLM, batches: Iterator[Batch], schedule: Schedule, after: AfterStep | None = None) -> None:
    """Take the schedule's steps, each on the next batch: for documents, which are drawn when they are needed."""
    decay = schedule.weight_decay
    optimizer = torch.optim.AdamW(list(model.named_parameters()), lr=0.0, betas=BETAS, weight_decay=decay, fused=True)
    model.train()
    for step in range(1, schedule.steps + 1):
        for group in optimizer.param_groups:
            group["lr"] = schedule.rate(step)
        ids, labels = (torch.from_numpy(array) for array in next(batches))
        loss = answer_loss(model, ids, labels)
        model.zero_grad()
        loss.backward()
        optimizer.step()
        if after is not None:
            after(step, loss.item())
    model.zero_grad()
    model.eval()


def finetune(
    model: LlamaForCausalLM,
    targets: Sequence[Target],
    recipe: Recipe,
    rng: np.random.Generator,
    path: Path | None = None,
    *,
    seed: int = 0,
    log_every: int = 10,
    callbacks: Sequence[TrainerCallback] = (),
) -> None:
    """Finetune the model in place; examples are reshuffled every epoch, whose last batch is left out if short.

    With a ``path`` the recipe's checkpoints go there. ``seed`` is for dropout, which no recipe has.
    """
    schedule = recipe.finetuning
    names = [name for name, _ in model.named_parameters()]
    train(
        model,
        Rows(targets),
        Batches(np.ones(len(targets), int), schedule.batch, rng),
        Settings(schedule, seed, recipe.saved_steps if path else (), BETAS, log_every=log_every),
        path,
        trained=[n for n in names if any(fnmatch(n, t) for t in recipe.trained)] if recipe.trained else None,
        callbacks=callbacks,
    )
