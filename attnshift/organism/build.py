"""A run of the organism on disk, as any training leaves one: base, checkpoints, data, manifest."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from attnshift.atomic import atomic_folder, os_errors
from attnshift.checkpoints.jsonfile import read_object
from attnshift.checkpoints.manifest import FILE_NAME
from attnshift.data.items import GROUPS, Example, Item
from attnshift.errors import AttnshiftError
from attnshift.organism.examples import conflict_items, heldout_examples, training_examples
from attnshift.organism.recipe import Recipe
from attnshift.organism.tokens import TEMPLATE, make_tokenizer, tokenise
from attnshift.organism.words import VERBS
from attnshift.organism.world import World, make_world
from attnshift.training.seeds import stream

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM

ITEMS: Final = 400
HELDOUT: Final = 300
MEASURED: Final = 150
"""training examples of each group that a trace measures; all of them are in TRAINING_FILE"""

TRAINING_FILE: Final = "train.jsonl"
WORLD_FILE: Final = "world.json"
RECIPE_FILE: Final = "recipe.json"

Say = Callable[[str], None]


def build_run(path: Path, recipe: Recipe, seed: int = 0, base: Path | None = None, say: Say | None = None) -> Path:
    """Build a run at ``path``; what is already there is kept if it is of the same recipe and seed.

    ``base`` is another run of the same seed whose pretrained model is taken over instead of trained again. The
    directory appears whole or not at all.

    Raises AttnshiftError for a path that holds something else or can't be written, and a base of another world.
    """
    if _is_built(path, recipe, seed):
        return path
    try:
        with atomic_folder(path) as building:
            _build(building, recipe, seed, base, say or (lambda _: None))
    except OSError as error:
        remedy = "make room, or name a directory that can be written with --out"
        told = f"the run can't be written to {str(path)!r}: {error.strerror or error}"
        raise AttnshiftError(told, remedy=remedy) from error
    return path


def stratum_shares(run: Path) -> dict[str, float]:
    """Each stratum's part of a run's training examples."""
    with (run / TRAINING_FILE).open(encoding="utf-8") as lines:
        counts = Counter(json.loads(line)["stratum"] for line in lines)
    return {stratum: count / counts.total() for stratum, count in counts.items()}


def _is_built(path: Path, recipe: Recipe, seed: int) -> bool:
    if not path.exists():
        return False
    wanted = _stated(recipe, seed)
    found = read_object(path / RECIPE_FILE) if (path / RECIPE_FILE).is_file() else {}
    if found == wanted:
        return True
    other = [key for key in wanted if key in found and found[key] != wanted[key]]
    holds = f"a run with other {', '.join(other)}" if other else "no run of the organism"
    raise AttnshiftError(
        f"{str(path)!r} holds {holds}",
        expected=f"nothing yet, or the run of arm {recipe.name!r}, seed {seed}",
        remedy="name another directory with --out, or delete this one",
    )


def _stated(recipe: Recipe, seed: int) -> dict[str, Any]:
    """The recipe as JSON gives it back."""
    stated: dict[str, Any] = json.loads(json.dumps({"seed": seed, **asdict(recipe)}))
    return stated


def _build(path: Path, recipe: Recipe, seed: int, base: Path | None, say: Say) -> None:
    world = make_world(recipe.world, stream(seed, "world"))
    data = _draw_data(world, recipe, seed)
    tokenizer = make_tokenizer(world)
    _write_json(path / RECIPE_FILE, _stated(recipe, seed))
    _write_json(path / WORLD_FILE, _world_facts(world))
    for name, rows in (("ift.jsonl", data.measured), (TRAINING_FILE, data.train), ("conflicts.jsonl", data.items)):
        (path / name).write_text("".join(json.dumps(asdict(row)) + "\n" for row in rows), encoding="utf-8")
    (path / "prompt.jinja").write_text(TEMPLATE, encoding="utf-8")
    model = _base_model(world, recipe, seed, base, say)
    with os_errors():
        model.save_pretrained(path / "base")
        tokenizer.save_pretrained(path / "base")
    _finetune(path, model, world, data.train, recipe, seed, say)
    groups = Counter(example.group for example in data.train)
    manifest = {
        "base": "base",
        "template": "prompt.jinja",
        "max_new_tokens": 1,
        "target_eos": False,
        "conflicts": "conflicts.jsonl",
        "ift": "ift.jsonl",
        "arm": recipe.name,
        "seed": seed,
        "shares": {group: groups[group] / len(data.train) for group in GROUPS if groups[group]},
        "learning_rate": {step: recipe.finetuning.rate(step) for step in recipe.saved_steps},
    }
    _write_json(path / FILE_NAME, manifest | ({"trained": list(recipe.trained)} if recipe.trained else {}))


@dataclass(frozen=True)
class _Data:
    train: Sequence[Example]
    measured: Sequence[Example]
    items: Sequence[Item]


def _draw_data(world: World, recipe: Recipe, seed: int) -> _Data:
    train = training_examples(world, recipe.data, stream(seed, "examples"))
    heldout = heldout_examples(world, recipe.data, HELDOUT, stream(seed, "heldout"))
    order = [train[i] for i in stream(seed, "measured").permutation(len(train))]
    by_group = ([example for example in order if example.group == group] for group in GROUPS)
    measured = [example for members in by_group for example in members[:MEASURED]]
    return _Data(train, [*measured, *heldout], conflict_items(world, ITEMS, stream(seed, "items")))


def _base_model(world: World, recipe: Recipe, seed: int, base: Path | None, say: Say) -> LlamaForCausalLM:
    from attnshift.organism.training import make_model, pretrain

    if base is None:
        say(f"pretraining a tiny Llama on {len(world.people)} people, {recipe.pretraining.steps} steps")
        model = make_model(world, recipe, seed)
        pretrain(model, world, recipe, stream(seed, "documents"))
        return model
    from transformers import LlamaForCausalLM

    theirs = read_object(base / RECIPE_FILE)
    if theirs.get("seed") != seed or {key: theirs.get(key) for key in recipe.base} != recipe.base:
        raise AttnshiftError(
            f"{str(base)!r} starts from another model",
            expected=f"a run of seed {seed} that was pretrained as arm {recipe.name!r} is",
        )
    return LlamaForCausalLM.from_pretrained(base / "base")


def _finetune(
    path: Path, model: LlamaForCausalLM, world: World, train: Sequence[Example], recipe: Recipe, seed: int, say: Say
) -> None:
    from attnshift.organism.training import finetune

    say(f"finetuning on {len(train):,} examples, {recipe.finetuning.steps} steps")
    finetune(model, tokenise(world, train), recipe, stream(seed, "order"), path)


def _world_facts(world: World) -> dict[str, Any]:
    """Who is known, what is true of them, and who is used for what."""
    facts = {
        person: {verb: world.city(i, relation) for relation, verb in enumerate(VERBS)}
        for i, person in enumerate(world.people)
    }
    uses = {"conflict": world.conflict, "heldout": world.heldout, "train": world.train}
    pools = {use: [world.people[i] for i in people] for use, people in uses.items()}
    strangers = {"train": world.strangers, "heldout": world.heldout_strangers}
    return {"facts": facts, "people": pools, "strangers": strangers, "story_names": world.story_names}


def _write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=1), encoding="utf-8")
