"""The sets that ship are clean: their answers can be told apart, found and not guessed from where they stand."""

from collections import Counter
from statistics import median

import pytest

from attnshift.data.formats import load_examples, load_items
from attnshift.data.items import GROUPS, SPLITS
from attnshift.data.roles import CONTEXT_ANSWER, find_answers
from attnshift.data.shipped import CAPITALS, PROBES

ITEMS, EXAMPLES = load_items(CAPITALS), load_examples(PROBES)


def stands_in(answer, text):
    return bool(find_answers(text, [answer], []))


def test_there_is_enough():
    assert len(ITEMS) >= 150
    assert len(EXAMPLES) >= 200
    counts = Counter(e.group for e in EXAMPLES)
    assert set(counts) == set(GROUPS)
    assert counts["critical"] >= 100
    assert counts["non_critical"] >= 100
    assert {(e.group, e.split) for e in EXAMPLES} == {(group, split) for group in GROUPS for split in SPLITS}


@pytest.mark.parametrize("rows", [ITEMS, EXAMPLES], ids=["capitals", "probes"])
def test_nothing_is_there_twice(rows):
    for field in ("id", "question", "context"):
        values = [value for row in rows if (value := getattr(row, field))]
        assert not [value for value, count in Counter(values).items() if count > 1], field


@pytest.mark.parametrize("item", ITEMS, ids=lambda item: item.id)
def test_answers_of_an_item(item):
    new = (item.context_answer, *item.context_aliases)
    old = (item.parametric_answer, *item.parametric_aliases)
    assert stands_in(item.context_answer, item.context)
    assert not [answer for answer in old if answer.casefold() in item.context.casefold()]
    # Containment decides which answer a text gives: one inside the other would always count for both.
    pairs = [(a.casefold(), b.casefold()) for a in new for b in old]
    assert not [pair for pair in pairs if pair[0] in pair[1] or pair[1] in pair[0]]
    assert not [answer for answer in (*new, *old) if stands_in(answer, item.question)]
    for text in (item.context, item.question, *new, *old):
        assert text == text.strip()


def test_answers_stand_everywhere_in_the_context():
    """Else attention to the answer could be attention to a place."""
    thirds = Counter()
    for item in ITEMS:
        hits = find_answers(item.context, [item.context_answer], [])
        start, end = min(span for span, role in hits if role == CONTEXT_ANSWER)
        thirds[3 * (start + end) // (2 * len(item.context))] += 1
    assert set(thirds) == {0, 1, 2}
    assert min(thirds.values()) >= len(ITEMS) / 4


def test_no_example_gives_its_answer_away():
    assert not [e.id for e in EXAMPLES if stands_in(e.answer, e.question)]


def test_contexts_are_there_where_the_group_says_so():
    assert all(bool(e.context) == (e.group != "no_context") for e in EXAMPLES)


def test_groups_differ_in_need_not_in_length():
    lengths = {g: median(len(e.context) for e in EXAMPLES if e.group == g) for g in ("critical", "non_critical")}
    assert max(lengths.values()) <= 1.25 * min(lengths.values())
