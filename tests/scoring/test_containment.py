"""Containment finds an answer as the paper does: anywhere, in any case and spelling of its characters."""

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attnshift.scoring.containment import contains_answer


@pytest.mark.parametrize(
    ("text", "answer", "aliases", "contained"),
    [
        ("The capital is Herat.", "Herat", (), True),
        ("the capital is HERAT", "herat", (), True),
        ("The capital is Kabul.", "Herat", (), False),
        ("It is Hirat.", "Herat", ("Haraiva", "Hirat"), True),
        ("New\n  Cairo", "new cairo", (), True),
        ("Cairo", " Cairo ", (), True),
        (unicodedata.normalize("NFD", "Durrës"), "Durrës", (), True),
        ("Durres", "Durrës", (), False),
        ("GROSSE STRASSE", "Große Straße", (), True),
        ("Romania", "Oman", (), True),
        ("It is not Herat.", "Herat", (), True),
        ("Herat", "", (), False),
        ("Herat", "Kabul", (" ",), False),
        ("", "Herat", (), False),
    ],
)
def test_containment(text, answer, aliases, contained):
    assert contains_answer(text, answer, aliases) is contained


WORDS = st.text(max_size=20)
ANSWER = st.text(min_size=1, max_size=10).filter(str.strip)


@settings(deadline=None)
@given(WORDS, ANSWER, WORDS)
def test_an_answer_between_other_words_is_found_in_every_form(before, answer, after):
    text = f"{before} {answer}\n{after}"
    assert contains_answer(text, answer)
    assert contains_answer(text, "never there", [answer])
    for form in ("NFC", "NFD"):
        assert contains_answer(unicodedata.normalize(form, text), answer)
        assert contains_answer(text, unicodedata.normalize(form, answer))
    assert contains_answer(text.casefold(), answer)
