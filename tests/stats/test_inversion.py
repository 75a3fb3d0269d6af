"""The inversion test: rarely wrong on series that never fall, seldom blind to those that do."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_traces import made_trace

from attnshift.errors import AttnshiftError
from attnshift.stats.inversion import LEAST_CHECKPOINTS, autocorrelation, inversion_test, p_text, windows
from attnshift.stats.noise import correlated, null_series

HILL = np.array([10, 25, 41, 52, 60, 61, 59, 60, 55, 47, 41, 36, 33, 30, 31, 30.0])


def rejected(trend: np.ndarray, noise: float, count: int, seed: int = 0, rho: float = 0.0) -> dict[str, float]:
    """Share of simulated series whose p is at most .05, for the plain and the cautious p."""
    draws = correlated(np.random.default_rng(seed).standard_normal((count, len(trend))), rho)
    tests = [inversion_test(trend + noise * draw) for draw in draws]
    return {name: float(np.mean([getattr(one, name) <= 0.05 for one in tests])) for name in ("p_value", "p_correlated")}


def test_a_clear_fall_is_found_and_told():
    rng = np.random.default_rng(0)
    found = inversion_test(HILL + rng.normal(0, 1, 16))
    assert found.reason is None
    assert found.p_value < 0.001
    assert found.fall == pytest.approx(30, abs=2)
    assert 20 < found.at_least < found.fall
    assert 3 <= found.peak[0] < found.peak[1] <= 8
    assert found.end == (13, 15)
    assert found.p_value <= found.p_correlated


@pytest.mark.parametrize("trend", ["flat", "saturating", "step"])
@pytest.mark.parametrize("checkpoints", [8, 14, 30])
def test_false_positives_are_rare(trend, checkpoints):
    place = np.linspace(0, 1, checkpoints)
    trends = {"flat": 0 * place, "saturating": 40 * (1 - np.exp(-6 * place)), "step": 40.0 * (place > 0.3)}
    assert rejected(20 + trends[trend], 2, 300, seed=checkpoints)["p_value"] <= 0.05 + 2.6 * np.sqrt(0.05 * 0.95 / 300)


@pytest.mark.slow
def test_false_positives_are_as_many_as_said():
    flat = rejected(np.full(14, 40.0), 2, 4000)
    assert flat["p_value"] == pytest.approx(0.05, abs=0.011)
    persistent = rejected(np.full(14, 40.0), 2, 4000, rho=0.5)
    assert persistent["p_value"] > 0.2  # known and told: this is what the cautious p is for
    assert persistent["p_correlated"] == pytest.approx(0.05, abs=0.011)


def test_a_fall_is_seldom_missed():
    assert rejected(HILL, 2, 100)["p_value"] == 1
    tenth = np.where(np.arange(16) < 5, HILL, 60 - np.linspace(0, 10, 16).clip(0, 10))
    assert rejected(tenth, 2, 200)["p_value"] > 0.6


def test_the_lower_bound_is_one():
    """It lies above the true fall of 30 points in at most one series of twenty."""
    draws = 2 * np.random.default_rng(5).standard_normal((300, len(HILL)))
    truth = inversion_test(HILL).fall
    bounds = np.array([inversion_test(HILL + draw).at_least for draw in draws])
    assert np.mean(bounds > truth) <= 0.05 + 2.6 * np.sqrt(0.05 * 0.95 / 300)
    assert np.median(bounds) > 0.6 * truth


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10_000), st.sampled_from([7, 14, 30]), st.floats(0.01, 100), st.floats(-500, 500))
def test_scale_and_height_change_no_p(seed, checkpoints, scale, height):
    values = np.random.default_rng(seed).normal(size=checkpoints)
    one, other = inversion_test(values), inversion_test(height + scale * values)
    assert other.p_value == pytest.approx(one.p_value, abs=1e-4)
    assert other.fall == pytest.approx(scale * one.fall, abs=1e-6 * (1 + abs(height)))
    assert 0 < one.p_value <= one.p_correlated <= 1


def test_too_few_checkpoints_say_so():
    found = inversion_test(np.array([10, 40, 60, 50, 30, 10.0]))
    assert found.checkpoints == LEAST_CHECKPOINTS - 1
    assert found.reason is not None
    assert "6 checkpoints are too few" in found.reason
    assert np.isnan([found.p_value, found.fall, found.at_least]).all()
    assert found.warning is None


def test_noise_known_from_elsewhere_is_used():
    values = HILL + np.random.default_rng(1).normal(0, 2, 16)
    assert inversion_test(values, noise=2).p_value < 0.001
    assert inversion_test(values, noise=40).p_value > 0.2
    with pytest.raises(AttnshiftError, match="noise=0"):
        inversion_test(values, noise=0)


def test_series_without_any_noise():
    assert inversion_test(np.zeros(9)).p_value == 1
    assert inversion_test(np.arange(9.0)).p_value == 1
    assert inversion_test(-np.arange(9.0)).p_value < 0.001  # a bare series: nothing tells of items


def test_items_set_a_floor_to_the_noise():
    """A fall of one item each checkpoint, in a straight line: second differences see no noise at all."""
    trace = made_trace(steps=tuple(range(12)), items=20)
    hits = np.arange(20) < 14 - np.arange(12)[:, None]
    lone = trace.assign(counterfactual_accuracy=(("step", "item"), hits.astype(float)))
    found = inversion_test(lone)
    assert found.noise.items == pytest.approx(100 * np.sqrt(1 / (2 * 20**2)))
    shared = inversion_test(lone.assign_coords(item_cluster=("item", ["q"] * 20)))
    assert shared.p_value == found.p_value  # one item a step, whatever its cluster


def test_persistent_noise_is_suspected():
    """A warning that is right only now and then on 14 checkpoints: docs/statistics.md has its rates."""
    rng = np.random.default_rng(0)
    usual = np.quantile(autocorrelation(null_series(40)), 0.9)
    persistent = correlated(rng.standard_normal((2000, 40)), 0.5)
    assert (autocorrelation(persistent) > usual).mean() > 0.5
    assert (autocorrelation(rng.standard_normal((2000, 40))) > usual).mean() == pytest.approx(0.1, abs=0.025)
    told = inversion_test(persistent[autocorrelation(persistent).argmax()])
    assert told.suspicious
    assert told.warning is not None
    assert p_text(told.p_correlated) in told.warning


def test_windows_grow_with_the_series():
    assert [windows(count) for count in (7, 12, 24, 48, 100)] == [(3, 2), (3, 3), (5, 5), (7, 7), (7, 7)]


@pytest.mark.parametrize(("p", "text"), [(0.0004, "p < .001"), (0.0123, "p = .012"), (0.3, "p = .30"), (1, "p = 1.00")])
def test_p_values_in_words(p, text):
    assert p_text(p) == text
