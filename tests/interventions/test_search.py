"""The greedy search on functions whose best sets are known."""

from __future__ import annotations

import numpy as np
import pytest

from attnshift.errors import AttnshiftError
from attnshift.interventions.search import Goal, Wanted, search
from attnshift.interventions.units import Unit

UNITS = {name: Unit(name, 0) for name in "abcd"}


def goal_of(worth, share=0.8, criteria=("margin",)):
    """``worth`` gives the mean margin of a set by its letters; 0 is the target's, 10 the source's."""
    source, target = np.full(6, 10.0), np.zeros(6)

    def read(units, name):
        return np.full(6, worth("".join(sorted(unit.part for unit in units))))

    ends = dict.fromkeys(criteria, source), dict.fromkeys(criteria, target)
    return Goal(read, *ends, criteria, share, np.ones(6, bool))


def letters(units):
    return "".join(sorted(unit.part for unit in units))


def run(worth, **options):
    return search(goal_of(worth, **options), [frozenset([unit]) for unit in UNITS.values()])


def test_takes_what_restores_most_until_enough():
    found = run(lambda s: sum({"a": 1, "b": 5, "c": 3.5, "d": 0.5}[x] for x in s))
    assert [letters(step) for step in found.path] == ["b", "bc"]
    assert letters(found.found) == "bc"
    assert found.reached


def test_what_turned_out_needless_goes():
    """a is best alone; b and c together do without it."""
    worth = {"": 0, "a": 4, "b": 3, "c": 2, "ab": 6, "ac": 5, "bc": 9, "abc": 9.5}
    found = run(lambda s: worth.get(s.replace("d", ""), 0))
    assert [letters(step) for step in found.path] == ["a", "ab", "abc"]
    assert letters(found.found) == "bc"


def test_stops_where_nothing_helps_and_says_so():
    found = run(lambda s: 3 if "a" in s else -len(s))
    assert letters(found.found) == "a"
    assert not found.reached


def test_several_criteria_all_count():
    found = run(lambda s: 3 * len(s), criteria=("margin", "counterfactual_accuracy"))
    assert len(found.found) == 3
    goal = goal_of(lambda s: 3 * len(s))
    assert goal.restored(frozenset(UNITS.values()), "margin") == pytest.approx(1.2)


def test_a_wish_that_makes_no_sense_is_refused():
    with pytest.raises(AttnshiftError, match="'loss' can't be restored"):
        Wanted(("loss",))
    with pytest.raises(AttnshiftError, match="a search for 0 of margin"):
        Wanted(("margin",), 0.0)
    with pytest.raises(AttnshiftError, match="of nothing"):
        Wanted(())
