"""Contributions of strata are the whole change, no more and no less."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attnshift.errors import AttnshiftError
from attnshift.stats.contributions import contributions


def test_contributions_by_hand():
    before, after = np.array([0, 1, 1, 1, 0.0]), np.array([1, 1, 0, 0, np.nan])
    found = contributions(before, after, np.array(["a", "a", "b", "b", "b"]))
    assert [(one.stratum, one.items, one.before, one.after) for one in found] == [("b", 2, 1, 0), ("a", 2, 0.5, 1)]
    assert [one.contribution for one in found] == [-0.5, 0.25]
    assert found[0].change == -1


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1), st.sampled_from("abcd")), min_size=1, max_size=64))
def test_contributions_sum_to_the_whole_change(rows):
    before, after, strata = (np.array(column) for column in zip(*rows, strict=True))
    found = contributions(before.astype(float), after.astype(float), strata)
    assert sum(round(one.contribution * len(rows)) for one in found) == (after - before).sum()
    assert sum(one.contribution for one in found) == pytest.approx((after - before).mean(), abs=1e-14)
    assert sum(one.items for one in found) == len(rows)


def test_what_does_not_match_is_refused():
    with pytest.raises(AttnshiftError, match="3 strata"):
        contributions(np.zeros(2), np.zeros(2), np.array(["a"] * 3))
