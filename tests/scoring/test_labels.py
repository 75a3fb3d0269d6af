"""Labels: a hard set labelled by hand, and properties that hold for every answer."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import attnshift
from attnshift.scoring.labels import LABELS, label_answer
from attnshift.scoring.stance import RULES, STRESSES

CASES = [json.loads(line) for line in (Path(__file__).parent / "labelled.jsonl").read_text("utf-8").splitlines()]


def label(case: dict, text: str | None = None) -> str:
    return label_answer(
        case["text"] if text is None else text,
        case["context"],
        case["parametric"],
        case.get("context_aliases", ()),
        case.get("parametric_aliases", ()),
    )


RIGHT = [case for case in CASES if label(case) == case["label"]]


def test_at_least_97_percent_of_a_hard_set_is_right():
    wrong = [f"{case['label']}, not {label(case)}: {case}" for case in CASES if label(case) != case["label"]]
    assert len(CASES) >= 800
    assert set(Counter(case["label"] for case in CASES)) == set(LABELS)
    assert len(wrong) <= 0.03 * len(CASES), "\n".join(wrong)


def test_it_is_public():
    assert attnshift.label_answer("not Paris but Lyon", "Lyon", "Paris") == "context"


def one_segment(case: dict) -> bool:
    """Texts whose case, marks and end can be changed without changing where the answer ends or what it says."""
    return case["kind"] not in ("segments", "scripts", "lists", "dates", "numbers") and "\n" not in case["text"]


SEGMENTS = [case for case in RIGHT if one_segment(case)]


CHANGES = {
    "upper case": str.upper,
    "lower case": str.lower,
    "title case": str.title,
    "swapped case": str.swapcase,
    **{f"phantom {space!r}": (lambda text, space=space: space + text) for space in (" ", "\n", "\u2581", "\u0120")},
    **{
        f"then {end!r}": (lambda text, end=end: text.rstrip('<"') + end)
        for end in ("</s>", "<|im_e", "\nQuestion: Paris or Lyon?", " ### Input:")
    },
}
WRAPPED = {
    f"{left}...{right}": (lambda text, left=left, right=right: left + text.strip().rstrip(".!") + right)
    for left, right in (('"', '"'), ("(", ")"), ("**", "**"), ("“", "”"), ("", "!"), ("", "..."), ("", ","))
}
SENTENCES = {
    sentence: (lambda text, sentence=sentence: text.rstrip(" .!") + "." + sentence)
    for sentence in (" I hope this helps.", " It has many inhabitants.")
}


@pytest.mark.parametrize("name", CHANGES)
def test_case_phantom_spaces_and_what_follows_the_segment_never_change_a_label(name):
    check(CHANGES, name, SEGMENTS)


@pytest.mark.parametrize("name", WRAPPED)
def test_punctuation_around_a_text_never_changes_a_label(name):
    """But for a question, which is another sentence without its mark."""
    check(WRAPPED, name, [case for case in SEGMENTS if not case["text"].rstrip().endswith(("?", "<"))])


@pytest.mark.parametrize("name", SENTENCES)
def test_a_trailing_sentence_never_changes_a_label(name):
    """But for one that is cut off, or the end of a saying, where the sentence is what was asked for."""
    whole = [c for c in SEGMENTS if c["kind"] != "endings" and not c["text"].rstrip().endswith(tuple('?<|>/["'))]
    check(SENTENCES, name, [case for case in whole if case["text"].strip()])


def check(changes: dict, name: str, cases: list[dict]) -> None:
    """Every sixth case, others for every change: all cases for all changes would take a minute."""
    chosen = cases[list(changes).index(name) % 6 :: 6]
    changed = [case for case in chosen if label(case, changes[name](case["text"])) != case["label"]]
    assert chosen
    assert not changed, changed


NAMES = ["Lyon", "Paris", "New Cairo", "Cairo", "J. K. Rowling", "Albert Einstein", "5 km", "1,000", "1989", "São Tomé",
         "The Hague", "Guinea-Bissau", "World War II", "Timor-Leste", "fonder", "heavy", "Saint John's", "42%",
         "July 4, 1776", "Atlantic Ocean", "東京", "Москва"]  # fmt: skip
FRAMES = [
    "{}",
    "It is {}.",
    "The answer is {}.",
    "The capital is {}",
    "I think it's {}",
    "Answer: {}",
    "**{}**",
    "{}, of course.",
]


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(NAMES), st.sampled_from(NAMES), st.sampled_from(FRAMES), st.data())
def test_an_asserted_answer_is_found_however_it_is_written(context, parametric, frame, data):
    assume(context != parametric)
    name, expected = data.draw(st.sampled_from([(context, "context"), (parametric, "parametric")]))
    text = frame.format(data.draw(st.sampled_from(["", "the ", "The ", "a "])) + name)
    text = data.draw(st.sampled_from([str, str.upper, str.lower, str.title]))(text)
    text = data.draw(st.sampled_from(["", " ", "\n\n", "  "])) + text
    text += data.draw(
        st.sampled_from(["", ".", "!", "\n", "</s>", ". That is well known.", "\nQuestion: Lyon or Paris?"])
    )
    assert label_answer(text, context, parametric) == expected, text


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(NAMES), st.sampled_from(NAMES), st.booleans())
def test_of_two_the_asserted_one_counts_and_sides_are_symmetric(first, second, swapped):
    assume(first != second)
    frames = {
        "not {} but {}": 1, "{}, not {}": 0, "{} rather than {}": 0, "It isn't {}, it's {}.": 1,
        "unlike {}, it is {}": 1,
        "{} is wrong; it is {}": 1, "Although many think {}, it is {}.": 1, "It used to be {}, now {}.": 1,
    }  # fmt: skip
    for frame, right in frames.items():
        text = frame.format(first, second)
        answers = (second, first) if swapped else (first, second)
        expected = "context" if (right == 0) != swapped else "parametric"
        assert label_answer(text, *answers) == expected, text


@settings(deadline=None, max_examples=60)
@given(
    st.text(max_size=60),
    st.text(min_size=1, max_size=12).filter(str.strip),
    st.text(min_size=1, max_size=12).filter(str.strip),
)
def test_any_text_and_answers_get_a_label(text, context, parametric):
    assert label_answer(text, context, parametric) in LABELS


@pytest.mark.parametrize(
    "pair", [("Iceland", "Ireland"), ("Austria", "Australia"), ("Niger", "Nigeria"), ("1988", "1989")]
)
def test_a_typo_never_makes_one_answer_of_the_other(pair):
    assert label_answer(pair[0], *pair) == "context"
    assert label_answer(pair[1], *pair) == "parametric"


def test_rules_have_names_of_their_own():
    names = [rule.name for rule in (*RULES, *STRESSES)]
    assert len(names) == len(set(names))
