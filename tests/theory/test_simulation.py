"""The one-layer model: golden values, and the oracle with full matrices for every variant."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from one_layer import compared
from one_layer import train as train_by_autograd

from attnshift.errors import AttnshiftError
from attnshift.theory import Setting, simulate
from attnshift.theory.points import make_conflicts, make_points
from attnshift.theory.simulation import train

MIXED = {"n_critical": 3, "n_non_critical": 4, "n_recall": 2, "n_counterfactual": 2, "spread": 0.7, "known": 0.1}
VARIANTS = {
    "homogeneous": {},
    "heterogeneous": {"spread": 0.7, "attention_spread": 0.15, "n_test": 5},
    "critical only": {"n_non_critical": 0},
    "recall": {"n_recall": 10},
    "counterfactual": {"n_counterfactual": 2},
    "rho": {"known": 0.1},
    "v": {"trained": "v"},
    "v, answers that training names": {"trained": "v", "n_answers": 12, "n_test": 7},
    "both": {"trained": "both"},
    "filtered": {"filtered": 0.25, "spread": 0.7},
    "all at once, qk": MIXED | {"attention_spread": 0.2, "n_test": 3},
    "all at once, v": MIXED | {"trained": "v", "n_answers": 7, "n_subjects": 3, "n_test": 3},
    "all at once, both": MIXED | {"trained": "both", "n_answers": 8, "attention_spread": 0.2, "n_test": 3},
}


@pytest.fixture(scope="module")
def golden():
    return simulate(Setting())


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_is_the_full_model_under_autograd(name):
    setting = replace(Setting(n_test=1, steps=40), **VARIANTS[name])
    ours, oracle = compared(simulate(setting)), train_by_autograd(setting)
    for quantity, values in ours.items():
        np.testing.assert_allclose(values, oracle[quantity], rtol=0, atol=1e-10, err_msg=quantity)


@pytest.mark.slow
def test_six_hundred_steps_are_still_the_full_model():
    setting = Setting(n_test=1)
    ours, oracle = compared(simulate(setting)), train_by_autograd(setting)
    for quantity, values in ours.items():
        np.testing.assert_allclose(values, oracle[quantity], rtol=0, atol=1e-10, err_msg=quantity)


def test_the_golden_values(golden):
    assert golden.reliance[[0, 18, 600]].round(3).tolist() == [0.250, 0.810, 0.472]
    assert golden.peak == 18
    assert [round(float(x), 3) for x in (golden.attention[0], golden.attention.max(), golden.attention[-1])] == [
        0.500,
        0.796,
        0.614,
    ]
    assert golden.context_wins == (3, 109)
    assert golden.counterfactual_accuracy[3:110].all()
    assert golden.counterfactual_accuracy.sum() == 107
    assert golden.loss[[0, -1]].round(3).tolist() == [2.606, 1.535]
    assert golden.push[17] > 0 > golden.push[18]


def test_critical_points_alone_are_monotone():
    run = simulate(Setting(n_non_critical=0))
    assert (np.diff(run.reliance) > 0).all()
    assert np.isnan(run.attention_non_critical).all()
    assert not run.gradient_non_critical.any()


@pytest.mark.parametrize("setting", [Setting(n_non_critical=5), Setting(filtered=0.25)])
def test_half_of_the_non_critical_points_removed(setting):
    run = simulate(setting)
    assert [round(float(run.reliance[i]), 3) for i in (run.peak, -1)] == [0.942, 0.903]


def test_many_points_invert_only_with_a_known_entity_direction():
    many = Setting(n_critical=1000, n_non_critical=1000, n_test=1)
    assert (np.diff(simulate(many).reliance) > 0).all()
    shared = simulate(replace(many, known=0.1))
    assert shared.reliance.max() - shared.reliance[-1] > 0.8


@pytest.mark.slow
@pytest.mark.parametrize(("n_non_critical", "peak", "end"), [(10, 0.777, 0.520), (5, 0.924, 0.893)])
def test_heterogeneous_golden_values_on_their_own_draws(n_non_critical, peak, end):
    """Means over 64 seeds, read at every third step; each seed's numbers come from one stream, in this order."""
    found = []
    for seed in range(64):
        setting = Setting(n_non_critical=n_non_critical, spread=0.7, attention_spread=0.15, seed=seed)
        rng, points = np.random.default_rng(seed), make_points(setting)
        critical, context, memory = (
            gap + 0.7 * rng.standard_normal(size)
            for gap, size in (
                (setting.gap_context, 10),
                (setting.gap_context, n_non_critical),
                (setting.gap_memory, n_non_critical),
            )
        )
        points = replace(points, first_gap=np.r_[critical, context], second_gap=np.r_[np.zeros(10), memory])
        tests = [gap + 0.7 * rng.standard_normal(200) for gap in (setting.gap_context, setting.gap_memory)]
        conflicts = replace(
            make_conflicts(setting, points),
            context_gap=tests[0],
            memory_gap=tests[1],
            attention_gap=0.15 * rng.standard_normal(200),
        )
        reliance = train(setting, points, conflicts).reliance[::3]
        found.append((reliance.max(), reliance[-1]))
    assert np.mean(found, 0).round(3).tolist() == [peak, end]


