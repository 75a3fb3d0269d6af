"""The checks: each comes out as it should on a trace made to fail it."""

from __future__ import annotations

import json

import numpy as np
import pytest
import xarray as xr
from made_page import reportable

from attnshift.report.checks import STATES, checks_of


def check(trace, about: str):
    return next(check for check in checks_of(trace) if check.about == about)


def test_a_sound_trace_passes_all_that_a_trace_can_tell():
    states = {each.about: each.state for each in checks_of(reportable())}
    assert states.pop("End of target") == "unknown"
    assert states.pop("Margin and text") == "look"  # made-up answers have nothing to do with made-up margins
    assert states.pop("Answers") in ("look", "pass")
    assert states.pop("Fall and noise") in ("look", "pass")
    assert set(states.values()) == {"pass"}


def test_the_urgent_comes_first():
    trace = reportable().assign_attrs(failed='{"50": "torn"}')
    states = [list(STATES).index(each.state) for each in checks_of(trace)]
    assert states == sorted(states)
    assert checks_of(trace)[0].about == "Checkpoints"


@pytest.mark.parametrize(
    ("about", "attributes", "state", "words"),
    [
        ("Checkpoints", {"failed": '{"50": "torn\\nfile"}'}, "failed", "step 50: torn"),
        ("Template", {"template": "plain"}, "look", "what training used"),
        ("Left out", {"dropped": json.dumps([{"id": "a", "reason": "too long"}] * 3)}, "look", "3: 3 × too long"),
        ("Groups", {"grouped_on_step": 0, "grouping": "the 25 %"}, "pass", "the 25 %"),
        ("Groups", {"grouped_on_step": 50, "grouping": "the 25 %"}, "look", "finetuned already"),
        ("End of target", {"target_eos": "False"}, "unknown", "without EOS"),
        ("Space before answers", {"answer_spelling": "as rendered"}, "pass", "as rendered"),
        ("Space before answers", {"answer_spelling": "as rendered; in doubt for 2 of 9"}, "look", "2 of 9"),
    ],
)
def test_attributes(about, attributes, state, words):
    found = check(reportable().assign_attrs(attributes), about)
    assert found.state == state
    assert words in found.line


@pytest.mark.parametrize("about", ["Template", "Left out", "Groups", "End of target", "First tokens", "Known facts"])
def test_what_the_trace_does_not_tell_is_not_known(about):
    trace = reportable()
    trace.attrs = {}
    trace = trace.drop_vars(["context_answer_ids", "logprob_parametric_closed_book", "checkpoint_digest"])
    assert check(trace, about).state == "unknown"
    assert check(trace, "Weights").state == "unknown"


def test_twins_a_missing_base_and_mixed_precision():
    trace = reportable(steps=(10, 50, 100, 200))
    trace = trace.assign_coords(
        checkpoint_digest=("step", np.array(["a", "b", "a", "c"], object)),
        dtype=("step", np.array(["float32", "bfloat16", "float32", "float32"], object)),
    )
    assert check(trace, "Weights").line == "steps 10, 100 share their weights"
    assert check(trace, "Start").state == "look"
    assert "bfloat16 and float32" in check(trace, "Precision").line


def test_gaps_are_named():
    trace = reportable()
    trace["margin"] = trace.margin.where(trace.step < 200)
    assert check(trace, "Completeness").line == "not measured everywhere: margin (4 of 8 steps)"


def test_answers_that_share_tokens():
    trace = reportable().drop_vars(["context_answer_ids", "parametric_answer_ids"])
    trace["context_answer_ids"] = (("item", "answer_position"), np.tile([6, 7], (20, 1)))
    other = np.tile([6, 8], (20, 1))
    other[:3] = [6, -1]
    other[10:] = [9, 7]
    trace["parametric_answer_ids"] = (("item", "answer_position"), other)
    found = check(trace, "First tokens")
    assert found.state == "look"
    assert "10 of 20 items" in found.line
    assert "3 have none" in found.line


def test_facts_that_the_base_does_not_know():
    trace = reportable()
    closed = trace.logprob_parametric_closed_book.values.copy()
    closed[0, :8] = -3
    trace["logprob_parametric_closed_book"] = (("step", "item"), closed)
    found = check(trace, "Known facts")
    assert (found.state, "60 % of the items" in found.line) == ("look", True)
    trace["known_item"] = ("item", np.ones(20))
    assert check(trace, "Known facts").line == "20 of 20 items were known closed book"
    assert check(trace, "Known facts").state == "pass"


def test_facts_that_are_forgotten_on_the_way():
    trace = reportable()
    trace["known_item"] = ("item", np.arange(20) < 16)
    still = np.ones((8, 20))
    still[-1, :8] = 0
    trace["still_known"] = (("step", "item"), still)
    found = check(trace, "Known facts")
    assert found.state == "look"
    assert "16 of 20 items were known closed book; 50 % of these still at the last step" in found.line


def test_margins_that_agree_with_the_answers():
    trace = reportable()
    labels = trace.counterfactual_accuracy - trace.parametric_accuracy
    trace["margin"] = labels + 0.1
    found = check(trace, "Margin and text")
    assert found.state == "pass"
    assert "100 % are the one" in found.line
    trace["margin"] = xr.where(trace.step == 50, -1, 1) * (labels + 0.1)
    found = check(trace, "Margin and text")
    assert found.state == "look"
    assert "lowest 0 %, at step 50" in found.line


def with_means(shares, items=200):
    """A trace whose counterfactual accuracy is that share of the items at every step."""
    trace = reportable(items=items, steps=tuple(range(len(shares))))
    ranks = np.arange(items) / items
    right = (ranks < np.array(shares)[:, None]).astype(float)
    return trace.assign(counterfactual_accuracy=(("step", "item"), right))


RISES = [0.1, 0.2, 0.3, 0.4, 0.5, 0.55, 0.6]


@pytest.mark.parametrize(
    ("shares", "state"),
    [
        ([*RISES, 0.62, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1], "pass"),  # a fall beyond noise
        ([*RISES, 0.62, 0.63, 0.64, 0.65, 0.66, 0.66, 0.66], "pass"),  # none, and none is told
        ([0.2, 0.6, 0.3, 0.7, 0.2, 0.6, 0.3, 0.7, 0.2, 0.6, 0.3, 0.7, 0.2, 0.5], "look"),  # a peak within noise
        ([0.1, 0.5, 0.2], "unknown"),
    ],
)
def test_a_fall_is_held_against_the_noise_of_checkpoints(shares, state):
    assert check(with_means(shares), "Fall and noise").state == state
