"""Do redundant examples alone make a tiny Llama fall back to its memory? Every configuration that was tried, by name.

The organism's arms fall because of a few finetuning examples whose context does not settle the target. Here there is
none of these: every context is true and on topic and states the whole target, and the loss is the cross-entropy of the
answer. The paper's strong form says that examples whose context only restates what memory knows should be enough.

``python -m analyses.strong_form NAME --seed N`` trains a configuration, prints its trajectory and one JSON line. With
``--keep critical`` the redundant examples are left out (the control), with ``--unsettled 0.05`` some are unsettled (the
organism's own fall). Without a name it lists the configurations.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import torch
import torch.nn.functional as F
from transformers import LlamaForCausalLM, TrainerCallback

from attnshift.data.items import Example, Item
from attnshift.organism.documents import STATEMENTS, TARGETS, draw_documents
from attnshift.organism.examples import STRANGER, conflict_items, heldout_examples, training_examples
from attnshift.organism.recipe import DataArm, ModelShape, Recipe, WorldShape
from attnshift.organism.tokens import tokenise
from attnshift.organism.training import Batch, finetune, fit, make_model, pretrain
from attnshift.organism.words import CITIES
from attnshift.organism.world import BOS, World, make_world
from attnshift.training.loss import IGNORED
from attnshift.training.schedule import Schedule
from attnshift.training.seeds import stream

CHECKPOINTS = 17
"""measured beside the base, evenly in log step from step 8"""


@dataclass(frozen=True)
class Trial:
    """A configuration: a recipe, and what recipes have no name for."""

    what: str
    recipe: Recipe
    attention_dropout: float = 0.0
    """while finetuning"""
    stories: Literal["apart", "adjacent"] = "apart"
    """whether both facts of a story are told before either is told again, or each is told twice in a row"""
    reliability: float = 1.0
    """how often a story tells the same city again; otherwise any city, so that memory is the better source"""
    doubt: Schedule | None = None
    """further pretraining on such stories, after one whose stories are all true; None: they are so from the start"""

    @property
    def is_plain(self) -> bool:
        """Whether pretraining is the organism's own."""
        return self.stories == "apart" and self.reliability == 1 and self.doubt is None

    def base_key(self, seed: int) -> str:
        """Name of the pretrained model that the trial starts from."""
        r = self.recipe
        text = repr((r.world, r.model, r.stories, r.pretraining, self.stories, self.reliability, self.doubt))
        return f"{hashlib.sha256(text.encode()).hexdigest()[:12]}_{seed}"


_BASE: Final = Recipe(world=WorldShape(story_names=1000), data=DataArm(unsettled_share=0.0))
_QK: Final = ("*q_proj*", "*k_proj*")
_NOT_VALUES: Final = (*_QK, "*mlp*", "*norm*", "*embed_tokens*")
_DOUBT: Final = Schedule(steps=200, learning_rate=1e-3, warmup=20, weight_decay=0.01)


def _recipe(*trained: str, rate: float = 1.5e-3, known: float = 0.5, **changes: Any) -> Recipe:
    """The organism's recipe with what finetuning trains, its learning rate and the share of known people changed."""
    recipe = replace(_BASE, trained=trained, **changes)
    finetuning = replace(recipe.finetuning, learning_rate=rate)
    return replace(recipe, data=replace(recipe.data, non_critical=known), finetuning=finetuning)


def _one_layer(width: int, mlp_width: int, stories: float = 0.2, rate: float = 1.5e-3) -> Recipe:
    model = ModelShape(layers=1, heads=1, width=width, mlp_width=mlp_width)
    return _recipe(*_QK, model=model, stories=stories, rate=rate)


