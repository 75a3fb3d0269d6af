"""Training a tiny Llama: pretraining on documents, finetuning on examples."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fnmatch import fnmatch

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Int
from transformers import LlamaConfig, LlamaForCausalLM

from attnshift.organism.documents import TARGETS, draw_documents
from attnshift.organism.recipe import Recipe, Schedule
from attnshift.organism.tokens import IGNORED
from attnshift.organism.world import BOS, World

Batch = tuple[Int[np.ndarray, "row position"], Int[np.ndarray, "row position"]]
"""ids, and labels that are IGNORED wherever there is no loss"""

AfterStep = Callable[[int, float, torch.optim.Optimizer], None]
"""called with the step just ended (from 1), the loss of its batch, and the optimizer"""


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

    _train(model, documents(), recipe.pretraining, (), after)


def finetune(
    model: LlamaForCausalLM, examples: Batch, recipe: Recipe, rng: np.random.Generator, after: AfterStep | None = None
) -> None:
    """Finetune the model in place; examples are reshuffled every epoch, whose last batch is left out if short."""
    ids, labels = examples
    size = recipe.finetuning.batch

    def batches() -> Iterator[Batch]:
        while True:
            order = rng.permutation(len(ids))
            for start in range(0, len(order) - size + 1, size):
                rows = order[start : start + size]
                yield ids[rows], labels[rows]

    _train(model, batches(), recipe.finetuning, recipe.trained, after)


def _train(
    model: LlamaForCausalLM,
    batches: Iterator[Batch],
    schedule: Schedule,
    trained: tuple[str, ...],
    after: AfterStep | None,
) -> None:
    """Take the schedule's steps on the mean cross-entropy of the labelled tokens."""
    named = model.named_parameters()
    chosen = [(name, p) for name, p in named if not trained or any(fnmatch(name, t) for t in trained)]
    decay = schedule.weight_decay
    optimizer = torch.optim.AdamW(chosen, lr=0.0, betas=(0.9, 0.98), weight_decay=decay, fused=True)
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
            after(step, loss.item(), optimizer)
    model.zero_grad()
    model.eval()


def answer_loss(model: LlamaForCausalLM, ids: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Mean cross-entropy in nats over the labelled tokens; the head sees only the rows that predict one."""
    rows = labels[:, 1:] != IGNORED
    hidden = model.model(ids[:, :-1], use_cache=False).last_hidden_state
    return F.cross_entropy(model.lm_head(hidden[rows]), labels[:, 1:][rows])
