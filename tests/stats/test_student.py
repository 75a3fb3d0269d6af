"""Student's quantiles: closed forms at one and two degrees of freedom, scipy's elsewhere."""

from math import pi, sqrt, tan
from statistics import NormalDist

import numpy as np
import pytest

from attnshift.stats.student import t_quantile


@pytest.mark.parametrize("level", [0.1, 0.5, 0.9, 0.95, 0.99])
def test_quantiles_have_closed_forms(level):
    assert t_quantile(level, 1) == pytest.approx(tan(pi * level / 2))
    assert t_quantile(level, 2) == pytest.approx(level * sqrt(2 / (1 - level**2)))
    assert t_quantile(level, 1e7) == pytest.approx(NormalDist().inv_cdf((1 + level) / 2), rel=1e-6)


def test_quantiles_are_scipys():
    t = pytest.importorskip("scipy.stats").t
    df = np.array([1, 1.3, 2.5, 4, 11.7, 39, 199, 5_000])
    for level, error in ((0.5, 1e-8), (0.95, 1e-8), (0.999, 1e-5)):
        np.testing.assert_allclose(t_quantile(level, df), t.ppf((1 + level) / 2, df), rtol=error)
