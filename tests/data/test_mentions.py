"""A mention is made of whole words; case, accents, possessives and hyphens make no difference."""

import re
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attnshift.data.mentions import NameIndex, Text, as_name, fold, mentions, word_set, words


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("They left Oslo.", "Oslo"),
        ("OSLO'S harbour", "Oslo"),
        ("oslo-based", "Oslo"),
        ("São Tomé", "Sao Tome"),
        ("Sao Tome", "São Tomé"),
        ("Durre\u0308s by the sea", "Durrës"),
        ("Tromsø", "Tromso"),
        ("Łódź", "Lodz"),
        ("Buenos\nAires", "Buenos Aires"),
        ("Port-au-Prince", "Port au Prince"),
        ("Dr. Amalthea Sproule", "Dr Amalthea Sproule"),
        ("written in C++.", "C++"),
        ("it cost $5, no more", "$5"),
        ("in 1,200 rooms", "1,200"),
        ("he was 12, they say", "12"),
        ("_Oslo_", "Oslo"),
        ("ΑΘΗΝΑ", "Αθηνα"),
        ("Straße", "STRASSE"),
    ],
)
def test_mentioned(text, name):
    assert mentions(text, name)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Romania", "Oman"),
        ("Oslovian", "Oslo"),
        ("New. And then York", "New York"),
        ("New, York", "New York"),
        ("written in C", "C++"),
        ("it cost 5", "$5"),
        ("3.5 metres", "5"),
        ("3.5 metres", "3"),
        ("at 12:30", "30"),
        ("1,200", "200"),
        ("", "Oslo"),
        ("Oslo", "…"),
        ("Oslo", ""),
    ],
)
def test_not_mentioned(text, name):
    assert not mentions(text, name)


def test_spans_are_those_of_the_text_as_it_is_written():
    text = "ÉVREUX, Evreux and E\u0301vreux’s"
    assert [text[slice(*span)] for span in Text(text).mentions(as_name("évreux"))] == [
        "ÉVREUX",
        "Evreux",
        "E\u0301vreux",
    ]


def test_an_index_finds_what_single_searches_find():
    names = ["Oslo", "New York", "York", "São Paulo", "C++", "…"]
    text = "From NEW YORK to Sao Paulo, not Oslovian."
    found = {(name, text[slice(*span)]) for name, span in NameIndex([(n, n) for n in names]).find(text)}
    assert found == {("New York", "NEW YORK"), ("York", "YORK"), ("São Paulo", "Sao Paulo")}


LETTERS = st.text(st.characters(codec="utf-8", categories=["L", "Mn", "Nd", "P", "Zs"]), max_size=30)


@settings(max_examples=200, deadline=None)
@given(LETTERS)
def test_words_are_found_where_they_stand(text):
    for word in words(text):
        assert fold(text[word.start : word.end]) == word.folded
    assert {word.folded for word in words(text)} == word_set(text)


@settings(max_examples=200, deadline=None)
@given(st.text("abcéÖ ", min_size=1, max_size=8), LETTERS, LETTERS)
def test_a_name_between_spaces_is_mentioned_however_it_is_written(name, before, after):
    if not name.strip() or before.rstrip()[-1:] in "+#%$€£¥°&@*":
        return
    for spelt in (
        name,
        name.upper(),
        name.lower(),
        unicodedata.normalize("NFD", name),
        re.sub(" +", "-", name.strip()),
    ):
        assert mentions(f"{before} | {spelt} | {after}", name), spelt
