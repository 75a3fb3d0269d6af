"""Items under control conditions: coherent, or refused with a reason."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import attnshift
from attnshift.data.controls import CONDITIONS, control_items
from attnshift.data.items import Item
from attnshift.data.mentions import mentions, word_set
from attnshift.data.shipped import CAPITALS


def item(number: int = 0, **changes) -> Item:
    fields = {
        "id": f"i{number}",
        "context": "In 2030 the government of Avalon made Graz its capital. Avalon's ministers moved to Graz.",
        "question": "What is the capital of Avalon?",
        "context_answer": "Graz",
        "parametric_answer": "Oran",
    }
    return Item(**(fields | changes))


OTHER = {
    "context": "The river Moll flows past Herat and its mills.",
    "question": "Which city does the river Moll flow past?",
    "context_answer": "Herat",
    "parametric_answer": "Ghent",
}


def controls(*items: Item, seed: int = 0):
    return {each.condition: each for each in control_items(items, seed)}


def test_an_agreeing_context_states_the_parametric_answer():
    made = controls(item(), item(1, **OTHER))["agreeing"].items[0]
    assert made.context == "In 2030 the government of Avalon made Oran its capital. Avalon's ministers moved to Oran."
    assert made.question == item().question
    assert (made.id, made.context_answer, made.parametric_answer) == ("i0", "Graz", "Oran")


def test_a_context_that_names_the_parametric_answer_already_has_no_agreeing_form():
    named = item(context="The government of Avalon left Oran and made Graz its capital.")
    found = controls(named, item(1, **OTHER))["agreeing"]
    assert found.items[0] is None
    assert "is there already" in found.reasons[0]
    assert found.reasons[1] == ""


def test_an_alias_that_would_stay_is_refused():
    named = item(
        context="Avalon made Graz, city of the clock tower, its capital.", context_aliases=("City of the Clock",)
    )
    found = controls(named, item(1, **OTHER))["agreeing"]
    assert found.items[0] is None
    assert "alias" in found.reasons[0]


def test_an_unknown_entity_has_an_invented_name_throughout():
    made = controls(item(), item(1, **OTHER))["unknown_entity"].items[0]
    assert "Avalon" not in made.context + made.question
    name = made.question.removeprefix("What is the capital of ").removesuffix("?")
    assert made.context == item().context.replace("Avalon", name)
    assert name[0] in "AEIOU"  # as Avalon, so that an article before it stays right
    assert name.isalpha()
    assert made.cluster == item().cluster


def test_every_word_of_a_name_is_replaced_wherever_it_stands():
    named = item(
        context="MARIE KOLB was born in Graz. Kolb's father lived there, and Marie grew up there.",
        question="Where was Marie Kolb born?",
    )
    made = controls(named, item(1, **OTHER))["unknown_entity"].items[0]
    first, last = made.question.removeprefix("Where was ").removesuffix(" born?").split()
    assert made.context == (
        f"{first.upper()} {last.upper()} was born in Graz. {last}'s father lived there, and {first} grew up there."
    )


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"question": "What is the capital?"}, "share no name"),
        ({"context": "They made Graz the capital of another country."}, "share no name"),
        ({"context": "Avalon made Graz its capital. Avalonians cheered."}, "derived"),
        ({"context_answer": "Avalon City", "context": "Avalon made Avalon City its capital."}, "part of an answer"),
    ],
)
def test_an_entity_that_cannot_be_renamed_is_refused(changes, reason):
    found = controls(item(**changes), item(1, **OTHER))["unknown_entity"]
    assert found.items[0] is None
    assert reason in found.reasons[0]


def test_an_irrelevant_context_is_another_items_and_names_nothing_of_this_one():
    items = [item(), item(1, **OTHER), item(2, context="Graz is old. Avalon is new.", question="Where is Zell?")]
    made = controls(*items)["irrelevant"].items
    assert made[0].context == OTHER["context"]
    assert made[0].question == items[0].question


def test_without_another_context_there_is_no_irrelevant_one():
    items = [item(), item(1, context="Oran and Graz are far from Herat.", question="Where is Zell?")]
    found = controls(*items)["irrelevant"]
    assert found.items[0] is None
    assert "no other context" in found.reasons[0]


def test_the_conditions_depend_on_the_seed_and_on_no_process():
    program = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import test_controls as t; "
        "print([c.items[0] for c in t.control_items([t.item(), t.item(1, **t.OTHER)])])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300, check=True)
    here = [c.items[0] for c in control_items([item(), item(1, **OTHER)])]
    assert done.stdout.strip() == str(here)
    other = [c.items[0] for c in control_items([item(), item(1, **OTHER)], seed=1)]
    assert other[1] != here[1]


@given(st.integers(0, 10_000))
@settings(max_examples=4, deadline=None)
def test_of_the_shipped_capitals_nothing_is_left_that_would_tell(seed):
    items = attnshift.load_items(CAPITALS)
    found = {each.condition: each for each in control_items(items, seed)}
    assert set(found) == set(CONDITIONS)
    for condition, least in (("agreeing", 100), ("unknown_entity", 100), ("irrelevant", 180)):
        assert sum(each is not None for each in found[condition].items) >= least, condition
    for original, agreeing, unknown, irrelevant in zip(items, *(found[c].items for c in CONDITIONS), strict=True):
        if agreeing is not None:
            assert mentions(agreeing.context, original.parametric_answer)
            assert not mentions(agreeing.context, original.context_answer)
        if unknown is not None:
            assert unknown.context != original.context
            assert mentions(unknown.context, original.context_answer)
            renamed = word_set(original.question) - word_set(unknown.question)
            assert renamed
            assert not renamed & word_set(unknown.context)
        if irrelevant is not None:
            assert not mentions(irrelevant.context, original.context_answer)
            assert not mentions(irrelevant.context, original.parametric_answer)
    assert all(
        bool(why) == (each is None) for c in found.values() for each, why in zip(c.items, c.reasons, strict=True)
    )
