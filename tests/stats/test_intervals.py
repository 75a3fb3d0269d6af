"""Intervals agree with closed forms, keep their level, and know what a cluster is."""

from math import sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attnshift.errors import AttnshiftError
from attnshift.stats.intervals import Interval, cluster_mean_interval, cluster_wilson, wilson

Z = 1.959963984540054
RNG = np.random.default_rng(1)


# Wilson


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [
        (0, 10, 0.0, Z**2 / (10 + Z**2)),  # the formula at its ends has a short form
        (10, 10, 10 / (10 + Z**2), 1.0),
        (5, 10, 0.5 - Z / (2 * sqrt(10 + Z**2)), 0.5 + Z / (2 * sqrt(10 + Z**2))),
        (81, 263, 0.2553, 0.3662),  # Newcombe 1998, table I, method 3
        (15, 148, 0.0624, 0.1605),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_agrees_with_closed_forms_and_published_values(successes, n, low, high):
    interval = wilson(successes, n)
    assert interval.estimate == successes / n
    assert (interval.low, interval.high) == pytest.approx((low, high), abs=5e-5)


def test_the_ends_of_wilson_are_exact():
    assert wilson(0, 7).low == 0
    assert wilson(7, 7).high == 1


def test_wilson_works_element_by_element_and_says_nothing_of_no_items():
    interval = wilson([3, 0, 4], [10, 0, 4])
    assert np.isnan([interval.estimate[1], interval.low[1], interval.high[1]]).all()
    assert interval.low[0] == wilson(3, 10).low
    assert interval.high[2] == wilson(4, 4).high


@settings(deadline=None)
@given(st.integers(1, 500), st.data(), st.floats(0.5, 0.99))
def test_wilson_contains_the_share_and_mirrors(n, data, level):
    hits = data.draw(st.integers(0, n))
    a, b = wilson(hits, n, level), wilson(n - hits, n, level)
    assert 0 <= a.low <= a.estimate <= a.high <= 1
    assert (a.low, a.high) == pytest.approx((1 - b.high, 1 - b.low))


@pytest.mark.parametrize("p", [0.1, 0.3, 0.5, 0.9])
def test_wilson_keeps_its_level(p):
    interval = wilson(RNG.binomial(60, p, 20_000), 60)
    assert np.mean((interval.low <= p) & (p <= interval.high)) == pytest.approx(0.95, abs=0.025)


@pytest.mark.parametrize(("successes", "n"), [(5, 4), (-1, 4)])
def test_impossible_counts_are_refused(successes, n):
    with pytest.raises(AttnshiftError, match="successes"):
        wilson(successes, n)


# Cluster bootstrap


def width(interval: Interval) -> float:
    return interval.high - interval.low


def test_items_of_their_own_give_the_standard_error_of_the_mean():
    values = RNG.normal(3, 2, 400)
    interval = cluster_mean_interval(values, np.arange(400), draws=10_000)
    assert interval.estimate == pytest.approx(values.mean())
    assert width(interval) == pytest.approx(2 * Z * values.std() / sqrt(400), rel=0.03)
    assert interval.low < values.mean() < interval.high


@pytest.mark.parametrize("copies", [2, 5])
def test_copies_in_a_cluster_bring_no_certainty(copies):
    """Taken as items of their own, k copies would narrow the interval by sqrt(k); as clusters they don't."""
    values = RNG.normal(size=150)
    single = cluster_mean_interval(values, np.arange(150), draws=5_000)
    copied, clusters = np.repeat(values, copies), np.repeat(np.arange(150), copies)
    together = cluster_mean_interval(copied, clusters, draws=5_000)
    apart = cluster_mean_interval(copied, np.arange(150 * copies), draws=5_000)
    assert width(together) == pytest.approx(width(single))
    assert width(together) / width(apart) == pytest.approx(sqrt(copies), rel=0.05)


def test_the_bootstrap_keeps_its_level_where_items_share_clusters():
    clusters = np.repeat(np.arange(50), 4)
    effects = RNG.normal(size=(600, 50)).repeat(4, axis=1) + RNG.normal(size=(600, 200))
    interval = cluster_mean_interval(effects, clusters, draws=500)
    assert np.mean((interval.low <= 0) & (interval.high >= 0)) == pytest.approx(0.94, abs=0.03)


def test_unequal_clusters_count_by_their_items():
    values, clusters = [1.0, 1.0, 1.0, 0.0], ["a", "a", "a", "b"]
    interval = cluster_mean_interval(values, clusters)
    assert (interval.low, interval.estimate, interval.high) == (0, 0.75, 1)


@settings(deadline=None, max_examples=30)
@given(st.floats(-1e6, 1e6), st.integers(1, 30), st.integers(1, 5))
def test_equal_values_are_exact(value, items, clusters):
    interval = cluster_mean_interval(np.full(items, value), np.arange(items) % clusters, draws=50)
    assert interval == Interval(value, value, value)


def test_nan_is_left_out():
    values, clusters = RNG.normal(size=30), np.arange(30) // 2
    holed = np.insert(values, 5, np.nan)
    assert cluster_mean_interval(holed, np.insert(clusters, 5, 99)) == cluster_mean_interval(values, clusters)


def test_a_series_is_taken_by_itself():
    rows = RNG.normal(size=(2, 3, 24))
    rows[0, 1, 4:9] = rows[1, 2] = np.nan
    clusters = np.arange(24) % 7
    together = cluster_mean_interval(rows, clusters)
    for index in np.ndindex(2, 3):
        alone = cluster_mean_interval(rows[index], clusters)
        for part in ("estimate", "low", "high"):
            np.testing.assert_allclose(getattr(together, part)[index], getattr(alone, part))
    assert np.isnan(together.low[1, 2])


def test_nothing_to_say():
    for values in ([], [np.nan, np.nan]):
        interval = cluster_mean_interval(values, np.arange(len(values)))
        assert np.isnan([interval.estimate, interval.low, interval.high]).all()
    one_cluster = cluster_mean_interval([0.0, 1.0], ["a", "a"])
    assert one_cluster.estimate == 0.5
    assert np.isnan([one_cluster.low, one_cluster.high]).all()


def test_the_names_of_clusters_change_nothing():
    values, clusters = RNG.normal(size=40), np.arange(40) // 3
    named = cluster_mean_interval(values, [f"q{cluster}" for cluster in clusters])
    assert named == cluster_mean_interval(values, clusters) == cluster_mean_interval(values, -clusters)


def test_the_seed_decides():
    values = RNG.normal(size=40)
    same = [cluster_mean_interval(values, np.arange(40), seed=3) for _ in range(2)]
    assert same[0] == same[1]
    assert same[0] != cluster_mean_interval(values, np.arange(40), seed=4)


# Wilson by clusters


def shares(rng, clusters, size, rate, alike, count):
    """``count`` rows of 0/1 items; clusters share a rate drawn from a beta distribution with correlation ``alike``."""
    rates = rng.beta(rate * (1 / alike - 1), (1 - rate) * (1 / alike - 1), (count, clusters))
    return (rng.random((count, clusters * size)) < rates.repeat(size, axis=1)).astype(float)


def test_items_of_their_own_give_wilson():
    values = (RNG.random((3, 50)) < 0.3).astype(float)
    values[1, :4] = np.nan
    found = cluster_wilson(values, np.arange(50))
    expected = wilson(np.nansum(values, 1), np.isfinite(values).sum(1))
    for part in ("estimate", "low", "high"):
        np.testing.assert_array_equal(getattr(found, part), getattr(expected, part))


def test_clusters_that_agree_are_items():
    """Three copies of each of 200 items: the interval is nearly that of the 200."""
    once = (RNG.random(200) < 0.4).astype(float)
    found, expected = cluster_wilson(np.repeat(once, 3), np.repeat(np.arange(200), 3)), wilson(once.sum(), 200)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=2e-3)