@pytest.mark.slow
@pytest.mark.parametrize(("n_non_critical", "peak", "end"), [(10, 0.777, 0.520), (5, 0.924, 0.893)])
def test_our_own_draws_agree_with_the_golden_means(n_non_critical, peak, end):
    base = Setting(spread=0.7, attention_spread=0.15, n_non_critical=n_non_critical)
    runs = [simulate(replace(base, seed=seed)) for seed in range(64)]
    tops, ends = np.array([(run.reliance.max(), run.reliance[-1]) for run in runs]).T
    for values, expected in ((tops, peak), (ends, end)):  # both are means of 64 draws
        assert abs(values.mean() - expected) < 4 * np.sqrt(2) * values.std() / np.sqrt(64)


def test_the_filter_drops_the_best_known_points():
    setting = Setting(spread=0.7)
    kept, all_of_them = make_points(replace(setting, filtered=0.25)), make_points(setting)
    memory = np.sort(all_of_them.second_gap[all_of_them.members("non_critical")])
    assert np.sort(kept.second_gap[kept.members("non_critical")]).tolist() == memory[:5].tolist()
    assert len(kept) == 15


def test_settings_share_what_they_have_in_common():
    few, more = (make_points(Setting(spread=1.0, n_non_critical=n)) for n in (4, 9))
    assert few.second_gap[few.members("non_critical")].tolist() == more.second_gap[10:14].tolist()
    assert (
        simulate(Setting(spread=1.0, steps=0)).margin.tolist()
        != simulate(Setting(spread=1.0, steps=0, seed=1)).margin.tolist()
    )


def test_values_alone_teach_unseen_conflicts_nothing_about_answers_that_training_never_names():
    run = simulate(Setting(trained="v", steps=50, n_test=1))
    assert np.ptp(run.reliance) == 0
    assert run.loss[-1] < run.loss[0] - 0.5


@settings(max_examples=25, deadline=None)
@given(
    n=st.tuples(*[st.integers(0, 4)] * 4).filter(any),
    delta=st.tuples(*[st.floats(0.02, 0.98)] * 2),
    known=st.floats(0, 0.4),
    spread=st.floats(0, 1),
    trained=st.sampled_from(["qk", "v", "both"]),
)
def test_training_lowers_the_loss_and_shares_stay_shares(n, delta, known, spread, trained):
    counts = dict(zip(("n_critical", "n_non_critical", "n_recall", "n_counterfactual"), n, strict=True))
    rest = {"delta_context": delta[0], "delta_memory": delta[1], "known": known, "spread": spread, "trained": trained}
    run = simulate(Setting(**counts, **rest, learning_rate=0.3, steps=15, n_test=3, n_answers=9))
    assert (np.diff(run.loss) <= 1e-12).all()
    for share in (run.attention, run.reliance, run.counterfactual_accuracy):
        assert ((share >= 0) & (share <= 1)).all()


@pytest.mark.parametrize(
    ("wrong", "quoted"),
    [
        ({"n_critical": 0, "n_non_critical": 0}, "n_critical=0"),
        ({"n_critical": -1}, "n_critical=-1"),
        ({"n_critical": 2.5}, "n_critical=2.5"),
        ({"n_test": 0}, "n_test=0"),
        ({"n_answers": 1}, "n_answers=1"),
        ({"steps": -5}, "steps=-5"),
        ({"delta_context": 0.0}, "delta_context=0.0"),
        ({"delta_memory": 1.0}, "delta_memory=1.0"),
        ({"delta_memory": float("nan")}, "delta_memory=nan"),
        ({"known": 0.5}, "known=0.5"),
        ({"spread": -0.1}, "spread=-0.1"),
        ({"filtered": 0.9}, "filtered=0.9"),
        ({"n_critical": 0, "filtered": 1.0}, "filtered=1.0"),
        ({"trained": "mlp"}, "trained='mlp'"),
        ({"learning_rate": 0.0}, "learning_rate=0.0"),
        ({"learning_rate": float("inf")}, "learning_rate=inf"),
    ],
)
def test_bad_numbers_are_refused(wrong, quoted):
    with pytest.raises(AttnshiftError, match="expected") as caught:
        Setting(**wrong)
    assert quoted in str(caught.value)


@pytest.mark.parametrize("rate", [20.0, 100.0, 1e6])
def test_a_rate_that_diverges_is_refused(rate):
    with pytest.raises(AttnshiftError, match=f"learning_rate={rate}") as caught:
        simulate(Setting(learning_rate=rate, n_test=1))
    assert "lower" in caught.value.remedy
