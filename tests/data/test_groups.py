"""Given groups stay; of the others with a context, the quarter with the lowest closed-book loss is non-critical."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attnshift.data.groups import Grouping, group_examples, group_shares, with_groups
from attnshift.data.items import GROUPS, Example


def examples(*groups, context="c"):
    return [Example(id=str(i), context=context, question="q", answer="a", group=g) for i, g in enumerate(groups)]


def never(positions):
    raise AssertionError(f"the loss of {positions} was asked for")


def test_given_groups_need_no_loss():
    grouping = group_examples(examples(*GROUPS, "critical"), never)
    assert grouping == Grouping((*GROUPS, "critical"), given=4, ranked=0)


@pytest.mark.parametrize("blank", ["", " \n"])
def test_examples_without_a_context_need_no_loss(blank):
    grouping = group_examples(examples(None, "critical", None, context=blank), never)
    assert grouping == Grouping(("no_context", "critical", "no_context"), given=1, ranked=0)


def test_no_examples():
    assert group_examples([], never) == Grouping((), 0, 0)
    assert group_examples([], never).describe() == ""


def test_the_rest_is_ranked():
    rows = examples(*[None] * 8, "non_critical")
    rows[2:2] = examples(None, context="")
    asked = []

    def loss(positions):
        asked.append(positions)
        return np.array([5.0, 1.0, 4.0, 3.0, 9.0, 2.0, 8.0, 7.0])

    grouping = group_examples(rows, loss)
    assert asked == [[0, 1, 3, 4, 5, 6, 7, 8]]
    expected = ["critical"] * 10
    expected[1] = expected[6] = expected[9] = "non_critical"  # losses 1 and 2, and the given one
    expected[2] = "no_context"
    assert grouping == Grouping(tuple(expected), given=1, ranked=8)
    assert [e.group for e in with_groups(rows, grouping.groups)] == expected
    assert [e.id for e in with_groups(rows, grouping.groups)] == [e.id for e in rows]
    assert grouping.describe() == (
        "groups: 6 critical, 3 non_critical, 1 no_context (the 25% with the lowest closed-book loss, "
        "of 8 examples with a context and no given group, are non_critical)"
    )
    assert group_examples(examples("critical"), never).describe() == "groups: 1 critical (as the data gives them)"


def test_ties_go_by_position():
    for size in (4, 8, 100):
        groups = group_examples(examples(*[None] * size), lambda positions: np.zeros(len(positions))).groups
        assert groups == ("non_critical",) * (size // 4) + ("critical",) * (size - size // 4)


def test_a_loss_that_is_no_number_counts_as_high():
    losses = np.array([np.nan, 3.0, np.inf, 2.0])
    assert group_examples(examples(*[None] * 4), lambda _: losses).groups == (*["critical"] * 3, "non_critical")


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([None, *GROUPS]), st.booleans(), st.floats(0, 20))))
def test_every_example_gets_one_group(rows):
    made = [
        Example(id=str(i), context="c" * context, question="q", answer="a", group=group)
        for i, (group, context, _) in enumerate(rows)
    ]
    losses = np.array([loss for *_, loss in rows])
    grouping = group_examples(made, lambda positions: losses[positions])
    ranked = {name: [] for name in GROUPS}
    for (group, context, loss), found in zip(rows, grouping.groups, strict=True):
        if group is not None:
            assert found == group
        elif not context:
            assert found == "no_context"
        else:
            ranked[found].append(loss)
    assert len(ranked["critical"]) + len(ranked["non_critical"]) == grouping.ranked
    assert len(ranked["non_critical"]) == grouping.ranked // 4
    assert max(ranked["non_critical"], default=0) <= min(ranked["critical"], default=20)


def test_shares():
    groups = ["critical"] * 3 + ["no_context"]
    assert group_shares(groups, {}) == {"critical": 0.75, "no_context": 0.25}
    assert group_shares(groups, {"critical": 0.1, "non_critical": 0.2, "no_context": 0.7}) == {
        "critical": 0.1,
        "no_context": 0.7,
    }
    assert list(group_shares(groups[::-1], {})) == ["critical", "no_context"]  # in the house order
    assert group_shares([], {"critical": 1.0}) == {}
