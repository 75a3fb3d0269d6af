"""Answers are found as whole words, and every token has the role of its first character that isn't space."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attnshift.data.roles import (
    ANSWER,
    CONTEXT,
    CONTEXT_ANSWER,
    CONTEXT_ROLES,
    KEY_ROLES,
    PAD,
    PARAMETRIC_ANSWER,
    QUESTION,
    TEMPLATE,
    TOKEN_ROLES,
    character_roles,
    find_answers,
    token_roles,
)
from attnshift.data.templates import Rendered, load_template

PLAIN = load_template("plain", None)


def found(context, context_answers=(), parametric_answers=()):
    """The answers as they stand in the text, in its order."""
    hits = sorted(find_answers(context, context_answers, parametric_answers))
    return [(context[start:end], TOKEN_ROLES[role]) for (start, end), role in hits]


def test_role_names():
    assert TOKEN_ROLES[PAD] == "pad"
    assert set(KEY_ROLES) == set(TOKEN_ROLES) - {"pad"} | {"sink"}
    assert {TOKEN_ROLES.index(role) for role in CONTEXT_ROLES} == {CONTEXT, CONTEXT_ANSWER, PARAMETRIC_ANSWER}


@pytest.mark.parametrize(
    ("context", "answer", "hits"),
    [
        ("Herat, not Kabul. HERAT! Herat", "Herat", ["Herat", "Herat"]),
        ("HERAT, herat", "Herat", ["HERAT", "herat"]),  # in any case where the spelling doesn't occur
        ("Romania is not Oman, nor Omani", "Oman", ["Oman"]),
        ("Romania, Omani", "Oman", []),
        ("They told us: the US won.", "US", ["US"]),
        ("They told us so.", "US", ["us"]),
        ("New\n  York and New York and NewYork", "New York", ["New\n  York", "New York"]),
        ("New York", " New \t York ", ["New York"]),
        ("pre_Oran Oran2 Oran-based (Oran) Oran's", "Oran", ["Oran", "Oran", "Oran"]),
        ("São Tomé, Tomés", "Tomé", ["Tomé"]),
        ("ΑΘΗΝΑ", "Αθηνα", ["ΑΘΗΝΑ"]),
        ("Cafe\u0301 Cafe", "Cafe", ["Cafe"]),  # an accent of its own is part of the word
        ("दिल्ली, दिल", "दिल", ["दिल"]),
        ("It costs $5 (5 dollars), $50", "$5", ["$5"]),
        ("a.c abc", "a.c", ["a.c"]),
        ("C++ and C", "C++", ["C++"]),
        ("anything", "  ", []),
        ("", "Oran", []),
    ],
)
def test_whole_words(context, answer, hits):
    assert found(context, [answer]) == [(hit, "context_answer") for hit in hits]
    assert found(context, (), [answer]) == [(hit, "parametric_answer") for hit in hits]


@pytest.mark.parametrize(
    ("new", "old", "roles"),
    [
        (["New Cairo"], ["Cairo"], [("New Cairo", "context_answer"), ("Cairo", "parametric_answer")]),
        (["Cairo"], ["New Cairo"], [("New Cairo", "parametric_answer"), ("Cairo", "context_answer")]),
        (["Cairo"], ["cairo"], [("Cairo", "context_answer")] * 2),  # a tie is the context's
        (["Luxor", "Cairo"], ["New Cairo", "old"], [("New Cairo", "parametric_answer"), ("Cairo", "context_answer")]),
    ],
)
def test_the_longer_wins_then_the_context(new, old, roles):
    assert found("From New Cairo to Cairo.", new, old) == roles


def test_overlapping_answers_of_one_length():
    """The context's is kept whole, whichever comes first; of the other nothing is left."""
    assert found("a b c", ["b c"], ["a b"]) == [("b c", "context_answer")]
    assert found("a b c", ["a b"], ["b c"]) == [("a b", "context_answer")]


