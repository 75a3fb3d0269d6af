"""How `analyses.forecast` keeps the score."""

from __future__ import annotations

import numpy as np
from theory_traces import STEPS, theory_trace

from analyses.forecast import METHODS, THEORY, Outcome, differences, outcomes, table
from attnshift.stats.forecast import QUANTITIES, forecast


def test_every_forecast_is_scored_against_what_came():
    trace = theory_trace(steps=STEPS[:7], noise=0.5)
    found = list(outcomes("a", trace))
    assert {(one.seen, one.quantity, one.method) for one in found} == {
        (seen, quantity, method) for seen in (5, 6) for quantity in QUANTITIES for method in METHODS
    }
    margin = trace["margin"].values.mean(1)
    for seen in (5, 6):
        said = forecast(trace, upto=STEPS[seen - 1]).said["margin"]
        (one,) = [o for o in found if (o.seen, o.quantity, o.method) == (seen, "margin", THEORY)]
        assert one.right == (np.sign(said.change) == np.sign(margin[seen] - margin[seen - 1]))
        assert one.error == abs(said.peak - margin.argmax())
        assert one.before == (margin.argmax() >= seen)
    behind = [o for o in found if o.method == "it is behind us" and o.quantity == "margin"]
    assert all(np.isnan(one.right) for one in behind)
    assert [one.error for one in behind] == [margin.argmax() - margin[:seen].argmax() for seen in (5, 6)]


def test_tables_are_means_by_method_and_paired_differences():
    made = [
        Outcome(seed, seen, quantity, method, float(method == THEORY), 1 + (method != THEORY), seen == 5)
        for seed in "abc"
        for seen in (5, 6)
        for quantity in QUANTITIES
        for method in METHODS
    ]
    rows = [line.split("|")[2:-1] for line in table(made)[2:]]
    assert [row[0].strip() for row in rows] == list(METHODS) * len(QUANTITIES)
    assert [cell.strip() for cell in rows[0][1:]] == ["1.00 (1.00 to 1.00)"] * 3
    assert [cell.strip() for cell in rows[1][1:]] == ["0.00 (0.00 to 0.00)"] + ["2.00 (2.00 to 2.00)"] * 2
    apart = differences(made)[2].split("|")[3:-1]
    assert [cell.strip() for cell in apart] == ["+1.00 (+1.00 to +1.00)"] + ["-1.00 (-1.00 to -1.00)"] * 2


def test_a_run_too_short_for_a_forecast_has_no_score():
    assert list(outcomes("a", theory_trace(steps=STEPS[:5]))) == []
