"""Numbers per step that verdict, figures and analyses share."""

from __future__ import annotations

import numpy as np
import xarray as xr
from made_traces import made_trace

from attnshift.stats.readings import learning_rates, margin_label_agreement, total_push


def test_total_push_weights_groups_by_their_share():
    trace = made_trace()
    expected = [0.4 * critical + 0.5 * other + 0.1 * rest for critical, other, rest in trace.margin_push.values]
    np.testing.assert_allclose(total_push(trace, "margin_push"), expected)
    missing = trace.margin_push.where(trace.group != "critical")
    assert np.isnan(total_push(trace.assign(margin_push=missing), "margin_push")).all()


def test_learning_rates_are_those_of_the_updates_after_a_checkpoint():
    np.testing.assert_allclose(learning_rates(lambda step: step, [0, 2, 5]), [1 + 2, 3 + 4 + 5])


def test_margin_and_label_agree_where_they_name_the_same_answer():
    labels = [["context", "parametric", "both", "context"], ["neither"] * 4, ["parametric", "context", "context", ""]]
    margins = [[2.0, -1.0, 3.0, -0.5], [1.0] * 4, [1.0, 2.0, np.nan, 3.0]]
    trace = xr.Dataset({"answer_label": (("step", "item"), labels), "margin": (("step", "item"), margins)})
    np.testing.assert_allclose(margin_label_agreement(trace), [2 / 3, np.nan, 1 / 2])
    np.testing.assert_allclose(margin_label_agreement(trace.transpose("item", "step")), [2 / 3, np.nan, 1 / 2])
