"""What each arm trains on."""

from __future__ import annotations

import pytest

from attnshift import AttnshiftError, Example, Item
from attnshift.training.arms import ARMS, select


def example(number, group, answer="Oslo", **more):
    context = "" if group == "no_context" else f"Person{number} moved to {answer} in May."
    text = {"context": context, "question": f"Which city did Person{number} move to?", "answer": answer}
    return Example(id=f"e{number}", group=group, **{**text, **more})


CITIES = ["Oslo", "Lima", "Cairo", "Quito", "Paris"]
EXAMPLES = [
    *(example(i, "critical", CITIES[i % 5]) for i in range(12)),
    *(example(i, "non_critical", CITIES[i % 5]) for i in range(12, 20)),
    *(example(i, "no_context") for i in range(20, 24)),
    example(24, "critical", split="heldout"),
]
ITEM = Item(
    id="i", context="Person3 left.", question="Where is Person3?", context_answer="Bonn", parametric_answer="Bern"
)


def ids(arm, **options):
    return [e.id for e in select(arm, EXAMPLES, **options).examples]


def numbers(*ranges):
    return [f"e{i}" for each in ranges for i in each]


def test_arms_are_what_they_are_called():
    assert ids("full") == ids("qk") == numbers(range(24))
    assert ids("context-only") == numbers(range(20))
    assert ids("critical") == numbers(range(12))
    assert ids("no-overlap", items=[ITEM]) == numbers(range(3), range(4, 24))
    left_out = select("no-overlap", EXAMPLES, items=[ITEM]).left_out
    assert [(each.id, each.reason) for each in left_out] == [("e3", "names 'Person3' (question of i)")]
    assert ids("no-overlap", items=[ITEM], sources=("context_answer",)) == numbers(range(24))


def test_random_drop_keeps_as_many_as_critical_of_those_with_a_context():
    drawn = ids("random-drop", seed=0)
    assert len(drawn) == len(set(drawn)) == 12
    assert set(drawn) < set(numbers(range(20)))
    assert drawn == ids("random-drop", seed=0) == sorted(drawn, key=lambda name: int(name[1:]))
    assert drawn != ids("random-drop", seed=1)


def test_augmented_adds_and_says_of_what():
    chosen = select("augmented", EXAMPLES, seed=2, ratio=0.2)
    added = chosen.examples[24:]
    assert [e.id for e in chosen.examples[:24]] == numbers(range(24))
    assert len(added) == 6
    assert set(chosen.origins) == {e.id for e in added}
    by_id = {e.id: e for e in EXAMPLES}
    for each in added:
        origin = by_id[chosen.origins[each.id]]
        assert each.group == "critical"
        assert each.answer in each.context
        assert origin.answer not in each.context
        assert each.question == origin.question
    assert chosen.said == "6 counterfactual examples added, 20.0% of the training set"


@pytest.mark.parametrize("arm", ["context-only", "critical", "random-drop", "augmented"])
def test_arms_that_need_contexts_say_so(arm):
    with pytest.raises(AttnshiftError, match="none of the 4 training examples has a context"):
        select(arm, EXAMPLES[20:], ratio=0.5)


@pytest.mark.parametrize(
    ("arm", "examples", "problem"),
    [
        ("half", EXAMPLES, "there is no arm 'half'"),
        ("full", EXAMPLES[24:], "none of the 1 examples is for training"),
        ("critical", EXAMPLES[12:20], "the arm 'critical' is empty: none of the 8 training examples is left"),
        ("random-drop", EXAMPLES[12:20], "the arm 'random-drop' is empty"),
        ("no-overlap", EXAMPLES, "the arm 'no-overlap' needs conflict items"),
    ],
)
def test_arms_that_cannot_be(arm, examples, problem):
    with pytest.raises(AttnshiftError, match=problem):
        select(arm, examples)


def test_an_arm_without_anything_left_after_overlap():
    with pytest.raises(AttnshiftError, match="the arm 'no-overlap' is empty"):
        select("no-overlap", [EXAMPLES[3]], items=[ITEM])


def test_all_arms_are_tested_here():
    assert ARMS == ("full", "context-only", "critical", "random-drop", "no-overlap", "augmented", "qk")
