"""The world and what is written about it: honest by construction, and here by test."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_organism import TINY

from attnshift import AttnshiftError
from attnshift.organism.documents import STATEMENTS, TARGETS, draw_documents
from attnshift.organism.examples import (
    COUNTERFACTUAL,
    RESTATED,
    STRANGER,
    UNSETTLED,
    conflict_items,
    heldout_examples,
    training_examples,
)
from attnshift.organism.recipe import ARMS, WorldShape, find_arm
from attnshift.organism.words import CITIES, VERBS, invent_names
from attnshift.organism.world import BOS, STOP, make_world

SHAPES = [TINY.world, replace(TINY.world, typed=True), WorldShape(people=300, strangers=4000)]


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def statements(text: str) -> list[tuple[str, str, str]]:
    """Every (person, verb, city) in a text, read off its words."""
    words = text.split()
    return [tuple(words[i : i + 3]) for i in range(len(words) - 2) if words[i + 1] in VERBS and words[i + 2] in CITIES]


def truth(world) -> dict[tuple[str, str], str]:
    return {(p, v): world.city(i, r) for i, p in enumerate(world.people) for r, v in enumerate(VERBS)}


@pytest.fixture(params=SHAPES, ids=["shared", "typed", "large"])
def world(request):
    return make_world(request.param, rng(1))


@pytest.fixture(params=[arm for arm in ARMS if arm != "augmented"])
def honest(request):
    """An arm with its world; small enough to be read whole."""
    recipe = ARMS[request.param]
    return make_world(recipe.world, rng(2)), replace(recipe.data, examples=4000)


def test_names_are_words_of_their_own(world):
    words = list(world.vocabulary)
    assert len(set(words)) == len(words)
    assert all(word == word.strip() and " " not in word for word in words)
    assert words[:2] == [BOS, STOP]
    assert sorted(world.vocabulary.values()) == list(range(len(words)))
    with_none = set(invent_names(4000, rng())) & {*CITIES, *VERBS}
    assert not with_none
    assert len(CITIES) == len(set(CITIES)) == 60


def test_pools_share_nobody(world):
    pools = [set(pool.tolist()) for pool in (world.conflict, world.heldout, world.train)]
    assert sum(map(len, pools)) == len(set.union(*pools)) == len(world.people)
    assert len(pools[0]) == len(world.people) // 4
    assert len(pools[1]) == len(world.people) // 8
    assert not set(world.strangers) & set(world.heldout_strangers)


def test_cities_of_one_person_differ_or_belong_to_the_relation():
    shared, typed = (make_world(shape, rng(3)) for shape in SHAPES[:2])
    assert all(len(set(facts)) == len(VERBS) for facts in shared.facts.tolist())
    for relation in range(len(VERBS)):
        assert set(typed.facts[:, relation]) <= set(typed.cities_of[relation].tolist())
    assert len(np.unique(typed.cities_of)) == len(CITIES)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**31))
def test_a_seed_is_a_world(seed):
    a, b, other = (make_world(TINY.world, rng(s)) for s in (seed, seed, seed + 1))
    assert a.vocabulary == b.vocabulary
    np.testing.assert_array_equal(a.facts, b.facts)
    assert a.people != other.people


def test_documents_state_facts_and_stories_restate(world):
    documents = draw_documents(world, 2000, 0.2, rng(4))
    words = np.array(list(world.vocabulary))[documents]
    known, told = truth(world), 0
    for row in words:
        said = statements(" ".join(row[1:]))
        assert row[0] == BOS
        assert len(said) == STATEMENTS
        if said[0][0] in world.story_names:
            told += 1
            assert said[: STATEMENTS // 2] == said[STATEMENTS // 2 :]
            assert all(city in np.array(CITIES)[world.cities_of[VERBS.index(verb)]] for _, verb, city in said)
        else:
            assert all(known[person, verb] == city for person, verb, city in said)
    assert 0.17 < told / len(words) < 0.23
    assert np.isin(words[:, TARGETS], CITIES).all()
    assert not np.isin(words[:, TARGETS - 1], CITIES).any()


def test_without_stories_there_are_none(world):
    documents = draw_documents(world, 200, 0.0, rng(5))
    assert documents.max() <= world.vocabulary[world.people[-1]]


def test_no_training_prompt_states_a_false_fact(honest):
    world, arm = honest
    known = truth(world)
    for example in training_examples(world, arm, rng(6)):
        for person, verb, city in statements(f"{example.context} {example.question} {example.answer}"):
            assert known.get((person, verb), city) == city


def test_evaluation_subjects_never_occur_in_training(honest):
    world, arm = honest
    words = {w for e in training_examples(world, arm, rng(7)) for w in f"{e.context} {e.question} {e.answer}".split()}
    held = {world.people[i] for i in (*world.conflict, *world.heldout)}
    assert not words & (held | set(world.heldout_strangers) | set(world.story_names))
    items = conflict_items(world, 200, rng(8))
    assert {i.question.split()[0] for i in items} <= {world.people[i] for i in world.conflict}
    heldout = {e.question.split()[0] for e in heldout_examples(world, arm, 200, rng(9))}
    assert heldout <= {world.people[i] for i in world.heldout} | set(world.heldout_strangers)


def test_strata_are_what_they_say(honest):
    world, arm = honest
    for example in training_examples(world, arm, rng(10)):
        answer = [word for word in example.answer.split() if word in CITIES]
        name = example.question.split()[0]
        settled = set(answer) <= set(example.context.split())
        assert settled == (example.stratum != UNSETTLED), example
        assert (name in world.people) == (example.stratum in (RESTATED, UNSETTLED))
        assert example.group == ("critical" if example.stratum == STRANGER else "non_critical")
        assert example.split == "train"
        on_topic = example.context.startswith(name)
        assert on_topic or arm.unsettled == "other_person"


def test_shares_are_as_the_arm_says():
    for recipe in ARMS.values():
        arm = replace(recipe.data, examples=4000)
        world = make_world(replace(TINY.world, typed=recipe.world.typed), rng(11))
        found = Counter(e.stratum for e in training_examples(world, arm, rng(12)))
        kept = {"all": 1, "random_half": 0.5, "critical": 1}[arm.keep]
        assert found[STRANGER] == pytest.approx(4000 * (1 - arm.non_critical) * kept, rel=0.06)
        known = found[RESTATED] + found[UNSETTLED]
        assert known == pytest.approx(0 if arm.keep == "critical" else 4000 * arm.non_critical * kept, rel=0.06)
        assert found[UNSETTLED] == pytest.approx(known * arm.unsettled_share, abs=35)
        assert found[COUNTERFACTUAL] == 4000 * arm.counterfactual
    assert {arm.data.unsettled_share for arm in ARMS.values()} == {0.05, 0.0, 0.025, 0.03}


def test_augmentation_contradicts_memory_in_one_relation_alone():
    world = make_world(TINY.world, rng(13))
    arm = replace(ARMS["augmented"].data, examples=1000)
    known, trained = truth(world), {world.people[i] for i in world.train}
    examples = [e for e in training_examples(world, arm, rng(14)) if e.stratum == COUNTERFACTUAL]
    assert len(examples) == 100
    for example in examples:
        ((person, verb, city),) = statements(example.context)
        assert person in trained
        assert verb == VERBS[0]
        assert city == example.answer != known[person, verb]
        assert example.group == "critical"


def test_conflicts_have_the_form_of_settled_prompts(world):
    known = truth(world)
    for item in conflict_items(world, 300, rng(15)):
        name, verb = item.question.split()
        assert item.context == f"{name} {verb} {item.context_answer} {STOP}"
        assert item.parametric_answer == known[name, verb]
        assert item.context_answer not in {known[name, v] for v in VERBS}
        assert (item.stratum, item.cluster) == (verb, name)


def test_saved_steps_are_log_spaced_and_end_at_the_last():
    for recipe in (*ARMS.values(), TINY):
        steps = recipe.saved_steps
        assert steps[-1] == recipe.finetuning.steps
        assert len(steps) == recipe.checkpoints
        ratios = np.diff(np.log(steps))
        assert ratios.max() < 1.3 * ratios.min() + 0.05
    rates = [TINY.finetuning.rate(step) for step in range(1, 21)]
    assert rates[1] == pytest.approx(1.5e-3, rel=0.02)
    assert rates[-1] < 0.05 * 1.5e-3


def test_an_unknown_arm_is_named_with_those_there_are():
    with pytest.raises(AttnshiftError, match=r"'fulll'.*\n.*full, critical, settled"):
        find_arm("fulll")
