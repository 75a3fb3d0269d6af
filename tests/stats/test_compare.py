"""Two sides, paired by run and item: what is compared, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from made_traces import made_trace

from attnshift.errors import AttnshiftError
from attnshift.stats.compare import compare
from attnshift.stats.flips import flips
from attnshift.stats.hierarchy import seed_item_interval
from attnshift.stats.intervals import cluster_mean_interval
from attnshift.stats.paired import holm, mcnemar, sign_flip


def trace_of(seed: int = 0, items: int = 24, clusters: int = 8) -> xr.Dataset:
    """A made-up trace whose items have strata and texts."""
    trace = made_trace(items=items, clusters=clusters, seed=seed)
    texts = {f"item_{field}": ("item", [f"{field} {i}" for i in range(items)]) for field in ("context", "question")}
    return trace.assign(texts).assign_coords(item_stratum=("item", [f"s{i % 3}" for i in range(items)]))


def test_two_checkpoints_of_a_trace():
    trace = trace_of()
    found = compare(trace, trace, at=("peak", "end"))
    (change,) = found.changes
    (run,) = change.runs
    means = 100 * trace.counterfactual_accuracy.mean("item").values
    peak = int(means.argmax())
    assert run.steps == (trace.step.values[peak], 1400)
    assert (change.before, change.after) == pytest.approx((means[peak], means[-1]))
    before, after = trace.counterfactual_accuracy.values[[peak, -1]]
    interval = cluster_mean_interval(100 * (after - before), trace.item_cluster.values)
    assert (change.low, change.high) == (interval.low, interval.high)
    assert run.mcnemar == mcnemar(before, after)
    assert run.holm == run.mcnemar.p_value
    assert change.sign_flip == sign_flip(before, after, trace.item_cluster.values)
    assert change.flips == flips(trace, *run.steps)
    assert found.clusters == 8
    assert any("peak is a maximum" in note for note in found.notes)
    assert "McNemar is exact for items that change independently" in found.assumptions


def test_two_runs_are_compared_at_peak_and_end_and_corrected_together():
    a, b = trace_of(0), trace_of(1)
    found = compare({"x": a}, {"y": b})
    assert found.names == ("x", "y")
    assert [change.place for change in found.changes] == ["peak", "end"]
    tests = [change.runs[0].mcnemar.p_value for change in found.changes]
    assert [change.runs[0].holm for change in found.changes] == holm(tests)
    end = found.changes[1]
    assert end.change == pytest.approx(100 * float((b.counterfactual_accuracy - a.counterfactual_accuracy)[-1].mean()))
    assert any("One run a side" in note for note in found.notes)


def test_contributions_sum_to_the_change():
    for measure in ("counterfactual_accuracy", "margin"):
        for by in ("stratum", "cluster", "question"):
            for change in compare(trace_of(0), trace_of(1), measure, by).changes:
                assert sum(part.contribution for part in change.contributions) == pytest.approx(change.change)
    seeds = compare({"1": trace_of(1), "2": trace_of(2)}, {"1": trace_of(3), "2": trace_of(4)}, by="stratum")
    for change in seeds.changes:
        assert sum(part.contribution for part in change.contributions) == pytest.approx(change.change)
        assert sum(part.items for part in change.contributions) == 48


def test_a_measure_that_is_no_share_has_no_mcnemar():
    found = compare(trace_of(0), trace_of(1), "margin")
    assert found.changes[0].runs[0].mcnemar is None
    assert np.isnan(found.changes[0].runs[0].holm)
    assert "McNemar" not in found.assumptions


def test_seeds_are_paired_by_name_and_those_alone_are_told():
    a = {name: trace_of(seed) for name, seed in (("1", 1), ("2", 2), ("3", 3))}
    b = {name: trace_of(seed + 10) for name, seed in (("3", 3), ("2", 2), ("4", 4))}
    found = compare(a, b)
    assert [run.run for run in found.changes[1].runs] == ["2", "3"]
    assert any("alone has" in note and "1" in note for note in found.notes)
    changes = [
        100 * (b[name].counterfactual_accuracy - a[name].counterfactual_accuracy)[-1].values for name in ("2", "3")
    ]
    interval = seed_item_interval(changes, a["2"].item_cluster.values)
    end = found.changes[1]
    assert (end.low, end.high) == (interval.low, interval.high)
    assert end.change == pytest.approx(np.mean(changes))
    assert end.sign_flip in (0.5, 1)  # two runs: four signs
    with pytest.raises(AttnshiftError, match="has the runs"):
        compare(a, {"5": trace_of(), "6": trace_of()})


def test_seeds_with_items_of_their_own_draw_runs_alone():
    """The same ids, other texts: worlds of a seed."""

    def world(seed, number):
        trace = trace_of(number)
        return trace.assign(item_question=("item", [f"{seed} asks {i}" for i in range(24)]))

    a, b = ({str(s): world(s, 10 * side + s) for s in range(3)} for side in (1, 2))
    found = compare(a, b)
    changes = [100 * (b[s].counterfactual_accuracy - a[s].counterfactual_accuracy)[-1].values for s in a]
    interval = seed_item_interval(changes, None)
    assert (found.changes[1].low, found.changes[1].high) == (interval.low, interval.high)
    assert found.clusters == 24
    assert "each has items of its own" in found.assumptions
    with pytest.raises(AttnshiftError, match="one item in the first trace and another"):
        compare(a["0"], b["1"])


def test_common_items_alone_are_paired_and_that_is_told():
    a, b = trace_of(0), trace_of(1).isel(item=slice(20, 4, -1))
    found = compare(a, b)
    assert found.changes[0].runs[0].items == 16
    assert any("Paired on the 16 items" in note and "24 and 16" in note for note in found.notes)
    expected = 100 * float((b.counterfactual_accuracy[-1] - a.counterfactual_accuracy[-1]).mean())  # aligned by id
    assert found.changes[1].change == pytest.approx(expected)
    with pytest.raises(AttnshiftError, match="share no item"):
        compare(a.isel(item=slice(0, 4)), b)


def test_known_items_alone():
    known = np.arange(24) % 2 == 0
    a, b = (trace_of(seed).assign(known_item=("item", known.astype(float))) for seed in (0, 1))
    found = compare(a, b, known=True)
    assert found.changes[0].runs[0].items == 12
    assert any("the base knew" in note for note in found.notes)
    with pytest.raises(AttnshiftError, match="no item is known in both"):
        compare(a, b.assign(known_item=("item", (~known).astype(float))), known=True)


def test_a_change_within_checkpoint_noise_is_told():
    trace = trace_of()
    trace["counterfactual_accuracy"][:] = np.array([0, 1] * 4)[:, None] * (np.arange(24) < 6)
    found = compare(trace, trace, at=(0, 10))
    assert any("within checkpoint noise" in note for note in found.notes)
    trace["counterfactual_accuracy"][:] = np.arange(8)[:, None] > 3
    assert not any("within checkpoint noise" in note for note in compare(trace, trace, at=("start", "end")).notes)


def test_labels_are_compared_and_flip():
    trace = trace_of()
    labels = np.where(trace.counterfactual_accuracy == 1, "context", "parametric").astype(object)
    found = compare(trace.assign(answer_label=(("step", "item"), labels)), trace_of(1), at=("end", "end"))
    assert found.changes[0].flips is not None
    labelled = trace[["margin"]].assign(answer_label=(("step", "item"), labels))
    alone = compare(labelled, labelled, "answer_label", at=("start", "end"))
    assert alone.changes[0].runs[0].mcnemar is not None
    bare = trace[["margin"]]
    assert compare(bare, bare, "margin", at=("start", "end")).changes[0].flips is None


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({}, "both sides are"),
        ({"at": ("end", "end")}, "both sides are"),
        ({"at": ("peak", 7)}, "no step 7"),
        ({"at": ("peak", "top")}, "@top is no checkpoint"),
        ({"at": ("peak", "end"), "by": "colour"}, "no 'colour'"),
        ({"at": ("peak", "end"), "measure": "loss"}, "'loss' is no measure"),
        ({"at": ("peak", "end"), "known": True}, "known"),
        ({"at": ("peak", "end"), "window": -2}, "window of -2"),
    ],
)
def test_what_can_not_be_compared_is_refused(options, told):
    trace = trace_of()
    with pytest.raises(AttnshiftError, match=told):
        compare(trace, trace, **options)


def test_joined_runs_are_to_be_named_instead():
    joined = xr.concat([trace_of(0), trace_of(1)], xr.Variable("run", ["x", "y"]))
    with pytest.raises(AttnshiftError, match="runs x, y"):
        compare(joined, trace_of())


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 1000))
def test_sides_mirror(seed):
    a, b = trace_of(seed), trace_of(seed + 1)
    there, back = compare(a, b).changes[1], compare(b, a).changes[1]
    assert there.change == pytest.approx(-back.change)
    assert there.runs[0].mcnemar.p_value == back.runs[0].mcnemar.p_value
    assert there.sign_flip == back.sign_flip
    assert len(there.flips.to_memory) == len(back.flips.to_context)
    assert there.flips.robust_to_memory == back.flips.robust_to_context