def test_an_alias_counts_as_its_answer():
    assert found("The UK, or United Kingdom; also Britain", ["United Kingdom", "UK"], ["Britain"]) == [
        ("UK", "context_answer"),
        ("United Kingdom", "context_answer"),
        ("Britain", "parametric_answer"),
    ]


words = st.lists(st.sampled_from(["a", "b", "A", "ab", "é", "."]), max_size=12).map(" ".join)


@settings(max_examples=100, deadline=None)
@given(words, st.lists(words, max_size=2), st.lists(words, max_size=2))
def test_found_answers_never_overlap_and_are_answers(context, new, old):
    hits = find_answers(context, new, old)
    covered = [i for (start, end), _ in hits for i in range(start, end)]
    assert len(covered) == len(set(covered))
    for (start, end), role in hits:
        answers = new if role == CONTEXT_ANSWER else old
        assert context[start:end].casefold() in [" ".join(a.split()).casefold() for a in answers]
    # Nothing is missed: an answer that stands there as it is spelt overlaps what was found.
    for answer in filter(None, [*new, *old]):
        at = f" {context} ".find(f" {answer} ")
        if at >= 0:
            assert set(range(at, at + len(answer))) & set(covered)


def test_character_roles():
    rendered = PLAIN.render("Herat, not Kabul.", "Is it Herat?", "Herat")
    text = "Herat, not Kabul.\n\nQuestion: Is it Herat?\nAnswer: Herat"
    key = "nnnnnccccccooooocttttttttttttqqqqqqqqqqqqttttttttaaaaaa"
    assert rendered.text == text
    names = dict(zip("cnotqa", [CONTEXT, CONTEXT_ANSWER, PARAMETRIC_ANSWER, TEMPLATE, QUESTION, ANSWER], strict=True))
    assert character_roles(rendered, ["Herat"], ["Kabul"]).tolist() == [names[k] for k in key]
    closed = character_roles(PLAIN.render("", "Is it Herat?", "Herat"), ["Herat"], ["Kabul"])
    assert set(closed.tolist()) == {TEMPLATE, QUESTION, ANSWER}


def test_whole_words_end_where_the_context_does():
    """What a template writes against the context doesn't make its last word longer."""
    rendered = Rendered("xHeraty? a", (1, 6), (7, 8), (8, 10))
    assert character_roles(rendered, ["Herat"], []).tolist() == [TEMPLATE] + [CONTEXT_ANSWER] * 5 + [
        TEMPLATE,
        QUESTION,
        ANSWER,
        ANSWER,
    ]


@pytest.mark.parametrize(
    ("span", "role"),
    [
        ((3, 5), CONTEXT),  # ".\n" belongs to the context that ends in it
        ((4, 6), TEMPLATE),  # white space alone: its first character
        ((4, 8), QUESTION),  # "\n\n Q"
        ((0, 2), CONTEXT),
        ((6, 7), TEMPLATE),
        ((3, 8), CONTEXT),
        ((8, 8), TEMPLATE),  # behind the text
    ],
)
def test_a_token_has_the_role_of_its_first_visible_character(span, role):
    text = "abc.\n\n Q"
    roles = np.array([CONTEXT] * 4 + [TEMPLATE] * 3 + [QUESTION], np.int8)
    assert token_roles(text, [span], roles).tolist() == [role]


@settings(max_examples=100, deadline=None)
@given(st.text(alphabet="ab \n", min_size=1, max_size=20), st.data())
def test_every_token_has_a_role_of_its_characters(text, data):
    roles = np.array(data.draw(st.lists(st.integers(1, 6), min_size=len(text), max_size=len(text))), np.int8)
    cuts = sorted(data.draw(st.sets(st.integers(1, len(text)))) | {0, len(text)})
    spans = list(pairwise(cuts))
    found_roles = token_roles(text, spans, roles)
    assert found_roles.dtype == np.int8
    for (start, end), role in zip(spans, found_roles, strict=True):
        visible = [i for i in range(start, end) if text[i] not in " \n"]
        assert role == roles[visible[0] if visible else start]
