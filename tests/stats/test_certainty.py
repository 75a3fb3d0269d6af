"""How sure a verdict is, in numbers and in words."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from attnshift.stats.certainty import certainty
from attnshift.stats.flips import flips
from attnshift.stats.intervals import cluster_wilson
from attnshift.stats.inversion import inversion_test
from attnshift.stats.paired import holm, mcnemar
from attnshift.stats.verdict import verdict

FALLS = [5, 20, 45, 60, 66, 61, 64, 55, 43, 36, 30, 26, 25, 24]


def shares(hits, items=100, clusters=None, seed=0) -> xr.Dataset:
    """A trace with so many items right at each step, the easiest first; memory answers the rest."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(items)
    right = np.array([order < round(count * items / 100) for count in hits]).astype(float)
    return xr.Dataset(
        {"counterfactual_accuracy": (("step", "item"), right), "parametric_accuracy": (("step", "item"), 1 - right)},
        {
            "step": [10 * k for k in range(len(hits))],
            "item": [f"i{k}" for k in range(items)],
            "item_cluster": ("item", [f"q{k % (clusters or items)}" for k in range(items)]),
        },
    )


def test_numbers_are_those_of_the_statistics():
    trace = shares(FALLS, clusters=25)
    found = verdict(trace).certainty
    values = trace.counterfactual_accuracy.values
    for place, (low, high) in zip((0, 4, 13), found.intervals, strict=True):
        expected = cluster_wilson(values[place], trace.item_cluster.values)
        assert (low, high) == (100 * expected.low, 100 * expected.high)
    assert found.inversion == inversion_test(trace)
    assert found.flips == flips(trace, 40, 130)
    tests = [mcnemar(values[a], values[b]) for a, b in ((0, 4), (4, 13), (0, 13))]
    assert [pair.mcnemar for pair in found.pairs] == tests
    assert [pair.holm for pair in found.pairs] == holm([test.p_value for test in tests])
    assert found.clusters == 25


def test_a_fall_beyond_noise_is_said_to_be_one():
    told = verdict(shares(FALLS)).sentences()
    assert any(s.startswith("The fall is more than checkpoint noise (") and "it is at least " in s for s in told)
    assert any("42 items flip to memory and 0 to the context; 35 and 0" in s for s in told)
    assert any("McNemar, corrected for three comparisons: p < .001." in s for s in told)
    assert any("could as well lie anywhere from step 30 to " in s for s in told)
    clustered = verdict(shares(FALLS, clusters=20)).sentences()
    assert any("flipping whole clusters: p < .001." in s for s in clustered)


def test_one_high_checkpoint_is_no_peak():
    spike = [30, 32, 29, 31, 33, 30, 47, 31, 30, 32, 29, 31, 30, 31]
    told = verdict(shares(spike)).sentences()
    assert any(s.startswith("That fall may be checkpoint noise (") for s in told)


def test_a_rise_alone_shows_no_fall():
    told = verdict(shares([5, 20, 35, 45, 52, 57, 60, 62, 63, 64, 64, 65])).sentences()
    assert any(s.startswith("No fall beyond checkpoint noise (") for s in told)
    assert not any("flip to memory" in s for s in told)


def test_few_checkpoints_say_that_they_are_few():
    told = verdict(shares([10, 60, 20])).sentences()
    assert any("can't be said: 3 checkpoints are too few to tell a fall from noise (at least 7)." in s for s in told)
    assert not any("nan" in s for s in told)


def test_unmeasured_steps_are_no_checkpoints():
    trace = shares(FALLS)
    holed = trace.where(trace.step != 20)
    assert verdict(holed).certainty.inversion.checkpoints == 13


@pytest.mark.parametrize("items", [1, 2])
def test_hardly_any_items(items):
    trace = shares([0, 100, 0] * 3, items=items, clusters=1)
    found = certainty(trace, (0, 1, 8))
    assert len(found.sentences(10, clear=True)) >= 2
