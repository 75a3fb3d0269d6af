"""The theory fitted to runs that are the theory, what it says of their rest, and that it never looks there."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from theory_traces import STEPS, TRUE, theory_trace

from attnshift.errors import AttnshiftError
from attnshift.stats.forecast import (
    QUANTITIES,
    along,
    forecast,
    last_change_persists,
    quadratic,
)
from attnshift.stats.measured import read_measured
from attnshift.stats.theory_fit import NOISE, fit_theory

PEAK = 7  # of the margin, in theory_trace()


def test_a_trace_is_read_as_what_it_was_made_of():
    trace = theory_trace()
    measured = read_measured(trace)
    assert measured.step.tolist() == list(STEPS)
    np.testing.assert_allclose(measured.series["margin"], trace["margin"].values.mean(1))
    attention = (measured.series["context_mass"] - TRUE["floor"]) / TRUE["reach"]
    margin = attention * TRUE["gap_context"] - (1 - attention) * TRUE["gap_memory"]
    np.testing.assert_allclose(measured.series["margin"], margin)
    assert measured.closed_book == pytest.approx(np.logaddexp(0, 4.0))
    assert measured.share == 0.5
    push = np.abs(trace["attention_push"].values)
    np.testing.assert_allclose(measured.series["push_share"], push[:, 0] / push.sum(1))


@pytest.mark.parametrize(
    ("changes", "noise", "tolerance"),
    [({}, 0.0, 0.06), ({"gap_context": 7.0, "gap_memory": 12.0, "start": -3.0}, 0.0, 0.2), ({}, 0.3, 0.35)],
    ids=["clean", "clean, other", "noisy"],
)
def test_the_parameters_of_a_run_of_the_theory_are_recovered(changes, noise, tolerance):
    scale = 0.3 if noise else 0.01  # what is believed beforehand then weighs little
    measured = read_measured(theory_trace(noise=noise, **changes))
    fit = fit_theory(measured, np.array([800]), {name: scale * value for name, value in NOISE.items()})
    true = TRUE | changes | {"elapsed": float(STEPS[-1])}
    for name, value in fit.parameters.items():
        assert value == pytest.approx(true[name], rel=tolerance), name
    assert fit.misfit["margin"] < 0.06 + 1.2 * noise
    assert fit.misfit["context_mass"] < 0.003 + 0.06 * noise


@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_the_peak_of_an_inversion_is_forecast_from_its_rise(noise):
    trace = theory_trace(noise=noise)
    for seen in (5, 7):
        found = forecast(theory_trace(noise=noise), upto=STEPS[seen - 1])
        assert found.seen == seen
        for quantity in QUANTITIES[::2]:
            assert abs(found.said[quantity].peak - PEAK) <= (1 if noise else 0) + (seen == 5)
            assert found.said[quantity].change > 0
            assert found.peak_step(quantity) == STEPS[found.said[quantity].peak]
    after = forecast(trace, upto=STEPS[PEAK + 2])
    assert all(said.change < 0 for said in after.said.values())
    assert after.said["margin"].peak == int(trace["margin"].values.mean(1).argmax())


def test_a_run_without_non_critical_pull_is_not_said_to_fall():
    found = forecast(theory_trace(gap_memory=5.0, gap_context=8.0, known=0.01), upto=STEPS[7])
    assert found.said["margin"].change > 0
    assert found.fit.path["margin"][-1] > found.fit.path["margin"][7]


@settings(max_examples=4, deadline=None)
@given(seen=st.integers(4, len(STEPS) - 1), seed=st.integers(0, 2**31))
def test_nothing_later_is_read(seen, seed):
    trace, rng = theory_trace(noise=0.3), np.random.default_rng(seed)
    changed = trace.copy(deep=True)
    for variable in changed.data_vars.values():
        if "step" in variable.dims:
            later = variable.values[seen:]
            variable.values[seen:] = rng.choice([np.nan, 1e9, -3.0], later.shape)
    ours, theirs = (forecast(one, upto=STEPS[seen - 1]) for one in (trace, changed))
    assert ours.said == theirs.said
    assert ours.fit.parameters == theirs.fit.parameters


def test_a_trace_that_ends_there_says_the_same():
    trace = theory_trace(noise=0.3)
    cut = forecast(trace.isel(step=slice(6)), ahead=STEPS[6:])
    assert cut.said == forecast(trace, upto=STEPS[5]).said


def test_later_steps_move_no_parameter():
    measured = read_measured(theory_trace().isel(step=slice(6)))
    near, far = (fit_theory(measured, np.array(ahead)).parameters for ahead in ([21], [40, 5000]))
    for name in near:
        assert near[name] == pytest.approx(far[name], rel=0.05), name


def test_what_was_not_measured_is_passed_over():
    trace = theory_trace()
    trace["margin"][3] = np.nan
    trace["loss"][4] = np.nan
    found = forecast(trace.drop_vars(["attention_push", "counterfactual_accuracy"]), upto=STEPS[7])
    assert abs(found.said["margin"].peak - PEAK) <= 1
    assert set(found.said) == {"margin", "context_mass"}
    assert np.isnan(found.fit.misfit["push_share"])


def test_the_baselines():
    steps = np.array([0, 1, 2, 4, 8, 16])
    rising = last_change_persists(steps, np.array([0.0, 1.0, 3.0]))
    assert (rising.change, rising.peak) == (2.0, 5)
    fallen = last_change_persists(steps, np.array([0.0, 3.0, 1.0]))
    assert (fallen.change, fallen.peak) == (-2.0, 1)
    x = np.log(np.maximum(steps, 1))
    parabola = 5 - (x - x[4]) ** 2
    parabola[0] = 77.0  # step 0 has no logarithm
    said = quadratic(steps, parabola[:4])
    assert said.change == pytest.approx(parabola[4] - parabola[3])
    assert said.peak == 4
    falling = quadratic(steps, -parabola[:4])
    assert (falling.change, falling.peak) == (-said.change, int((-parabola[:4]).argmax()))


def test_a_course_that_is_highest_in_the_past_leaves_the_peak_where_it_was_measured():
    assert along(np.array([0.0, 5.0, 4.0, 3.0]), np.array([6.0, 2.0])).peak == 0
    assert along(np.array([0.0, 1.0, 4.0, 3.0]), np.array([6.0, 2.0])).peak == 2


@pytest.mark.parametrize(
    ("change", "options", "quoted"),
    [
        (lambda t: t.drop_vars(["loss", "margin"]), {"upto": 45}, "margin, loss"),
        (lambda t: t.drop_vars(["loss", "margin"]), {"upto": 45}, "--measures margin,loss"),
        (lambda t: t, {"upto": 6}, "3 checkpoints"),
        (lambda t: t, {"upto": 500}, "upto=500"),
        (lambda t: t, {}, "upto=500"),
        (lambda t: t, {"upto": 45, "ahead": [40]}, "ahead=[40]"),
        (lambda t: t.isel(example=[0]), {"upto": 45}, "no non_critical"),
        (lambda t: t.expand_dims(run=["a"]), {"upto": 45}, "several runs"),
        (lambda t: t.assign(margin=t["margin"].where(t["step"] > 0)), {"upto": 45}, "first checkpoint (step 0)"),
        (lambda t: t.assign(loss_closed_book=0 * t["loss_closed_book"]), {"upto": 45}, "closed-book loss"),
    ],
)
def test_what_can_not_be_forecast_is_refused(change, options, quoted):
    with pytest.raises(AttnshiftError, match="expected") as caught:
        forecast(change(theory_trace()), **options)
    assert quoted in str(caught.value)
