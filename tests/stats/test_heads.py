"""Stability of head sets, and mass against effect: closed forms and pandas as the oracle of ranks."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from attnshift.data.roles import KEY_ROLES
from attnshift.errors import AttnshiftError
from attnshift.stats.heads import by_head, mass_against_effect, rank_correlation, top_overlap


def test_overlap_of_the_strongest_heads():
    values = np.array([[5.0, 4, 3, 2], [5, 3, 4, 2], [1, 2, 3, 4]])
    np.testing.assert_allclose(top_overlap(values, 2), [[1, 0.5, 0], [0.5, 1, 0.5], [0, 0.5, 1]])
    assert (top_overlap(values, 4) == 1).all()
    with pytest.raises(AttnshiftError, match="top 5 of 4"):
        top_overlap(values, 5)


@settings(max_examples=50, deadline=None)
@given(arrays(np.float64, (3, 6), elements=st.integers(0, 4).map(float)))
def test_rank_correlation_is_spearmans(values):
    expected = pd.DataFrame(values.T).corr("spearman").to_numpy()
    np.testing.assert_allclose(rank_correlation(values), expected, atol=1e-12)


def test_mass_against_effect_correlates_changes():
    mass = np.array([[0.1, 0.2, 0.3], [0.2, 0.2, 0.2], [0.2, 0.2, 0.2]])
    effect = np.array([[1.0, 1, 1], [3, 2, 1], [1, 2, 3]])
    found = mass_against_effect(mass, effect)
    assert found[0] == pytest.approx(1)
    assert np.isnan(found[1])
    assert mass_against_effect(mass[:2], -effect[:2])[0] == pytest.approx(-1)


def test_by_head_sums_roles_and_averages_items():
    values = np.random.default_rng(0).normal(size=(2, 3, 2, 4, len(KEY_ROLES)))
    trace = xr.Dataset(
        {"knockout_effect": (("step", "item", "layer", "head", "role"), values)}, {"role": list(KEY_ROLES)}
    )
    found = by_head(trace, "knockout_effect", ("context", "question"))
    at = [KEY_ROLES.index("context"), KEY_ROLES.index("question")]
    np.testing.assert_allclose(found, values[..., at].sum(-1).mean(1).reshape(2, 8))
