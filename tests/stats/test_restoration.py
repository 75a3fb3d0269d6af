"""Restored shares: closed forms and coverage."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from attnshift.stats.restoration import restoration


def test_ends_and_the_middle():
    rng = np.random.default_rng(0)
    source, target = rng.normal(3, 1, 40), rng.normal(-2, 1, 40)
    values = np.stack([target, source, (source + target) / 2, 2 * source - target])
    share = restoration(values, source, target, np.arange(40))
    np.testing.assert_allclose(share.estimate, [0, 1, 0.5, 2], atol=1e-12)
    np.testing.assert_allclose(share.low, share.high, atol=1e-12)  # the same in every draw


def test_nan_items_are_left_out_and_one_cluster_has_no_bounds():
    source, target = np.array([2.0, 4.0, np.nan]), np.array([0.0, 0.0, 5.0])
    values = np.array([[1.0, 1.0, 7.0], [2.0, np.nan, 1.0]])
    share = restoration(values, source, target, np.array(["x", "x", "x"]))
    np.testing.assert_allclose(share.estimate, [2 / 6, 1.0])
    assert np.isnan(share.low).all()
    equal = restoration(np.ones(4), np.ones(4), np.ones(4), np.arange(4))
    assert np.isnan(equal.estimate)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.integers(3, 30))
def test_units_and_offsets_do_not_matter(seed, count):
    """Nats or bits, centred or not: a share of a difference is the same."""
    rng = np.random.default_rng(seed)
    source, target, values = rng.normal(6, 1, count), rng.normal(0, 1, count), rng.normal(3, 2, (2, count))
    clusters = np.arange(count) // 2
    share = restoration(values, source, target, clusters)
    other = restoration(-2 * values + 7, -2 * source + 7, -2 * target + 7, clusters)
    for mine, theirs in zip(vars(share).values(), vars(other).values(), strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-9)
    assert (share.low <= share.high).all()


def test_intervals_cover():
    """95 % intervals of a ratio whose true value is known."""
    rng, hit = np.random.default_rng(1), 0
    for _ in range(100):
        target = rng.normal(-3, 2, 60)
        source = target + rng.normal(5, 2, 60)
        values = target + 0.6 * (source - target) + rng.normal(0, 2, 60)
        share = restoration(values, source, target, np.arange(60))
        hit += share.low <= 0.6 <= share.high
    assert 89 <= hit <= 100
