from __future__ import annotations

import math

import pytest

from attnshift.scoring.agreement import agreement


def test_kappa_of_a_textbook_table():
    """50 grants, two readers: 20 yes/yes, 5 yes/no, 10 no/yes, 15 no/no: observed .7, expected .5."""
    first = ["yes"] * 25 + ["no"] * 25
    second = ["yes"] * 20 + ["no"] * 5 + ["yes"] * 10 + ["no"] * 15
    found = agreement(first, second)
    assert found.pairs == {("yes", "yes"): 20, ("yes", "no"): 5, ("no", "yes"): 10, ("no", "no"): 15}
    assert found.percent == pytest.approx(70)
    assert found.kappa == pytest.approx(0.4)


def test_agreement_by_chance_has_no_kappa():
    assert agreement(["a"] * 10 + ["b"] * 10, (["a"] * 5 + ["b"] * 5) * 2).kappa == pytest.approx(0)
    assert agreement(["a", "b"], ["b", "a"]).kappa == pytest.approx(-1)
    assert agreement(["a", "b"], ["a", "b"]).kappa == 1


def test_where_there_is_nothing_to_say():
    assert math.isnan(agreement(["a", "a"], ["a", "a"]).kappa)
    assert agreement(["a", "a"], ["a", "a"]).percent == 100
    assert math.isnan(agreement([], []).percent)
    assert math.isnan(agreement([], []).kappa)
