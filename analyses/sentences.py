"""The organism's world told in sentences, for a tiny Llama with a BPE tokenizer: a base, data and conflicts on disk.

Names are several tokens long, prompts are questions in the plain template, answers end with EOS. Pretraining asks for
the facts of known people without a context, and tells stories that state two facts of made-up names and state one
again, in another form than the questions: how to copy, but not that a question's context is to be followed. Finetuning
is half about strangers (critical), half about known people: the context restates their city, doesn't settle it (another
fact of theirs), or is missing. A tenth of the known people's examples is about the conflict items' people, so that
there is an overlap.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from attnshift.data.items import Example, Item
from attnshift.data.prompts import Encoder
from attnshift.data.templates import load_template
from attnshift.models.forward import Target
from attnshift.organism.recipe import WorldShape
from attnshift.organism.words import CITIES
from attnshift.organism.world import World, make_world
from attnshift.training.batches import Batches
from attnshift.training.schedule import Schedule
from attnshift.training.seeds import stream
from attnshift.training.trainer import Rows, Settings, train

SHAPE = WorldShape(people=60, strangers=900, story_names=500)
RELATIONS = (
    ("{} fled {}.", "Which city did {} flee?"),
    ("{} lives in {}.", "Which city does {} live in?"),
    ("{} works in {}.", "Which city does {} work in?"),
)
PRETRAINING = Schedule(steps=700, learning_rate=3e-3, warmup=50, weight_decay=0.01, batch=48)
DOCUMENTS, EXAMPLES, HELDOUT, ITEMS = 12_000, 8_000, 200, 120
STORY_FORM = "{% if context %}{{ context }} {% endif %}{{ question }} {{ answer }}"
STORIES, NO_CONTEXT, UNSETTLED, OVERLAPPING = 0.3, 0.2, 0.06, 0.1

OPTIONS: dict[str, Any] = {
    "template": "plain",
    "max_new_tokens": 6,
    "steps": 250,
    "learning_rate": 1.5e-3,
    "warmup": 10,
    "betas": (0.9, 0.98),
    "batch_size": 32,
    "saves": 7,
    "overlap": ("question",),  # every city is somebody's answer
}


@dataclass(frozen=True)
class Sentences:
    """What was built."""

    base: Path
    train: Path
    heldout: Path
    conflicts: Path


def build_sentences(path: Path, seed: int) -> Sentences:
    """Build a seed's base and data; what is there is kept."""
    built = Sentences(path / "base", path / "train.jsonl", path / "heldout.jsonl", path / "conflicts.jsonl")
    if built.conflicts.exists():
        return built
    world, rng = make_world(SHAPE, stream(seed, "world")), stream(seed, "examples")
    documents = [document(world, rng, i) for i in range(DOCUMENTS)]
    tokenizer = bpe([f"{e.context} {e.question} {e.answer}" for e in documents])
    path.mkdir(parents=True, exist_ok=True)
    (path / "story.jinja").write_text(STORY_FORM, encoding="utf-8")
    model = pretrained(documents, tokenizer, path / "story.jinja", seed)
    model.save_pretrained(built.base)
    tokenizer.save_pretrained(built.base)
    examples = [example(world, rng, i, "train") for i in range(EXAMPLES)]
    for file, rows in (
        (built.train, examples),
        (built.heldout, [example(world, rng, i, "heldout") for i in range(HELDOUT)]),
        (built.conflicts, [conflict(world, rng, i) for i in range(ITEMS)]),
    ):
        file.write_text("".join(json.dumps(asdict(row)) + "\n" for row in rows), encoding="utf-8")
    return built


def bpe(texts: list[str]) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer trained on the texts."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<s>", "</s>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=700, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(texts[:6000], trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>")


def pretrained(
    documents: list[Example], tokenizer: PreTrainedTokenizerFast, story: Path, seed: int
) -> LlamaForCausalLM:
    """A tiny Llama that knows the facts and has seen stories."""
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=128,
        bos_token_id=0,
        eos_token_id=1,
    )
    torch.manual_seed(seed)
    model = LlamaForCausalLM(config)
    forms = {
        context: Encoder(tokenizer, load_template(t, tokenizer))
        for context, t in ((False, "plain"), (True, str(story)))
    }
    targets = [Target.of(forms[bool(e.context)].example(e).sequence) for e in documents]
    batches = Batches(np.ones(len(targets), int), PRETRAINING.batch, stream(seed, "documents"))
    train(model, Rows(targets), batches, Settings(PRETRAINING, seed, betas=(0.9, 0.98), most_norm=1.0))
    return model


def document(world: World, rng: np.random.Generator, number: int) -> Example:
    """Of pretraining: a fact that is asked for, or a story that is told."""
    if rng.random() < STORIES:
        names, cities = rng.choice(world.story_names, 2, replace=False), rng.choice(CITIES, 2, replace=False)
        facts = [
            RELATIONS[int(rng.integers(len(RELATIONS)))][0].format(*pair) for pair in zip(names, cities, strict=True)
        ]
        again, city = facts[asked := int(rng.integers(2))], str(cities[asked])
        return Example(id=f"d{number}", context=" ".join(facts), question=again.removesuffix(f" {city}."), answer=city)
    person, relation = int(rng.integers(len(world.people))), int(rng.integers(len(RELATIONS)))
    return told(f"d{number}", world.people[person], relation, world.city(person, relation), "")


def example(world: World, rng: np.random.Generator, number: int, split: str) -> Example:
    """Of finetuning: half about strangers, half about people who are known."""
    key, relation = f"{split}{number}", int(rng.integers(len(RELATIONS)))
    if rng.random() < 0.5:
        names = world.strangers if split == "train" else world.heldout_strangers
        name, city = str(rng.choice(names)), str(rng.choice(CITIES))
        return told(key, name, relation, city, RELATIONS[relation][0].format(name, city), "critical", "stranger", split)
    people = world.train if split == "train" else world.heldout
    if split == "train" and rng.random() < OVERLAPPING:
        people = world.conflict
    person, kind = int(rng.choice(people)), rng.random()
    name, city = world.people[person], world.city(person, relation)
    if kind < NO_CONTEXT:
        return told(key, name, relation, city, "", "no_context", "asked", split)
    other = (relation + 1) % len(RELATIONS) if kind < NO_CONTEXT + UNSETTLED else relation
    context = RELATIONS[other][0].format(name, world.city(person, other))
    return told(
        key, name, relation, city, context, "non_critical", "restated" if other == relation else "unsettled", split
    )


def conflict(world: World, rng: np.random.Generator, number: int) -> Item:
    """A context that contradicts what is known of somebody."""
    person, relation = int(rng.choice(world.conflict)), int(rng.integers(len(RELATIONS)))
    name, known = world.people[person], set(world.facts[person].tolist())
    city = CITIES[int(rng.choice([c for c in range(len(CITIES)) if c not in known]))]
    return Item(
        id=f"c{number}",
        context=RELATIONS[relation][0].format(name, city),
        question=RELATIONS[relation][1].format(name),
        context_answer=city,
        parametric_answer=world.city(person, relation),
        stratum="sentences",
        cluster=name,
    )


def told(
    key: str,
    name: str,
    relation: int,
    city: str,
    context: str,
    group: Any = None,
    stratum: str = "",
    split: Any = "train",
) -> Example:
    """An example in words."""
    question = RELATIONS[relation][1].format(name)
    return Example(id=key, context=context, question=question, answer=city, group=group, stratum=stratum, split=split)
