"""Counterfactual examples name the new answer wherever they named the old one; what can't be coherent is refused."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attnshift.data.aliases import aliases_of
from attnshift.data.augment import NO_SUBSTITUTE, STRATUM, augment
from attnshift.data.formats import load_examples, load_items
from attnshift.data.items import Example
from attnshift.data.kinds import AnswerType, RefusedError, answer_type
from attnshift.data.mentions import mentions
from attnshift.data.shipped import CAPITALS, PROBES
from attnshift.data.substitution import find_slot, substitute
from attnshift.errors import AttnshiftError


def example(context, answer, question="Which city is it?", number=0, **more):
    return Example(id=f"e{number}", context=context, question=question, answer=answer, **more)


def exchanged(context, old, new, question="Which city is it?"):
    made = substitute(find_slot(example(context, old, question)), new)
    return None if made is None else made.context


@pytest.mark.parametrize(
    ("context", "old", "new", "question", "expected"),
    [
        ("OSLO! Oslo's port, Oslo.", "Oslo", "Lima", "Which city?", "LIMA! Lima's port, Lima."),
        ("oslo-based firms, and Oslo.", "Oslo", "Lima", "Which city?", "lima-based firms, and Lima."),
        ("In Orléans (ORLEANS) it rained.", "Orléans", "Lima", "Which city?", "In Lima (LIMA) it rained."),
        ("New\nYork grew.", "New York", "Lima", "Which city?", "Lima grew."),
        ("He saw the Bastille.", "the Bastille", "the Louvre", "What is it?", "He saw the Louvre."),
        ("Ada Vance. Vance's maps, Ada!", "Ada Vance", "Max Holt", "Who wrote?", "Max Holt. Holt's maps, Max!"),
        ("Dr Ada Vance; Dr Vance slept.", "Dr Ada Vance", "Max Holt", "Who wrote?", "Max Holt; Holt slept."),
        ("Ada Vance wrote; Vance slept.", "Ada Vance", "Plato", "Who wrote?", "Plato wrote; Plato slept."),
        ("Ann van Dyk ran. Van Dyk won.", "Ann van Dyk", "Max Holt", "Who ran?", "Max Holt ran. Holt won."),
        ("Max Jones, the Jones' dog.", "Max Jones", "Ada Vance", "Who won?", "Ada Vance, the Vance's dog."),
        ("Hull University (HU) opened.", "Hull University", "Red Bank", "Which university?", "Red Bank (RB) opened."),
        ("It has 12 doors.", "12", "31", "How many doors?", "It has 31 doors."),
        ("Born in 1920, wed in 1950.", "1950", "1941", "When did they wed?", "Born in 1920, wed in 1941."),
        ("Born in 1920, wed in 1950.", "1950", "1911", "When did they wed?", None),
        ("He ate an apple.", "apple", "pear", "Which fruit?", None),
        ("He ate an apple.", "apple", "orange", "Which fruit?", "He ate an orange."),
        ("From Oslo to Lima.", "Oslo", "Lima", "Which city?", None),
        ("He left Oslo.", "Oslo", "Oslo Bay", "Which city?", None),
        ("He left Oslo.", "Oslo", "Lima", "Which city, not Lima?", None),
    ],
)  # fmt: skip
def test_exchanged_everywhere(context, old, new, question, expected):
    assert exchanged(context, old, new, question) == expected


@pytest.mark.parametrize(
    ("context", "answer", "question", "reason"),
    [
        ("", "Oslo", "Which city?", "no context"),
        ("He left Bergen.", "Oslo", "Which city?", "not in its context"),
        ("Romania is large.", "Oman", "Which country?", "not in its context"),
        ("He left Oslo.", "Oslo", "Is Oslo large?", "in its question"),
        ("Yes, he did.", "Yes", "Did he?", "yes or no"),
        ("He saw Ada and Max.", "Ada and Max", "Who was seen?", "list or a clause"),
        ("He went there because it was cold.", "because it was cold", "Why?", "list or a clause"),
        ("They sat inside the hut.", "inside the hut", "Where?", "list or a clause"),
        ("Oslo University is in Oslo.", "Oslo", "Which city?", "longer name"),
        ("New Cairo is not Cairo.", "Cairo", "Which city?", "longer name"),
        ("The University of Oslo is there, in Oslo.", "Oslo", "Which city?", "longer name"),
        ("J. Osk came. Osk!", "Osk", "Who came?", "longer name"),
        ("Ann Osk-Vay came.", "Ann Osk", "Who came?", "longer name"),
        ("Apollo 11 is an Apollo.", "Apollo", "What is the name?", "longer name"),
        ("A red door. The Red Heron sank; the red Heron rose.", "red", "Which colour?", "longer name"),
        ("Ada Vance came. Ben Vance left.", "Ada Vance", "Who came?", "longer name"),
        ("They climbed Mount Everest. Everest is high.", "Mount Everest", "Which mountain?", "part of its answer"),
        ("It has twelve doors.", "12", "How many doors?", "not in its context"),
        ("In Brazil the Brazilians swim.", "Brazil", "Which country?", "derived"),
        ("He ate turkey in Turkey.", "Turkey", "Which country?", "ordinary word"),
        ("Ada has 3 cats and 4 dogs, 7 pets.", "7", "How many pets?", "depends on others"),
        ("Ada has 9 cats in total.", "9", "How many cats?", "depends on others"),
        ("9 cats and 9 dogs.", "9", "How many cats?", "several places"),
        ("Ada left in 1950, two years later.", "1950", "When?", "depends on others"),
        ("Ada Vance came. He saw her.", "Ada Vance", "Who came?", "pronouns"),
        ("She found a fox.", "a fox", "Where did she look and find?", "what sort of thing"),
        ("B is right.", "B", "Which one?", "single letter"),
    ],
)
def test_refused(context, answer, question, reason):
    with pytest.raises(RefusedError, match=reason):
        find_slot(example(context, answer, question))


def test_what_its_row_says_elsewhere_counts():
    with pytest.raises(RefusedError, match="elsewhere in its row"):
        find_slot(example("He left Oslo.", "Oslo"), "OSLO, a title")


@pytest.mark.parametrize(
    ("answer", "question", "kind"),
    [
        ("1969", "When?", AnswerType("date", "year")),
        ("12 May 1999", "When?", AnswerType("date", "day month year")),
        ("Monday", "When?", AnswerType("date", "weekday")),
        ("10:30", "When?", AnswerType("date", "clock")),
        ("37", "How many?", AnswerType("number", "integer of 2")),
        ("22.9", "How much?", AnswerType("number", "decimal of 2")),
        ("$5", "How much?", AnswerType("number", "integer of 1 $")),
        ("fifty-one", "How many?", AnswerType("number", "word")),
        ("14 crates", "How many?", AnswerType("number", "integer of 2 crates")),
        ("Lady Severine", "What did he see?", AnswerType("person", "female")),
        ("Ada Vance", "Who wrote it?", AnswerType("person")),
        ("Ada Vance", "Which author wrote it?", AnswerType("person")),
        ("Oslo", "Where is it?", AnswerType("place")),
        ("Oslo", "What is the capital of Norway?", AnswerType("place", "city")),
        ("Norway", "In which country is Oslo?", AnswerType("place", "country")),
        ("Hull University", "Where?", AnswerType("organisation")),
        ("Acme", "Which company built it?", AnswerType("organisation")),
        ("K-377", "Which code?", AnswerType("other", "code A-9")),
        ("Oslo", "Fador fled", AnswerType("other", "name")),
    ],
)
def test_types(answer, question, kind):
    assert answer_type(answer, question) == kind


def towns(count, **more):
    names = ["Oslo", "Lima", "Quito", "Accra", "Minsk", "Tunis", "Dakar", "Hanoi", "Paris", "Delhi"]
    rows = [
        example(f"Ann{i} left {names[i % 10]}.", names[i % 10], f"Which city did Ann{i} leave?", i)
        for i in range(count)
    ]
    return [replace(row, **more) for row in rows]


def test_the_ratio_is_a_part_of_the_result():
    for ratio, count in ((0.0, 0), (0.01, 1), (0.1, 10), (0.2, 23), (0.5, 90)):
        made = augment(towns(90), ratio)
        assert len(made.counterfactuals) == made.wanted == count
        assert made.ratio == pytest.approx(ratio, abs=0.006)


def test_where_new_ones_come_from_is_kept():
    rows = towns(40)
    for each in augment(rows, 0.3, seed=3).counterfactuals:
        origin, new = rows[each.position], each.example
        assert (each.origin, each.old_answer, each.seed, each.kind) == (origin.id, origin.answer, 3, "place")
        assert (new.group, new.stratum, new.split, new.question) == ("critical", STRATUM, "train", origin.question)
        assert new.answer == each.new_answer != each.old_answer
        assert new.context == origin.context.replace(each.old_answer, each.new_answer)


def test_the_same_seed_makes_the_same_and_more_of_it():
    rows = towns(60)
    made = augment(rows, 0.3, seed=1)
    assert augment(rows, 0.3, seed=1) == made
    assert augment(rows, 0.3, seed=2).examples != made.examples
    assert set(augment(rows, 0.1, seed=1).examples) <= set(made.examples)


def test_each_serves_once_before_one_serves_twice():
    made = augment(towns(10), 0.75)
    assert len(made.counterfactuals) == 30
    assert len({(e.position, e.new_answer) for e in made.counterfactuals}) == 30
    assert len({e.example.id for e in made.counterfactuals}) == 30
    assert sorted(e.position for e in made.counterfactuals) == sorted([*range(10)] * 3)
    assert len(augment(towns(10), 0.95).counterfactuals) == 90  # every other city, of the 190 that were wanted


def test_held_out_examples_neither_change_nor_serve():
    rows = [*towns(9), replace(example("He left Cusco.", "Cusco", number=99), split="heldout")]
    made = augment(rows, 0.8)
    assert "Cusco" not in {name for e in made.counterfactuals for name in (e.old_answer, e.new_answer)}
    assert made.training == 9


def test_answers_can_be_given():
    rows = [example("Ann left Oslo.", "Oslo")]
    assert augment(rows, 0.5, answers=["place: Lima"]).examples[0].context == "Ann left Lima."
    with pytest.raises(AttnshiftError, match=NO_SUBSTITUTE):
        augment(rows, 0.5, answers=["number: 12"])
    with pytest.raises(AttnshiftError, match="yes"):
        augment(rows, 0.5, answers=["yes"])


@pytest.mark.parametrize("ratio", [-0.1, 1.0, 2.0, float("nan")])
def test_bad_ratios(ratio):
    with pytest.raises(AttnshiftError, match="ratio"):
        augment(towns(3), ratio)


def test_nothing_to_exchange():
    with pytest.raises(AttnshiftError, match="none of the 2 training examples has a context"):
        augment([example("", "Oslo", number=i) for i in range(2)], 0.5)
    with pytest.raises(AttnshiftError, match="not in its context"):
        augment([example("He left.", "Oslo")], 0.5)


def capitals():
    """The conflict items as training examples."""
    return [
        Example(id=i.id, context=i.context, question=i.question, answer=i.context_answer) for i in load_items(CAPITALS)
    ]


@pytest.mark.parametrize("rows", [load_examples(PROBES), capitals()], ids=["probes", "capitals"])
def test_nothing_of_the_old_answer_is_left_in_the_shipped_sets(rows):
    made = augment(rows, 0.6).counterfactuals
    assert len({e.position for e in made}) >= 30
    for each in made:
        _names_the_new_alone(each.example, each.old_answer, each.new_answer, rows[each.position].question)


def _names_the_new_alone(new, old_answer, new_answer, question):
    kind = answer_type(old_answer, question)
    for alias in aliases_of(old_answer, kind):
        if alias.part != "acronym":
            assert not mentions(new.context, alias.text), (new.id, alias)
        assert alias.part == "acronym" or not mentions(new.answer, alias.text)
    assert new_answer in new.answer
    assert any(mentions(new.context, alias.text) for alias in aliases_of(new_answer, kind))


NAMES = [
    "Oslo",
    "New York",
    "Ada Vance",
    "Dr Max Holt",
    "São Tomé",
    "Hull University",
    "the Louvre",
    "O'Brien",
    "Osk-Vay",
]
BETWEEN = [" ", ". ", ", ", "'s ", " and ", "-", "\n", " of ", " (", ") ", ": ", "’ ", " x", "X ", " 1 ", " in ", ".\n"]


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(NAMES),
    st.sampled_from(NAMES),
    st.lists(
        st.tuples(st.sampled_from([*NAMES, "Vance", "Holt", "York", "HU"]), st.sampled_from(BETWEEN), st.integers(0, 3))
    ),
    st.sampled_from(["Who is it?", "Where is it?", "Fador fled", "Which club is it?"]),
)
def test_nothing_of_the_old_answer_is_left_in_made_up_passages(old, new, pieces, question):
    cases = (str, str.upper, str.lower, lambda name: name.split()[-1])
    context = "".join(cases[case](name) + gap for name, gap, case in pieces) or "none"
    try:
        made = substitute(find_slot(Example(id="e", context=context, question=question, answer=old)), new)
    except RefusedError:
        return
    if made is not None:
        _names_the_new_alone(made, old, new, question)
