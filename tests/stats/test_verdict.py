"""The verdict reads its numbers off the trace."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from made_traces import made_trace

from attnshift.data.roles import CONTEXT_ROLES
from attnshift.errors import AttnshiftError
from attnshift.stats.verdict import Phases, verdict


def plateaus(counterfactual, parametric, items=100) -> xr.Dataset:
    """A trace whose accuracies are so many items at each step."""
    steps = list(range(len(counterfactual)))
    shares = {"counterfactual": counterfactual, "parametric": parametric}
    return xr.Dataset(
        {
            f"{kind}_accuracy": (("step", "item"), [[i < hits for i in range(items)] for hits in share])
            for kind, share in shares.items()
        },
        {"step": [10 * step for step in steps], "item": list(range(items))},
    )


def test_start_peak_and_end_are_those_of_the_trace():
    found = verdict(plateaus([0, 30, 64, 64, 21], [100, 60, 20, 22, 61]))
    assert found.steps == (0, 20, 40)
    assert found.counterfactual == Phases(0, 64, 21)
    assert found.parametric == Phases(100, 20, 61)
    assert found.fall == pytest.approx(43)
    assert found.to_memory == pytest.approx(100 * 41 / 43)
    assert found.context_mass is found.heldout is found.loss_share is found.gradient_ratio is found.margin_push is None
    assert found.sentences()[:2] == [
        "Counterfactual accuracy rises from 0 to 64 % at step 20, then falls by 43 points, to 21 % at step 40.",
        "95 % of that fall goes to the memorised answer, which is given for 20 % of the items at the peak and 61 % "
        "at the end.",
    ]


@pytest.mark.parametrize(
    ("counterfactual", "expected"),
    [
        ([0, 50, 95], "rises from 0 to 95 % at step 20, and does not fall clearly after that: 95 % at step 20."),
        ([0, 97, 94], "rises from 0 to 97 % at step 10, and does not fall clearly after that: 94 % at step 20."),
        ([40, 45, 20], "goes from 40 to 45 % at step 10, then falls by 25 points, to 20 % at step 20."),
        ([80, 60, 30], "is highest at step 0, at 80 %, then falls by 50 points, to 30 % at step 20."),
        ([5, 5, 5], "is highest at step 0, at 5 %, and does not fall clearly after that: 5 % at step 20."),
    ],
)
def test_words_fit_the_numbers(counterfactual, expected):
    found = verdict(plateaus(counterfactual, [50, 50, 50]))
    assert found.sentences()[0] == f"Counterfactual accuracy {expected}"
    assert len(found.sentences()) == (5 if found.fall >= 10 else 2)


def test_everything_that_the_trace_has_is_told():
    trace = made_trace(items=200)
    found = verdict(trace)
    at = [trace.step.values.tolist().index(step) for step in found.steps]
    mass = trace.attention_mass.sel(role=list(CONTEXT_ROLES)).sum("role").mean(("item", "layer", "head")).values
    assert found.context_mass is not None
    np.testing.assert_allclose(list(found.context_mass), mass[at], rtol=1e-5)
    assert found.highest_mass == (trace.step.values[mass.argmax()], pytest.approx(mass.max(), rel=1e-5))
    held = 100 * trace.exact_match.values[:, trace.split == "heldout"].mean(-1)
    np.testing.assert_allclose(list(found.heldout), held[at])
    part = {
        group: share * trace.loss.values[:, (trace.split == "train") & (trace.group_of_example == group)].mean(-1)
        for group, share in (("critical", 0.4), ("non_critical", 0.5))
    }
    expected = 100 * part["critical"] / (part["critical"] + part["non_critical"])
    np.testing.assert_allclose(list(found.loss_share), expected[at])
    ratio = trace.gradient_norm.values[:, 0] / trace.gradient_norm.values[:, 1]
    np.testing.assert_allclose(list(found.gradient_ratio), ratio[at])
    push = trace.margin_push.values * [0.4, 0.5, 0.1]
    assert found.margin_push is not None
    for name, expected in (("critical", push[:, 0]), ("non_critical", push[:, 1]), ("total", push.sum(1))):
        np.testing.assert_allclose(list(found.margin_push[name]), expected[at])
    assert f"by {push[at[0], 0]:+.2g}, {push[at[1], 0]:+.2g} and" in found.sentences()[-1]
    first, last = found.certainty.peak_range
    assert len(found.sentences()) == 8 + (first < last) + 2 * (found.fall >= 10)


def test_steps_without_a_number_are_passed_over():
    trace = plateaus([0, 30, 64, 20], [90, 60, 20, 70]).astype(float)
    for name in trace.data_vars:
        trace[name] = trace[name].where(trace.step.isin([10, 20]))
    found = verdict(trace)
    assert found.steps == (10, 20, 20)
    with pytest.raises(AttnshiftError, match="no step"):
        verdict(trace * np.nan)


def test_a_trace_without_accuracies_or_of_several_runs_has_no_verdict():
    trace = plateaus([0, 1], [1, 0])
    with pytest.raises(AttnshiftError, match="no parametric_accuracy"):
        verdict(trace.drop_vars("parametric_accuracy"))
    with pytest.raises(AttnshiftError, match="several runs"):
        verdict(xr.concat([trace, trace], xr.Variable("run", ["a", "b"])))