@pytest.mark.parametrize(("rate", "alike"), [(0.05, 0.05), (0.3, 0.3), (0.95, 0.1)])
def test_wilson_by_clusters_keeps_its_level(rate, alike):
    rng = np.random.default_rng(int(1000 * rate))
    found = cluster_wilson(shares(rng, 40, 8, rate, alike, 400), np.repeat(np.arange(40), 8))
    assert np.mean((found.low <= rate) & (rate <= found.high)) == pytest.approx(0.95, abs=0.03)


def test_where_all_agree_every_cluster_is_one_item():
    found = cluster_wilson(np.zeros(12), np.repeat(np.arange(4), 3))
    assert (found.low, found.high) == (0, wilson(0, 4).high)
    assert cluster_wilson(np.ones(5), ["a"] * 5) == Interval(1, 1, 1)
    lone = cluster_wilson([1.0, 0.0], ["a", "a"])
    assert np.isnan([lone.low, lone.high]).all()
    assert np.isnan(cluster_wilson([np.nan], ["a"]).estimate)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10_000))
def test_wilson_by_clusters_contains_the_share_mirrors_and_knows_no_names(seed):
    rng = np.random.default_rng(seed)
    values, clusters = rng.integers(0, 2, 30).astype(float), rng.integers(0, 12, 30)
    one, mirrored = cluster_wilson(values, clusters), cluster_wilson(1 - values, clusters)
    assert 0 <= one.low <= one.estimate <= one.high <= 1
    assert (one.low, one.high) == pytest.approx((1 - mirrored.high, 1 - mirrored.low))
    assert one == cluster_wilson(values, [f"q{-c}" for c in clusters])
