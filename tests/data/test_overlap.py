"""Examples that name the evaluation's entities go, with the name that was found; all others stay in their order."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attnshift.data.formats import load_examples, load_items
from attnshift.data.items import Example, Item
from attnshift.data.mentions import Text, as_name, mentions
from attnshift.data.overlap import SOURCES, entities, lower_case_words, remove_overlap
from attnshift.data.shipped import CAPITALS, PROBES
from attnshift.errors import AttnshiftError


def item(number=0, question="What is the capital of Norway?", context_answer="Bergen", **more):
    return Item(
        id=f"i{number}",
        context="It moved.",
        question=question,
        context_answer=context_answer,
        **{"parametric_answer": "Oslo"} | more,
    )


def example(text, number=0, question="q", answer="a"):
    return Example(id=f"e{number}", context=text, question=question, answer=answer)


@pytest.mark.parametrize(
    ("text", "name", "source"),
    [
        ("Fjords of Norway.", "Norway", "question"),
        ("NORWAY'S fjords", "NORWAY", "question"),
        ("He left bergen.", "bergen", "context_answer"),
        ("Osló", "Osló", "parametric_answer"),
        ("Kristiania grew", "Kristiania", "parametric_answer"),
    ],
)
def test_a_name_is_reason_to_go(text, name, source):
    overlap = remove_overlap([example(text)], [item(parametric_aliases=("Kristiania",))])
    assert overlap.kept == ()
    (mention,) = overlap.dropped[0].mentions
    assert (mention.found, mention.source, mention.items) == (name, source, ("i0",))
    assert name in overlap.dropped[0].reason
    assert "i0" in overlap.dropped[0].reason


@pytest.mark.parametrize("text", ["Norwegian fjords", "Bergenfield", "What is the capital?", "of the", ""])
def test_parts_of_words_and_ordinary_words_are_not(text):
    assert remove_overlap([example(text)], [item()]).dropped == ()


def test_question_and_answer_are_searched_too():
    rows = [example("", 0, question="Where is Norway?"), example("", 1, answer="Oslo, it was"), example("", 2)]
    kept, dropped = remove_overlap(rows, [item()])
    assert [e.id for e in kept] == ["e2"]
    assert [d.id for d in dropped] == ["e0", "e1"]


def test_further_text_of_a_row_is_searched_where_it_is_given():
    rows = [example("", 0), example("Oslo", 1)]
    kept, _ = remove_overlap(rows, [item()], texts=["a later turn names Bergen", "nothing"])
    assert [e.id for e in kept] == ["e1"]


def test_sources_can_be_chosen():
    rows = [example("Norway", 0), example("Bergen", 1), example("Oslo", 2)]
    for source, gone in zip(SOURCES, ("e0", "e1", "e2"), strict=True):
        assert [d.id for d in remove_overlap(rows, [item()], [source]).dropped] == [gone]
    with pytest.raises(AttnshiftError, match="titles"):
        remove_overlap(rows, [item()], ["titles"])


def test_a_name_of_many_items_is_told_once():
    items = [item(i) for i in range(3)]
    (dropped,) = remove_overlap([example("Oslo and Oslo")], items).dropped
    assert dropped.mentions[0].items == ("i0", "i1", "i2")
    assert len(dropped.mentions) == 1
    assert "2 more items" in dropped.reason


@pytest.mark.parametrize(
    ("question", "names"),
    [
        ("What is the capital of Algeria?", ("Algeria",)),
        ("Which city is Angola's capital?", ("Angola",)),
        ("Is Cape Verde large?", ("Cape Verde",)),
        ("Name the capital of the Democratic Republic of the Congo.", ("Democratic Republic of the Congo",)),
        ("What did Ludwig van Beethoven see in the Bank of England?", ("Ludwig van Beethoven", "Bank of England")),
        ("Talette fled", ("Talette",)),
        ("When did Apollo 11 land?", ("Apollo 11",)),
        ("Where was O'Brien-Hale born?", ("O'Brien-Hale",)),
        ("Where am I?", ()),
        ("what is it? Tell me.", ()),
    ],
)
def test_entities(question, names):
    assert entities(question) == names


def test_a_first_word_that_is_ordinary_elsewhere_is_none():
    assert entities("Bridges of Bergen", frozenset({"bridges"})) == ("Bergen",)
    assert entities("Bridges of Bergen") == ("Bridges of Bergen",)


def test_the_shipped_sets():
    """Brute force: every name of every item in every example, one search each."""
    items, examples = load_items(CAPITALS), load_examples(PROBES)
    kept, dropped = remove_overlap(examples, items)
    ordinary = lower_case_words([text for i in items for text in (i.context, i.question)])
    both = [
        a for i in items for a in (i.context_answer, *i.context_aliases, i.parametric_answer, *i.parametric_aliases)
    ]
    names = [as_name(n) for n in {*both, *(n for i in items for n in entities(i.question, ordinary))}]
    texts = [Text(f"{e.context}\n\n{e.question}\n\n{e.answer}") for e in examples]
    naming = [e.id for e, text in zip(examples, texts, strict=True) if any(map(text.mentions, names))]
    assert [d.id for d in dropped] == naming
    assert sorted([e.id for e in kept] + naming) == sorted(e.id for e in examples)
    assert 0 < len(naming) < len(examples) / 2


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.lists(st.sampled_from(["Oslo", "OSLO", "oslos", "Lima", "of", "Nor", "way"]), max_size=4), max_size=6)
)
def test_what_stays_names_nothing(texts):
    rows = [example(" ".join(text), i) for i, text in enumerate(texts)]
    kept, dropped = remove_overlap(rows, [item()])
    assert {e.id for e in kept} | {d.id for d in dropped} == {e.id for e in rows}
    assert all(not mentions(e.context, "Oslo") for e in kept)
    assert all(mentions(rows[int(d.id[1:])].context, "Oslo") for d in dropped)