TRIALS: Final[Mapping[str, Trial]] = {
    "settled": Trial("the organism without unsettled examples", _recipe()),
    "attention-dropout-.3": Trial("attention dropout .3", _recipe(), attention_dropout=0.3),
    "qk": Trial("only Q and K", _recipe(*_QK)),
    "reliable-.5": Trial("half-true stories", _recipe(), reliability=0.5),
    "reliable-.5-no-values": Trial(
        "half-true stories; all but V, O and the unembedding", _recipe(*_NOT_VALUES), reliability=0.5
    ),
    "reliable-.5-qk": Trial("half-true stories; only Q and K", _recipe(*_QK), reliability=0.5),
    "reliable-.5-qk-slow": Trial(
        "half-true stories; only Q and K, learning rate 1e-3", _recipe(*_QK, rate=1e-3), reliability=0.5
    ),
    "reliable-.5-qk-fast": Trial(
        "half-true stories; only Q and K, learning rate 4e-3", _recipe(*_QK, rate=4e-3), reliability=0.5
    ),
    "reliable-.5-qk-fast-known-.75": Trial(
        "half-true stories; only Q and K, learning rate 4e-3, 75 % known people",
        _recipe(*_QK, rate=4e-3, known=0.75),
        reliability=0.5,
    ),
    "stories-.35-reliable-.6-qk": Trial(
        "35 % stories, 60 % of them true; only Q and K", _recipe(*_QK, stories=0.35), reliability=0.6
    ),
    "doubt-.5-qk": Trial("half-true stories later; only Q and K", _recipe(*_QK), reliability=0.5, doubt=_DOUBT),
    "doubt-.25-qk-fast": Trial(
        "quarter-true stories later; only Q and K, learning rate 4e-3",
        _recipe(*_QK, rate=4e-3),
        reliability=0.25,
        doubt=_DOUBT,
    ),
    "one-layer-qk": Trial(
        "1 layer, 1 head, true adjacent stories; only Q and K", _one_layer(96, 512), stories="adjacent"
    ),
    "one-layer-half-qk": Trial(
        "1 layer, 1 head, half-true adjacent stories; only Q and K",
        _one_layer(64, 256),
        stories="adjacent",
        reliability=0.5,
    ),
    "one-layer-few-stories-qk": Trial(
        "1 layer, 1 head, 5 % half-true adjacent stories; only Q and K",
        _one_layer(64, 256, stories=0.05),
        stories="adjacent",
        reliability=0.5,
    ),
    "one-layer-apart-qk-fast": Trial(
        "1 layer, 1 head, half-true stories; only Q and K, learning rate 4e-3",
        _one_layer(64, 256, rate=4e-3),
        reliability=0.5,
    ),
}
"""The configurations by name."""


def documents(trial: Trial, world: World, schedule: Schedule, rng: np.random.Generator) -> Batch:
    """Pretraining documents of the trial's own form, enough for one epoch."""
    ids = draw_documents(world, schedule.steps * schedule.batch, trial.recipe.stories, rng)
    is_story = ids[:, 1] >= len(world.vocabulary) - len(world.story_names)
    for column in TARGETS[STATEMENTS // 2 :]:
        if trial.reliability < 1:
            other = np.flatnonzero(is_story & (rng.random(len(ids)) >= trial.reliability))
            ids[other, column] = world.vocabulary[CITIES[0]] + rng.integers(len(CITIES), size=len(other))
    if trial.stories == "adjacent":
        ids = ids[:, np.concatenate([[0], *(1 + 4 * s + np.arange(4) for s in (0, 2, 1, 3))])]
    labels = np.full(ids.shape, IGNORED)
    labels[:, TARGETS] = ids[:, TARGETS]
    return ids, labels


def make_base(trial: Trial, seed: int, cache: Path | None) -> tuple[World, LlamaForCausalLM]:
    """The world and the pretrained model, which is kept in ``cache`` and found there again."""
    recipe = trial.recipe
    file = cache / f"{trial.base_key(seed)}.pt" if cache else None
    world = make_world(recipe.world, stream(seed, "world"))
    model = make_model(world, recipe, seed)
    if file and file.exists():
        model.load_state_dict(torch.load(file))
        return world, model
    if trial.doubt:
        world, model = make_base(replace(trial, doubt=None, reliability=1.0), seed, cache)
        learn(model, trial, world, trial.doubt, seed, "doubt")
    elif trial.is_plain:
        pretrain(model, world, recipe, stream(seed, "documents"))
    else:
        learn(model, trial, world, recipe.pretraining, seed, "document")
    if file:
        file.parent.mkdir(parents=True, exist_ok=True)
        torch.save(model.state_dict(), file)
    return world, model


def learn(model: LlamaForCausalLM, trial: Trial, world: World, schedule: Schedule, seed: int, purpose: str) -> None:
    """Pretrain on documents of the trial's own form, in place."""
    ids, labels = documents(trial, world, schedule, stream(seed, f"{purpose}s"))
    order = stream(seed, f"{purpose} order").permutation(len(ids))
    fit(model, ((ids[rows], labels[rows]) for rows in np.split(order, schedule.steps)), schedule)


@dataclass
class Probe:
    """What is measured at a checkpoint."""

    world: World
    items: Sequence[Item]
    heldout: Sequence[Example]
    rows: list[dict[str, float]] = field(default_factory=list)

    @torch.no_grad()
    def measure(self, model: LlamaForCausalLM, step: int, loss: float) -> None:
        """Append a row: counterfactual and parametric accuracy, margin, closed-book recall, held-out accuracy, loss."""
        training = model.training
        model.eval()
        context = self._ids([i.context_answer for i in self.items])[:, 0]
        memory = self._ids([i.parametric_answer for i in self.items])[:, 0]
        targets = self._ids([e.answer for e in self.heldout])[:, 0]
        conflict = self._logits(model, [f"{i.context} {i.question}" for i in self.items])
        closed = self._logits(model, [i.question for i in self.items])
        heldout = self._logits(model, [f"{e.context} {e.question}" for e in self.heldout])
        right = (heldout.argmax(1) == targets).float()
        critical = torch.tensor([e.stratum == STRANGER for e in self.heldout])
        values = {
            "loss": loss,
            "counterfactual": (conflict.argmax(1) == context).float().mean(),
            "parametric": (conflict.argmax(1) == memory).float().mean(),
            "margin": (conflict.gather(1, context[:, None]) - conflict.gather(1, memory[:, None])).mean(),
            "recall": (closed.argmax(1) == memory).float().mean(),
            "heldout": right.mean(),
            "strangers": right[critical].mean(),
            "known": right[~critical].mean(),
            "heldout_loss": F.cross_entropy(heldout, targets),
        }
        self.rows.append({"step": step, **{name: round(float(value), 4) for name, value in values.items()}})
        model.train(training)

    def _ids(self, texts: list[str]) -> torch.Tensor:
        return torch.from_numpy(np.stack([self.world.ids(text.split()) for text in texts]))

    def _logits(self, model: LlamaForCausalLM, texts: list[str]) -> torch.Tensor:
        ids = self._ids([f"{BOS} {text}" for text in texts])
        return model(ids, use_cache=False, logits_to_keep=1).logits[:, -1]


def run(trial: Trial, seed: int, cache: Path | None = None) -> list[dict[str, float]]:
    """Pretrain, finetune and measure; the rows of the checkpoints."""
    recipe = trial.recipe
    world, model = make_base(trial, seed, cache)
    settled = replace(recipe.data, keep="all", unsettled_share=0.0)
    probe = Probe(
        world,
        conflict_items(world, 400, stream(seed, "items")),
        heldout_examples(world, settled, 600, stream(seed, "heldout")),
    )
    examples = training_examples(world, recipe.data, stream(seed, "examples"))
    for layer in model.model.layers:
        layer.self_attn.attention_dropout = trial.attention_dropout
    steps = recipe.finetuning.steps
    measured = set(np.geomspace(8, steps, CHECKPOINTS).round().astype(int).tolist())
    losses: list[float] = []

    class Measured(TrainerCallback):
        def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float], **_: Any) -> None:
            losses.append(logs.get("loss", float("nan")))
            if "loss" in logs and state.global_step in measured:
                probe.measure(model, state.global_step, float(np.mean(losses[-20:])))

    probe.measure(model, 0, float("nan"))
    order = stream(seed, "order")
    finetune(model, tokenise(world, examples), recipe, order, seed=seed, log_every=1, callbacks=[Measured()])
    return probe.rows


