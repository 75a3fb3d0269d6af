"""A world: people, what is true of them, and who is used for what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from jaxtyping import Int

from attnshift.organism.recipe import WorldShape
from attnshift.organism.words import CITIES, VERBS, invent_names

BOS: Final = "<bos>"
STOP: Final = "."

HELDOUT_STRANGERS = 0.15


@dataclass(frozen=True)
class World:
    """Facts are (person, relation) to city; each pool of names serves one purpose."""

    people: tuple[str, ...]
    facts: Int[np.ndarray, "person relation"]
    """the city of every person and relation"""
    cities_of: Int[np.ndarray, "relation city"]
    """the cities that a relation may have"""
    conflict: Int[np.ndarray, "*person"]
    """people of the conflict items: never finetuned on"""
    heldout: Int[np.ndarray, "*person"]
    """people of the held-out examples: never finetuned on"""
    train: Int[np.ndarray, "*person"]
    """people that are finetuned on"""
    strangers: tuple[str, ...]
    """names of training examples that pretraining never saw"""
    heldout_strangers: tuple[str, ...]
    story_names: tuple[str, ...]

    @cached_property
    def vocabulary(self) -> dict[str, int]:
        """Every word and its token id."""
        names = (*self.people, *self.strangers, *self.heldout_strangers, *self.story_names)
        return {word: i for i, word in enumerate((BOS, STOP, *VERBS, *CITIES, *names))}

    def city(self, person: int, relation: int) -> str:
        """What is true of a person under a relation."""
        return CITIES[self.facts[person, relation]]

    def ids(self, words: Sequence[str]) -> Int[np.ndarray, "*word"]:
        """Token ids of words."""
        return np.array([self.vocabulary[word] for word in words], np.int64)


def make_world(shape: WorldShape, rng: np.random.Generator) -> World:
    """Draw the names, the facts and who is used for what."""
    count = shape.people + shape.strangers + shape.story_names
    names = invent_names(count, rng)
    people, rest = names[: shape.people], names[shape.people :]
    strangers, story_names = rest[: shape.strangers], rest[shape.strangers :]
    cities = np.arange(len(CITIES))
    if shape.typed:
        cities_of = cities.reshape(len(VERBS), -1)
        facts = np.stack([rng.choice(own, shape.people) for own in cities_of], axis=1)
    else:
        cities_of = np.broadcast_to(cities, (len(VERBS), len(cities)))
        facts = np.stack([rng.permutation(cities)[: len(VERBS)] for _ in people])
    order = rng.permutation(shape.people)
    conflict, heldout, train = np.split(order, [shape.people // 4, shape.people // 4 + shape.people // 8])
    seen = round(len(strangers) * (1 - HELDOUT_STRANGERS))
    return World(
        people=tuple(people),
        facts=facts,
        cities_of=cities_of,
        conflict=conflict,
        heldout=heldout,
        train=train,
        strangers=tuple(strangers[:seen]),
        heldout_strangers=tuple(strangers[seen:]),
        story_names=tuple(story_names),
    )
