"""Paired tests against enumeration, by hand, and under the null."""

from __future__ import annotations

from itertools import product
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attnshift.errors import AttnshiftError
from attnshift.stats.paired import holm, mcnemar, sign_flip


def pairs(gained: int, lost: int, same: int = 3) -> tuple[np.ndarray, np.ndarray]:
    before = np.array([0] * gained + [1] * lost + [0, 1] * same, float)
    after = np.array([1] * gained + [0] * lost + [0, 1] * same, float)
    return before, after


@pytest.mark.parametrize(("gained", "lost"), [(0, 0), (1, 0), (3, 3), (5, 0), (2, 9), (12, 4), (40, 61)])
def test_mcnemar_is_the_binomial_by_enumeration(gained, lost):
    """All outcomes that are no likelier than the observed one: for p = 1/2 that is twice the smaller tail."""
    n = gained + lost
    weights = [comb(n, k) for k in range(n + 1)]
    expected = sum(w for w in weights if w <= weights[gained]) / 2**n
    found = mcnemar(*pairs(gained, lost))
    assert (found.gained, found.lost) == (gained, lost)
    assert found.p_value == pytest.approx(expected, rel=1e-12)


def test_mcnemar_is_scipys_binomial_test():
    binomtest = pytest.importorskip("scipy.stats").binomtest
    for gained, lost in ((7, 2), (30, 55), (200, 150)):
        assert mcnemar(*pairs(gained, lost)).p_value == pytest.approx(binomtest(gained, gained + lost).pvalue)


def test_mid_p_counts_the_observed_outcome_half():
    assert mcnemar(*pairs(5, 0), mid_p=True).p_value == pytest.approx(1 / 2**5)
    assert mcnemar(*pairs(2, 9), mid_p=True).p_value == pytest.approx((2 * (1 + 11 + 55) - 55) / 2**11)
    assert mcnemar(*pairs(4, 4), mid_p=True).p_value <= 1


def test_many_items_are_no_trouble():
    assert 0 < mcnemar(*pairs(900, 1100)).p_value < 1e-4


def test_what_mcnemar_refuses_and_leaves_out():
    before, after = pairs(3, 1)
    before[0] = np.nan
    assert mcnemar(before, after).gained == 2
    with pytest.raises(AttnshiftError, match="other than 0 and 1"):
        mcnemar([0.5], [1])
    with pytest.raises(AttnshiftError, match="shapes"):
        mcnemar([0, 1], [1])


@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemar_is_symmetric(gained, lost):
    one, other = mcnemar(*pairs(gained, lost)), mcnemar(*pairs(lost, gained))
    assert one.p_value == other.p_value
    assert 0 < one.p_value <= 1
    assert mcnemar(*pairs(gained, lost), mid_p=True).p_value <= one.p_value


# Holm


@pytest.mark.parametrize(
    ("raw", "adjusted"),
    [
        ([0.01, 0.04, 0.03], [0.03, 0.06, 0.06]),  # .01·3, then .03·2, then .04·1 raised to what is below it
        ([0.5, 0.6], [1.0, 1.0]),
        ([0.02], [0.02]),
        ([], []),
    ],
)
def test_holm_by_hand(raw, adjusted):
    assert holm(raw) == pytest.approx(adjusted)


def test_holm_passes_over_what_could_not_be_tested():
    found = holm([0.01, float("nan"), 0.04])
    assert found[0] == pytest.approx(0.02)
    assert np.isnan(found[1])
    assert found[2] == pytest.approx(0.04)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_keeps_order_and_is_never_below(raw):
    adjusted = holm(raw)
    assert all(a >= r for a, r in zip(adjusted, raw, strict=True))
    assert [adjusted[i] for i in np.argsort(raw)] == sorted(adjusted)


# Sign flips of clusters


def test_sign_flips_enumerate_few_clusters():
    rng = np.random.default_rng(0)
    before, after = rng.normal(size=(2, 12))
    clusters = np.repeat(["a", "b", "c", "d"], 3)
    sums = (after - before).reshape(4, 3).sum(1)
    every = [abs(np.dot(signs, sums)) for signs in product((-1, 1), repeat=4)]
    assert sign_flip(before, after, clusters) == pytest.approx(np.mean([s >= abs(sums.sum()) - 1e-12 for s in every]))


def test_items_of_their_own_give_mcnemar():
    before, after = pairs(9, 2)
    assert sign_flip(before, after, np.arange(len(before))) == pytest.approx(mcnemar(before, after).p_value)
    before, after = pairs(40, 22)
    expected = mcnemar(before, after).p_value
    assert sign_flip(before, after, np.arange(len(before))) == pytest.approx(
        expected, abs=4 * np.sqrt(expected / 20_000)
    )


def test_copies_in_a_cluster_bring_no_certainty():
    before, after = pairs(9, 2)
    copies = [np.repeat(side, 5) for side in (before, after)]
    clusters = np.repeat(np.arange(len(before)), 5)
    assert sign_flip(*copies, clusters) == pytest.approx(mcnemar(before, after).p_value)
    assert mcnemar(*copies).p_value < 1e-4  # what it must not be used for


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10_000))
def test_names_of_clusters_and_the_direction_change_nothing(seed):
    rng = np.random.default_rng(seed)
    before, after, clusters = rng.integers(0, 2, 40), rng.integers(0, 2, 40), rng.integers(0, 20, 40)
    p = sign_flip(before, after, clusters)
    assert p == sign_flip(before, after, [f"q{-c}" for c in clusters]) == sign_flip(after, before, clusters)


def test_nothing_changed_and_nothing_paired():
    assert sign_flip([1, 0, 1], [1, 0, 1], [0, 1, 2]) == 1
    assert sign_flip([1, 0], [0, 1], ["a", "a"]) == 1
    assert np.isnan(sign_flip([np.nan], [1.0], ["a"]))


def test_sign_flips_keep_their_level_where_items_share_clusters():
    rng = np.random.default_rng(3)
    clusters, found = np.repeat(np.arange(12), 5), []
    for _ in range(400):
        shift = np.repeat(rng.normal(size=12), 5)
        found.append(sign_flip(np.zeros(60), shift + rng.normal(size=60), clusters))
    assert np.mean(np.array(found) <= 0.05) == pytest.approx(0.05, abs=0.035)
