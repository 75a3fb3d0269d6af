"""Means over runs and items: the interval is as wide as both together spread them."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from attnshift.errors import AttnshiftError
from attnshift.stats.hierarchy import seed_item_interval, seed_item_means
from attnshift.stats.intervals import Interval, cluster_mean_interval

CLUSTERS = np.arange(30).repeat(4)


def made_runs(rng, runs, by_run, by_cluster, by_item=20.0):
    common = rng.normal(0, by_cluster, 30).repeat(4)
    return list(rng.normal(0, by_run, (runs, 1)) + common + rng.normal(0, by_item, (runs, 120)))


@pytest.mark.parametrize(("runs", "by_run", "by_cluster"), [(4, 8, 0), (8, 3, 6), (6, 0, 12)])
def test_intervals_hold_the_truth_and_are_as_wide_as_the_simulated_spread(runs, by_run, by_cluster):
    rng = np.random.default_rng(runs)
    found = [seed_item_interval(made_runs(rng, runs, by_run, by_cluster), CLUSTERS, draws=500) for _ in range(200)]
    held = np.mean([one.low <= 0 <= one.high for one in found])
    assert 0.9 <= held <= 1
    spread = np.std([one.estimate for one in found])
    truth = np.sqrt(by_run**2 / runs + by_cluster**2 / 30 + 20**2 / (120 * runs))
    assert spread == pytest.approx(truth, rel=0.15)
    assert 1.7 * spread < np.median([(one.high - one.low) / 2 for one in found]) < 4 * spread


def test_runs_with_items_of_their_own_give_students_interval():
    rng = np.random.default_rng(0)
    held = []
    for _ in range(300):
        runs = [values + rng.normal(0, 5) for values in rng.normal(0, 20, (4, 50))]
        one = seed_item_interval(runs, None, draws=500)
        held.append(one.low <= 0 <= one.high)
    assert np.mean(held) == pytest.approx(0.95, abs=0.04)
    lone = seed_item_interval([rng.normal(size=9)], None)
    assert np.isnan([lone.low, lone.high]).all()


def test_one_run_says_what_its_items_say():
    values = np.random.default_rng(0).normal(size=120)
    assert seed_item_interval([values], CLUSTERS) == cluster_mean_interval(values, CLUSTERS)


def test_equal_values_are_exact_and_names_change_nothing():
    assert seed_item_interval([np.ones(120)] * 3, CLUSTERS) == Interval(1, 1, 1)
    runs = made_runs(np.random.default_rng(1), 3, 5, 5)
    named = seed_item_interval(runs, [f"q{-c}" for c in CLUSTERS])
    assert named == seed_item_interval(runs, CLUSTERS)


def test_missing_items_are_left_out():
    runs = made_runs(np.random.default_rng(2), 4, 5, 5)
    runs[0][:40] = np.nan
    found = seed_item_interval(runs, CLUSTERS)
    assert found.estimate == pytest.approx(np.mean([np.nanmean(run) for run in runs]))
    assert found.low < found.estimate < found.high


def test_what_does_not_match_is_refused():
    with pytest.raises(AttnshiftError, match="0 runs"):
        seed_item_interval([], CLUSTERS)
    with pytest.raises(AttnshiftError, match="runs of 3, 120 items"):
        seed_item_interval([np.zeros(3), np.zeros(120)], CLUSTERS)
    with pytest.raises(AttnshiftError, match="not each with a value"):
        seed_item_interval([np.full(120, np.nan)], CLUSTERS)


def test_every_step_of_joined_runs():
    rng = np.random.default_rng(3)
    values = np.stack([made_runs(rng, 3, 5, 5) for _ in range(2)], 1)
    joined = xr.Dataset(
        {"margin": (("run", "step", "item"), values)},
        {"run": list("abc"), "step": [0, 10], "item": np.arange(120), "item_cluster": ("item", CLUSTERS.astype(str))},
    )
    found = seed_item_means(joined, "margin", draws=500)
    alone = seed_item_interval(list(values[:, 1]), CLUSTERS, draws=500)
    assert (found.estimate[1], found.low[1], found.high[1]) == (alone.estimate, alone.low, alone.high)
    apart = seed_item_means(joined, "margin", shared_items=False, draws=500)
    assert apart.estimate[0] == pytest.approx(found.estimate[0])
    joined["margin"][2, 0] = np.nan
    assert np.isnan(seed_item_means(joined, "margin", draws=500).low[0])
    with pytest.raises(AttnshiftError, match="per run, step and item"):
        seed_item_means(joined.isel(run=0), "margin")
