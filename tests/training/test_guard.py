"""A guard: what its rules decide, and that training takes the weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made import base_of, data_of

import attnshift
from attnshift.errors import AttnshiftError
from attnshift.training.finetune import finetune
from attnshift.training.guard import Fall, Guard, Push, Rule, Seen

SHARES = st.floats(0, 1)


@given(SHARES, SHARES, st.floats(0.01, 1))
def test_the_further_reliance_falls_the_less_non_critical_examples_count(a, b, tolerance):
    rule, highest = Fall(tolerance), max(a, b)
    weights = [rule.weight("non_critical", Seen(now, highest, {})) for now in sorted((a, b))]
    assert 0 <= weights[0] <= weights[1] == 1
    assert (weights[0] == 0) == (abs(a - b) >= tolerance) or abs(abs(a - b) - tolerance) < 1e-9
    assert rule.weight("critical", Seen(min(a, b), highest, {})) == 1


@given(st.dictionaries(st.sampled_from(["critical", "non_critical", "no_context"]), st.floats(-9, 9), min_size=1))
def test_groups_that_push_to_memory_do_not_count_but_some_group_does(push):
    weights = {group: Push().weight(group, Seen(0.5, 0.5, push)) for group in push}
    assert max(weights.values()) == 1
    for group, weight in weights.items():
        assert weight == (push[group] >= 0 or push[group] == max(push.values()))


@dataclass(frozen=True)
class Fixed(Rule):
    """As it is told."""

    non_critical: float

    def weight(self, group: str, seen: Seen) -> float:
        return self.non_critical if group == "non_critical" else 1.0


@pytest.fixture(scope="module")
def finetuned(tmp_path_factory):
    folder = tmp_path_factory.mktemp("guard")
    base, files = base_of(folder / "base"), data_of(folder)
    examples, items = attnshift.load_examples(files[0]), attnshift.load_items(files[1])
    options = {"steps": 4, "batch_size": 8, "learning_rate": 1e-2, "saves": 3, "template": "alpaca", "device": "cpu"}

    def run(name: str, *callbacks: Guard, **more):
        made = finetune(base, examples, folder / name, items=items, callbacks=callbacks, **options, **more)
        return attnshift.open_series(made)

    return run, items


def test_a_guard_with_nothing_to_do_leaves_the_training_as_it_is(finetuned):
    run, items = finetuned
    guard = Guard(items, Fixed(1.0), every=2)
    guarded = run("same", guard)
    assert guarded.run.digests == run("plain").run.digests
    seen = attnshift.open_trace(guarded.run.path / "guard")
    assert seen.step.values.tolist() == [step for step, _, _ in guard.decisions] == [0, 2, 4]
    reliance = (1 / (1 + np.exp(-seen.margin))).mean("item").values
    np.testing.assert_allclose([s.reliance for _, s, _ in guard.decisions], reliance)
    np.testing.assert_allclose([s.highest for _, s, _ in guard.decisions], np.maximum.accumulate(reliance))


def test_the_weights_are_those_of_the_loss(finetuned):
    """Their mean is 1, and the training is another one."""
    run, items = finetuned
    guard = Guard(items, Fixed(0.25), every=3)
    guarded = run("weighted", guard)
    weights, groups = guard._rows.weights, np.array([e.group for e in guard._rows.examples])
    assert weights.mean() == pytest.approx(1)
    assert set(weights[groups == "non_critical"] * 4) == set(weights[groups == "critical"])
    assert guarded.run.digests != run("plain").run.digests


@pytest.mark.slow
def test_pushes_are_those_of_a_trace(finetuned):
    run, items = finetuned
    guard = Guard(items, Push(), every=2)
    series = run("pushed", guard)
    later = attnshift.trace(
        series,
        items=items,
        examples=guard._live.task.inputs.examples,
        measures=["margin_push"],
        out=series.run.path / "later",
        limit=None,
    )
    for step, seen, weights in guard.decisions:
        expected = later.margin_push.sel(step=step)
        for group, push in seen.push.items():
            assert push == pytest.approx(float(expected.sel(group=group)), rel=1e-4)
            assert weights[group] == (push >= 0 or push == max(seen.push.values()))


def test_another_trainers_data_is_refused(finetuned):
    _, items = finetuned

    class Loader:
        dataset: ClassVar = ["a", "b"]

    with pytest.raises(AttnshiftError, match=r"data \(list\) can't be weighted by group"):
        Guard(items, Fall()).on_train_begin(None, None, None, train_dataloader=Loader)
