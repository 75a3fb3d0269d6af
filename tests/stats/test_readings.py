"""Numbers per step that verdict, figures and analyses share."""

from __future__ import annotations

import numpy as np
from made_traces import made_trace

from attnshift.stats.readings import learning_rates, total_push


def test_total_push_weights_groups_by_their_share():
    trace = made_trace()
    expected = [0.4 * critical + 0.5 * other + 0.1 * rest for critical, other, rest in trace.margin_push.values]
    np.testing.assert_allclose(total_push(trace, "margin_push"), expected)
    missing = trace.margin_push.where(trace.group != "critical")
    assert np.isnan(total_push(trace.assign(margin_push=missing), "margin_push")).all()


def test_learning_rates_are_those_of_the_updates_after_a_checkpoint():
    np.testing.assert_allclose(learning_rates(lambda step: step, [0, 2, 5]), [1 + 2, 3 + 4 + 5])
