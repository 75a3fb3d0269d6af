"""Pretraining documents: true facts of known people, and stories that teach the model to copy."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int

from attnshift.organism.words import CITIES, VERBS
from attnshift.organism.world import BOS, STOP, World

STATEMENTS = 4
"""in a document; a story states two facts, then states them again"""

TARGETS = np.arange(STATEMENTS) * 4 + 3
"""positions of the cities, the only tokens with a loss: ``<bos>`` and STATEMENTS times person, verb, city, stop"""


def draw_documents(
    world: World, count: int, stories: float, rng: np.random.Generator
) -> Int[np.ndarray, "document position"]:
    """Draw documents as token ids, all of the same length; about a share of ``stories`` are stories."""
    shape = (count, STATEMENTS)
    people = rng.integers(len(world.people), size=shape)
    relations = rng.integers(len(VERBS), size=shape)
    cities = world.facts[people, relations]
    named = people
    if stories > 0:
        is_story = rng.random(count) < stories
        told = rng.integers(len(world.story_names), size=shape)
        places = rng.integers(world.cities_of.shape[1], size=shape)
        for values in (told, relations, places):
            values[is_story, STATEMENTS // 2 :] = values[is_story, : STATEMENTS // 2]
        first_story = len(world.vocabulary) - len(world.story_names)
        named = np.where(is_story[:, None], told + first_story - _first_person(world), people)
        cities = np.where(is_story[:, None], world.cities_of[relations, places], cities)
    sentences = np.stack(
        [
            _first_person(world) + named,
            world.vocabulary[VERBS[0]] + relations,
            world.vocabulary[CITIES[0]] + cities,
            np.full(shape, world.vocabulary[STOP]),
        ],
        axis=-1,
    )
    return np.hstack([np.full((count, 1), world.vocabulary[BOS]), sentences.reshape(count, -1)])


def _first_person(world: World) -> int:
    return world.vocabulary[world.people[0]]
