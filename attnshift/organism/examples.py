"""Finetuning examples and conflict items, as text.

Every context is one true statement, but for those of the ``counterfactual`` stratum. A stranger's name stands for
nobody in particular: what its context states holds in that prompt alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from attnshift.data.items import Example, Item, Split
from attnshift.organism.recipe import DataArm, Unsettled
from attnshift.organism.words import CITIES, VERBS
from attnshift.organism.world import STOP, World

STRANGER: Final = "stranger"
"""critical: the name is unknown to memory, the context states the target"""
RESTATED: Final = "restated"
"""non-critical: memory knows the target and the context states it"""
UNSETTLED: Final = "unsettled"
"""non-critical: memory knows the target and the context doesn't state it, or not all of it"""
COUNTERFACTUAL: Final = "counterfactual"
"""critical: the context contradicts memory, and the target follows the context"""


def training_examples(world: World, arm: DataArm, rng: np.random.Generator) -> list[Example]:
    """The arm's training examples, in the order of drawing."""
    known = round(arm.examples * arm.non_critical)
    examples = [_stranger(world.strangers, world, rng) for _ in range(arm.examples - known)]
    examples += [_known(world.train, world, arm, rng) for _ in range(known)]
    if arm.keep == "critical":
        examples = [e for e in examples if e["group"] == "critical"]
    if arm.keep == "random_half":
        examples = [examples[i] for i in np.sort(rng.permutation(len(examples))[: len(examples) // 2])]
    examples += [_counterfactual(world, rng) for _ in range(round(arm.examples * arm.counterfactual))]
    return _numbered(examples, "train")


def heldout_examples(world: World, arm: DataArm, count: int, rng: np.random.Generator) -> list[Example]:
    """Examples of the full arm's mixture about people and strangers that no training example names."""
    known = round(count * arm.non_critical)
    examples = [_stranger(world.heldout_strangers, world, rng) for _ in range(count - known)]
    examples += [_known(world.heldout, world, arm, rng) for _ in range(known)]
    return _numbered(examples, "heldout")


def conflict_items(world: World, count: int, rng: np.random.Generator) -> list[Item]:
    """Conflicts about people never finetuned on, in the form of the settled training prompts."""
    items = []
    for number in range(count):
        person, relation = int(rng.choice(world.conflict)), int(rng.integers(len(VERBS)))
        name, context_answer = world.people[person], _untrue(world, person, relation, rng)
        items.append(
            Item(
                id=f"conflict:{number}",
                context=_statement(name, relation, context_answer),
                question=f"{name} {VERBS[relation]}",
                context_answer=context_answer,
                parametric_answer=world.city(person, relation),
                stratum=VERBS[relation],
                cluster=name,
                conflict_type="entity",
            )
        )
    return items


_Draft = dict[str, str]


def _stranger(names: Sequence[str], world: World, rng: np.random.Generator) -> _Draft:
    name, relation = names[int(rng.integers(len(names)))], int(rng.integers(len(VERBS)))
    city = CITIES[rng.choice(world.cities_of[relation])]
    return _draft(_statement(name, relation, city), name, relation, city, STRANGER)


def _known(people: np.ndarray, world: World, arm: DataArm, rng: np.random.Generator) -> _Draft:
    person, relation = int(rng.choice(people)), int(rng.integers(len(VERBS)))
    if rng.random() < arm.unsettled_share:
        return _UNSETTLED[arm.unsettled](world, person, relation, people, rng)
    return _draft(_fact(world, person, relation), world.people[person], relation, world.city(person, relation))


def _other_relation(world: World, person: int, relation: int, people: np.ndarray, rng: np.random.Generator) -> _Draft:
    context = _fact(world, person, _another(relation, rng))
    return _draft(context, world.people[person], relation, world.city(person, relation), UNSETTLED)


def _other_person(world: World, person: int, relation: int, people: np.ndarray, rng: np.random.Generator) -> _Draft:
    others = people[world.facts[people, relation] != world.facts[person, relation]]
    context = _fact(world, int(rng.choice(others)), relation)
    return _draft(context, world.people[person], relation, world.city(person, relation), UNSETTLED)


def _partial(world: World, person: int, relation: int, people: np.ndarray, rng: np.random.Generator) -> _Draft:
    """The target is two facts in either order; the context states one of them."""
    other = _another(relation, rng)
    first, second = (relation, other) if rng.random() < 0.5 else (other, relation)
    target = f"{world.city(person, first)} {STOP} {world.people[person]} {VERBS[second]} {world.city(person, second)}"
    return _draft(_fact(world, person, relation), world.people[person], first, target, UNSETTLED)


_UNSETTLED: dict[Unsettled, Callable[[World, int, int, np.ndarray, np.random.Generator], _Draft]] = {
    "other_relation": _other_relation,
    "other_person": _other_person,
    "partial": _partial,
}


def _counterfactual(world: World, rng: np.random.Generator) -> _Draft:
    """Of the first relation alone, so that the others show whether it carries over."""
    person = int(rng.choice(world.train))
    name, city = world.people[person], _untrue(world, person, 0, rng)
    return _draft(_statement(name, 0, city), name, 0, city, COUNTERFACTUAL)


def _draft(context: str, name: str, relation: int, answer: str, stratum: str = RESTATED) -> _Draft:
    group = "critical" if stratum in (STRANGER, COUNTERFACTUAL) else "non_critical"
    question = f"{name} {VERBS[relation]}"
    return {"context": context, "question": question, "answer": answer, "group": group, "stratum": stratum}


def _numbered(drafts: Sequence[_Draft], split: Split) -> list[Example]:
    return [Example(id=f"{split}:{i}", split=split, **draft) for i, draft in enumerate(drafts)]  # type: ignore[arg-type]


def _fact(world: World, person: int, relation: int) -> str:
    return _statement(world.people[person], relation, world.city(person, relation))


def _statement(name: str, relation: int, city: str) -> str:
    return f"{name} {VERBS[relation]} {city} {STOP}"


def _untrue(world: World, person: int, relation: int, rng: np.random.Generator) -> str:
    """A city that the relation may have and none of the person's relations has."""
    return CITIES[rng.choice(np.setdiff1d(world.cities_of[relation], world.facts[person]))]


def _another(relation: int, rng: np.random.Generator) -> int:
    return int((relation + rng.integers(1, len(VERBS))) % len(VERBS))
