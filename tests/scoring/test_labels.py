"""Labels: a hard set labelled by hand, and properties that hold for every answer."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import attnshift
from attnshift.scoring.labels import LABELS, label_answer
from attnshift.scoring.rules import RULES, STRESSES

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
STATED = [case for case in SEGMENTS if not case["text"].rstrip().endswith(("?", "<")) and case["text"].strip()]
"""Without questions, which are other sentences without their mark."""
WHOLE = [c for c in STATED if c["kind"] != "endings" and not c["text"].rstrip().endswith(tuple('<|>/["'))]
"""Without those that are cut off, and without ends of sayings, where the sentence is what was asked for."""
BARE = [c for c in WHOLE if len(c["text"].split()) <= 3 and c["text"][0].isalpha() and not c["text"].startswith("No")]
"""Answers by themselves, before which an article may stand."""

CHANGES = {
    "upper case": str.upper,
    "lower case": str.lower,
    "title case": str.title,
    "swapped case": str.swapcase,
    **{f"phantom {space!r}": (lambda text, space=space: space + text) for space in (" ", "\n", "\u2581", "\u0120")},
    **{
        f"then {end!r}": (lambda text, end=end: text.rstrip('<"') + end)
        for end in ("</s>", "<|im_e", "<pad><pad>", "</s><unk>", "  ", "\nQuestion: Paris or Lyon?", " ### Input:")
    },
}
WRAPPED = {
    f"{left}...{right}": (lambda text, left=left, right=right: left + text.strip().rstrip(".!") + right)
    for left, right in (('"', '"'), ("(", ")"), ("**", "**"), ("“", "”"), ("", "!"), ("", "..."), ("", ","))
}
TRAILED = {
    sentence: (lambda text, sentence=sentence: text.rstrip(" .!") + "." + sentence)
    for sentence in (" I hope this helps.", " It has many inhabitants.", " This is stated clearly.")
}
ARTICLES = {article: (lambda text, article=article: article + text) for article in ("the ", "The ", "a ", "An ")}


@pytest.mark.parametrize(
    ("changes", "cases"),
    [(CHANGES, SEGMENTS), (WRAPPED, STATED), (TRAILED, WHOLE), (ARTICLES, BARE)],
    ids=["case, spaces and what follows", "punctuation", "a trailing sentence", "a leading article"],
)
def test_never_changes_a_label(changes, cases):
    """Every sixth text, other ones for every change: all for all would take half a minute."""
    changed = [
        (name, case, text)
        for at, (name, change) in enumerate(changes.items())
        for case in cases[at % 6 :: 6]
        if label(case, text := change(case["text"])) != case["label"]
    ]
    assert not changed, changed


SWAPPED = {"context": "parametric", "parametric": "context", "both": "both", "neither": "neither"}


def test_labels_swap_with_the_answers_and_know_no_order_of_aliases():
    for case in RIGHT:
        context = [case["context"], *case.get("context_aliases", ())]
        parametric = [case["parametric"], *case.get("parametric_aliases", ())]
        swapped = label_answer(case["text"], parametric[0], context[0], parametric[1:], context[1:])
        turned = label_answer(case["text"], context[0], parametric[0], context[:0:-1], parametric[:0:-1])
        assert (swapped, turned) == (SWAPPED[case["label"]], case["label"]), case


def test_an_alias_counts_as_the_answer_does():
    """Only yes and no are read otherwise, where they are the answers themselves."""
    for case in RIGHT[::2]:
        if case["context"].lower() not in ("yes", "no", "true", "false"):
            answers = (case["context"], *case.get("context_aliases", ()))
            given = label_answer(case["text"], "Xyzzy", case["parametric"], answers, case.get("parametric_aliases", ()))
            assert given == case["label"], case


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


FRAMES_OF = {
    path.stem: path.read_text("utf-8").splitlines() for path in sorted((Path(__file__).parent / "frames").glob("*.txt"))
}
"""Sentences that assert X and not Y ("contrasted"), that assert X, and that deny it."""


def fill(frame: str, x: str, y: str) -> str:
    """The frame with the answers in place of X and Y."""
    return re.sub(r"(?<![A-Za-z])[XY](?![A-Za-z])", lambda m: x if m[0] == "X" else y, frame).replace("\\n", "\n")


@pytest.mark.parametrize("kind", FRAMES_OF)
def test_what_a_sentence_asserts_does_not_depend_on_the_names_in_it(kind):
    pairs = [("Lyon", "Paris"), ("New Cairo", "Cairo"), ("J. K. Rowling", "C. S. Lewis"), ("1912", "1903"),
             ("Guinea-Bissau", "Guinea"), ("gold", "silver"), ("St. Petersburg", "N'Djamena")]  # fmt: skip
    wrong = []
    for at, frame in enumerate(FRAMES_OF[kind]):
        x, y = pairs[at % len(pairs)]
        expected = ("neither", "neither") if kind == "denied" else ("context", "parametric")
        text = fill(frame, x, y)
        if (label_answer(text, x, y), label_answer(text, y, x)) != expected:
            wrong.append(text)
    assert not wrong, wrong


@settings(deadline=None, max_examples=100)
@given(st.sampled_from(NAMES), st.sampled_from(NAMES), st.sampled_from(FRAMES_OF["contrasted"]))
def test_of_two_the_asserted_one_counts_and_sides_are_symmetric(first, second, frame):
    assume(first != second)
    text = fill(frame, first, second)
    assert (label_answer(text, first, second), label_answer(text, second, first)) == ("context", "parametric"), text


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
