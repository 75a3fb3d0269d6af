"""Checkpoint noise: right on noise, blind to trends, and no smaller than the items' own flips."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_traces import made_trace

from attnshift.errors import AttnshiftError
from attnshift.stats.items import ItemSeries, item_series
from attnshift.stats.noise import checkpoint_noise, correlated, item_noise


def made_series(values, clusters=None) -> ItemSeries:
    values = np.asarray(values, float)
    names = np.arange(values.shape[1]).astype(str)
    steps = np.arange(len(values))
    return ItemSeries("margin", "nats", steps, names, values, names if clusters is None else np.asarray(clusters))


@pytest.mark.parametrize("checkpoints", [6, 14, 40])
def test_independent_noise_is_found_and_its_interval_keeps_its_level(checkpoints):
    rng = np.random.default_rng(checkpoints)
    trend = np.linspace(20, 60, checkpoints)
    found = [checkpoint_noise(trend + rng.normal(0, 2, checkpoints)) for _ in range(500)]
    assert np.sqrt(np.mean([one.sd**2 for one in found])) == pytest.approx(2, rel=0.1)
    covered = [one.low <= 2 <= one.high for one in found]
    assert np.mean(covered) == pytest.approx(0.95, abs=0.03)
    assert found[0].band == pytest.approx(1.96 * found[0].sd)


@settings(deadline=None, max_examples=25)
@given(st.lists(st.floats(-50, 50), min_size=4, max_size=20), st.floats(-9, 9), st.floats(-99, 99), st.floats(0.1, 9))
def test_a_line_changes_nothing_and_a_factor_is_a_factor(values, slope, height, factor):
    values = np.array(values)
    line = height + slope * np.arange(len(values))
    assert checkpoint_noise(values + line).sd == pytest.approx(checkpoint_noise(values).sd, abs=1e-9)
    assert checkpoint_noise(factor * values).sd == pytest.approx(factor * checkpoint_noise(values).sd, abs=1e-9)


def test_steps_without_a_number_are_passed_over_and_few_say_nothing():
    values = np.array([1.0, 4, 2, 8, 5])
    holed = np.array([1.0, np.nan, 4, 2, 8, np.nan, 5])
    assert checkpoint_noise(holed) == checkpoint_noise(values)
    few = checkpoint_noise(values[:3])
    assert np.isnan([few.sd, few.low, few.high]).all()
    assert few.checkpoints == 3
    with pytest.raises(AttnshiftError, match="shape"):
        checkpoint_noise(np.zeros((5, 5)))


def test_items_that_flip_by_chance_give_their_part():
    """n independent items whose change has variance v: a checkpoint's mean has v / 2n."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=(60, 300))
    assert item_noise(made_series(values)) == pytest.approx(1 / np.sqrt(300), rel=0.05)
    by_three = np.repeat(rng.normal(size=(60, 100)), 3, axis=1)
    assert item_noise(made_series(by_three, np.repeat(np.arange(100), 3))) == pytest.approx(0.1, rel=0.05)
    holed = np.where(rng.random(values.shape) < 0.2, np.nan, values)
    assert item_noise(made_series(holed)) == pytest.approx(1 / np.sqrt(300 * 0.64), rel=0.05)


def test_a_straight_fall_of_whole_items_is_not_without_noise():
    fall = np.array([[float(item < 60 - 2 * step) for item in range(100)] for step in range(10)])
    found = checkpoint_noise(made_series(fall))
    assert found.sd == found.items == pytest.approx(np.sqrt(2 / (2 * 100**2)))


def test_correlated_noise_correlates():
    made = correlated(np.random.default_rng(0).standard_normal((20_000, 6)), 0.5)
    np.testing.assert_allclose(made.std(0), 1, atol=0.02)
    np.testing.assert_allclose(np.corrcoef(made.T)[0, :3], [1, 0.5, 0.25], atol=0.02)


# What a trace gives


def test_series_are_in_points_or_in_the_measures_unit():
    trace = made_trace(items=12, clusters=4)
    series = item_series(trace)
    np.testing.assert_allclose(series.means, 100 * trace.counterfactual_accuracy.mean("item"))
    assert (series.unit, series.share, len(set(series.clusters))) == ("points", True, 4)
    trace["margin"].attrs["unit"] = "nats"
    margin = item_series(trace, "margin")
    assert (margin.unit, margin.share) == ("nats", False)
    np.testing.assert_allclose(margin.means, trace.margin.mean("item"))


def test_labels_count_as_context_or_not():
    trace = made_trace(items=4).isel(step=[0, 1]).drop_vars("item_cluster")
    labels = np.array([["context", "both", "parametric", ""], ["neither", "context", "context", "context"]], object)
    series = item_series(trace.assign(answer_label=(("step", "item"), labels)), "answer_label")
    np.testing.assert_allclose(series.means, [100 / 3, 75])
    assert len(set(series.clusters)) == 4


def test_known_items_alone():
    trace = made_trace(items=4)
    with pytest.raises(AttnshiftError, match="known_item"):
        item_series(trace, known=True)
    told = trace.assign(known_item=("item", [1.0, 0, np.nan, 1]))
    assert item_series(told, known=True).items.tolist() == ["i0", "i3"]
    with pytest.raises(AttnshiftError, match="no item"):
        item_series(told.assign(known_item=("item", np.zeros(4))), known=True)


@pytest.mark.parametrize("measure", ["attention_mass", "gradient_norm", "nothing"])
def test_what_is_no_measure_per_item_is_refused(measure):
    with pytest.raises(AttnshiftError, match=measure) as refused:
        item_series(made_trace(), measure)
    assert "margin" in refused.value.expected
