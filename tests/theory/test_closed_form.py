"""What needs no simulation, held to the simulation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from attnshift.errors import AttnshiftError
from attnshift.theory import (
    PHASES,
    Setting,
    crowded_plateau,
    flip_attention,
    follow_gaps,
    invariant,
    late,
    phase_diagram,
    phase_of,
    plateau,
    simulate,
    start_push,
)
from attnshift.theory.homogeneous import gaps_of

SETTINGS = [
    Setting(n_test=1),
    Setting(n_test=1, known=0.1),
    Setting(n_test=1, n_critical=3, n_non_critical=12, delta_memory=0.8),
    Setting(n_test=1, n_non_critical=0),
    Setting(n_test=1, n_critical=0),
    Setting(n_test=1, filtered=0.25, known=0.02),
]


@pytest.mark.parametrize("setting", SETTINGS)
def test_three_gaps_are_the_homogeneous_model(setting):
    run, gaps = simulate(setting), gaps_of(setting)
    np.testing.assert_allclose(gaps.reliance, run.reliance, atol=1e-12)
    np.testing.assert_allclose(gaps.attention, run.attention, atol=1e-12)
    np.testing.assert_allclose(gaps.push, run.push, atol=1e-12)
    n_c, n_m = setting.n_critical, setting.n_non_critical - setting.n_dropped
    loss = (n_c * gaps.loss_critical + n_m * gaps.loss_non_critical) / (n_c + n_m)
    np.testing.assert_allclose(loss, run.loss, atol=1e-12)
    np.testing.assert_allclose(gaps.push_critical, run.gradient_critical, atol=1e-12)


@pytest.mark.parametrize("setting", SETTINGS)
def test_the_invariant_holds_at_every_step(setting):
    gaps, (x, y) = gaps_of(setting), invariant(setting)
    np.testing.assert_allclose(gaps.test, x * gaps.critical + y * gaps.non_critical, atol=1e-11)


@pytest.mark.parametrize("setting", SETTINGS)
def test_the_first_push(setting):
    assert start_push(setting) == pytest.approx(simulate(setting).push[0], abs=1e-14)


def test_the_flip_is_where_the_preference_flips():
    setting = Setting(n_test=1)
    run = simulate(setting)
    assert ((run.attention > flip_attention(setting)) == (run.reliance > 0.5)).all()
    assert flip_attention(Setting(delta_context=1e-4)) is None


@pytest.mark.slow
@pytest.mark.parametrize("setting", SETTINGS[:3])
def test_late_training_follows_its_asymptote(setting):
    setting = replace(setting, steps=200_000, learning_rate=2.0)
    gaps, asymptote = gaps_of(setting), late(setting)
    ends = gaps.test[[50_000, 200_000]]
    expected = [asymptote.drift * np.log(t) + asymptote.constant for t in (50_000, 200_000)]
    np.testing.assert_allclose(ends, expected, atol=0.03)
    assert ends[1] - ends[0] == pytest.approx(asymptote.drift * np.log(4), abs=0.005)


def test_the_golden_plateau():
    setting = Setting(n_test=1)
    run = simulate(setting)
    assert plateau(setting) == pytest.approx(late(setting).attention(1e6), abs=1e-12)
    assert abs(run.attention[-1] - plateau(setting)) < 0.002
    assert plateau(replace(setting, n_critical=11)) is None


def test_very_many_points_level_off_where_both_pulls_are_equal():
    setting = Setting(n_test=1, n_critical=5 * 10**6, n_non_critical=9 * 10**6, steps=3000)
    level = crowded_plateau(setting)
    assert 0.5 < level < 1
    assert gaps_of(setting).attention[-1] == pytest.approx(level, abs=1e-4)
    assert crowded_plateau(replace(setting, n_non_critical=5 * 10**6)) is None
    assert (np.diff(gaps_of(replace(setting, n_non_critical=5 * 10**6)).reliance) > 0).all()
    assert crowded_plateau(replace(setting, n_non_critical=15 * 10**6)) is None
    assert (np.diff(gaps_of(replace(setting, n_non_critical=15 * 10**6)).reliance) < 0).all()


@pytest.mark.parametrize(
    "change", [{"n_recall": 1}, {"n_counterfactual": 1}, {"spread": 0.1}, {"attention_spread": 0.1}, {"trained": "v"}]
)
def test_no_closed_form_is_given_for_another_model(change):
    setting = replace(Setting(), **change)
    assert [form(setting) for form in (start_push, invariant, late, plateau, crowded_plateau)] == [None] * 5


@pytest.mark.parametrize("change", [{"n_non_critical": 0}, {"n_critical": 0}, {"delta_memory": 0.05}])
def test_no_asymptote_without_two_pulls(change):
    assert late(replace(Setting(), **change)) is None


def test_many_settings_at_once_are_each_of_them():
    together = follow_gaps(
        np.ones(50),
        n_critical=10,
        n_non_critical=np.array([[2], [10]]),
        gap_context=3.0,
        gap_memory=np.array([4.0, 5.0, 6.0]),
        offset=-5.0,
        known=0.05,
    )
    assert together.test.shape == (51, 2, 3)
    one = follow_gaps(
        np.ones(50), n_critical=10, n_non_critical=10, gap_context=3.0, gap_memory=6.0, offset=-5.0, known=0.05
    )
    np.testing.assert_array_equal(together.test[:, 1, 2], one.test)


@pytest.mark.parametrize(
    ("reliance", "phase"),
    [
        ([0.5, 0.4, 0.3, 0.2, 0.1], "no rise"),
        ([0.2, 0.3, 0.4, 0.5, 0.6], "monotone"),
        ([0.2, 0.5, 0.6, 0.6, 0.6], "plateau"),
        ([0.2, 0.5, 0.96, 0.96, 0.96], "monotone"),
        ([0.2, 0.6, 0.5, 0.4, 0.3], "inversion"),
        ([0.2, 0.2, 0.2, 0.2, 0.2], "no rise"),
    ],
)
def test_phases(reliance, phase):
    assert PHASES[int(phase_of(np.array(reliance)))] == phase


def test_the_phase_diagram_says_what_simulations_do():
    setting = Setting(n_critical=5, n_non_critical=5, steps=200, n_test=1)
    diagram = phase_diagram(setting, known=(0.0, 0.1), delta_memory=(0.05, 0.5, 0.9), share=(0, 0.5, 1))
    assert diagram.phase.shape == (2, 3, 3)
    for z, known in enumerate((0.0, 0.1)):
        for y, memory in enumerate((0.05, 0.5, 0.9)):
            for x, n_m in enumerate((0, 5, 10)):
                counts = {"n_critical": 10 - n_m, "n_non_critical": n_m}
                run = simulate(replace(setting, known=known, delta_memory=memory, **counts))
                assert diagram.phase[z, y, x] == phase_of(run.reliance, run.ceiling)
                assert diagram.rise[z, y, x] == pytest.approx(run.reliance.max() - run.reliance[0])
                assert diagram.fall[z, y, x] == pytest.approx(run.reliance.max() - run.reliance[-1])
    inverts = diagram.phase == PHASES.index("inversion")
    assert inverts[:, 1, 1].all()
    assert not inverts[:, :, 0].any()
    assert not inverts[:, 0].any()


@pytest.mark.parametrize(
    ("options", "quoted"),
    [
        ({"share": (0.5, 1.2)}, "1.2"),
        ({"share": ()}, "[]"),
        ({"delta_memory": (0.0,)}, "delta_memory=0.0"),
        ({"known": (0.7,)}, "known=0.7"),
    ],
)
def test_axes_out_of_range_are_refused(options, quoted):
    with pytest.raises(AttnshiftError, match="expected") as caught:
        phase_diagram(Setting(), **options)
    assert quoted in str(caught.value)


def test_a_phase_diagram_of_another_model_is_refused():
    with pytest.raises(AttnshiftError, match="homogeneous"):
        phase_diagram(Setting(n_recall=3))
