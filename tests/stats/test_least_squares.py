"""The search, held to problems whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from attnshift.stats.least_squares import multistart


def test_a_linear_problem_is_solved_as_the_normal_equations_do():
    rng = np.random.default_rng(0)
    design, seen = rng.standard_normal((12, 3)), rng.standard_normal(12)
    exact, (cost,) = np.linalg.lstsq(design, seen)[:2]
    found = multistart(lambda at: design @ at.T - seen[:, None], rng.standard_normal((5, 3)))
    np.testing.assert_allclose(found.parameters, exact, atol=1e-6)
    assert found.cost == pytest.approx(cost, rel=1e-9)


def test_an_exponential_is_recovered():
    x = np.linspace(0, 3, 20)
    seen = 2.5 * np.exp(-1.7 * x) + 0.4
    starts = np.random.default_rng(0).standard_normal((30, 3))
    found = multistart(lambda at: (at[:, :1] * np.exp(-at[:, 1:2] * x) + at[:, 2:]).T - seen[:, None], starts)
    np.testing.assert_allclose(found.parameters, [2.5, 1.7, 0.4], atol=1e-6)


def test_the_deeper_of_two_valleys_is_found_from_either_side_of_the_hill():
    def residuals(at):
        return np.stack([at[:, 0] ** 2 - 1, 0.3 * (at[:, 0] - 1)])

    shallow = multistart(residuals, np.array([[-1.2]]))
    assert shallow.parameters[0] < 0
    deep = multistart(residuals, np.array([[-1.2], [-0.9], [0.7]]), keep=3)
    assert deep.parameters[0] == pytest.approx(1, abs=1e-6)
    assert deep.cost < 1e-12 < shallow.cost


@pytest.mark.filterwarnings("error")
def test_what_overflows_never_wins():
    starts = np.array([[800.0], [3.0], [np.nan]])
    found = multistart(lambda at: np.exp(at).T - 2, starts, keep=3)
    assert found.parameters[0] == pytest.approx(np.log(2), abs=1e-6)