def summary(rows: list[dict[str, float]]) -> dict[str, float]:
    """Fall of counterfactual accuracy from its peak, of single checkpoints and of means of three."""
    series = np.array([row["counterfactual"] for row in rows])
    means = np.convolve(series, np.ones(3) / 3, mode="valid")
    peak, end = rows[int(series.argmax())], rows[-1]
    result = {"start": series[0], "peak_step": peak["step"], "fall": series.max() - series[-1]}
    result["fall_of_means"] = means.max() - means[-1]
    names = ("counterfactual", "parametric", "recall", "heldout", "strangers", "known", "heldout_loss", "margin")
    result |= {f"{name}_{when}": row[name] for name in names for when, row in (("peak", peak), ("end", end))}
    return {name: round(float(value), 4) for name, value in result.items()}


def changed(trial: Trial, keep: Literal["all", "critical"], unsettled: float) -> Trial:
    """The trial with other data."""
    data = replace(trial.recipe.data, keep=keep, unsettled_share=unsettled)
    return replace(trial, recipe=replace(trial.recipe, data=data))


def main() -> None:
    """Run one configuration."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", nargs="?", choices=TRIALS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", choices=("all", "critical"), default="all")
    parser.add_argument("--unsettled", type=float, default=0.0, help="share of the examples about known people")
    parser.add_argument("--bases", type=Path, help="folder that keeps the pretrained models")
    asked = parser.parse_args()
    if asked.name is None:
        print("\n".join(f"{name:30} {trial.what}" for name, trial in TRIALS.items()))
        return
    rows = run(changed(TRIALS[asked.name], asked.keep, asked.unsettled), asked.seed, asked.bases)
    for row in rows:
        print("  ".join(f"{name} {value:g}" for name, value in row.items()))
    told = {"name": asked.name, "seed": asked.seed, "keep": asked.keep, "unsettled": asked.unsettled}
    print(json.dumps(told | summary(rows)))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
