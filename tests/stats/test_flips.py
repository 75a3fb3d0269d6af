"""Flips between context and memory, and which of them last."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from attnshift.errors import AttnshiftError
from attnshift.stats.flips import flips

CODES = {"c": "context", "p": "parametric", "b": "both", "n": "neither", " ": ""}


def labelled(*items: str) -> xr.Dataset:
    """A trace with an item per text and a step per letter."""
    labels = np.array([[CODES[letter] for letter in item] for item in items], object).T
    coords = {"step": [10 * k for k in range(len(labels))], "item": [f"i{k}" for k in range(len(items))]}
    return xr.Dataset({"answer_label": (("step", "item"), labels)}, coords)


def test_flips_are_told_both_ways_item_by_item():
    found = flips(labelled("ccppp", "ppccc", "ccccc", "ccbbp", "cnppp", "bpppp"), 0, 40, window=0)
    assert [flip.item for flip in found.to_memory] == ["i0", "i3", "i4"]
    assert [flip.item for flip in found.to_context] == ["i1"]
    assert found.net == 2
    assert found.items == 6
    assert (found.robust_to_memory, found.robust_to_context) == (3, 1)


@pytest.mark.parametrize(
    ("item", "window", "robust"),
    [
        ("cccpp", 1, True),
        ("cccpp", 2, True),  # each checkpoint between the two belongs to the nearer one
        ("ccbpp", 2, False),
        ("cpppp", 1, False),
        ("ccncp", 1, False),
        ("cc pp", 1, True),  # unmeasured: passed over
        ("ccbpp", 1, True),  # in the middle: nobody's neighbour
    ],
)
def test_a_flip_lasts_if_its_labels_hold_nearby(item, window, robust):
    (flip,) = flips(labelled(item), 0, 40, window).to_memory
    assert flip.robust is robust


def test_neighbouring_checkpoints_are_each_others_limits():
    found = flips(labelled("ccpp", "cpcp", "pcpp", "ccpc"), 10, 20)
    assert {flip.item: flip.robust for flip in found.to_memory} == {"i0": True, "i2": False, "i3": False}
    assert {flip.item: flip.robust for flip in found.to_context} == {"i1": False}


def test_a_peak_has_neighbours_on_both_sides():
    trace = labelled("pccnpp", "nccnpp", "cccppp", "cccnpp")
    assert {flip.item: flip.robust for flip in flips(trace, 10, 50).to_memory} == {
        "i0": False, "i1": False, "i2": True, "i3": True,
    }  # fmt: skip


def test_without_labels_containment_is_read():
    trace = xr.Dataset(
        {
            "counterfactual_accuracy": (("step", "item"), [[1, 1, 1, 0, np.nan], [0, 1, 0, 0, 1.0]]),
            "parametric_accuracy": (("step", "item"), [[0, 1, 0, 1, 0], [1, 0, 0, 1, 0.0]]),
        },
        {"step": [0, 1], "item": list("abcde")},
    )
    found = flips(trace, 0, 1)
    assert [flip.item for flip in found.to_memory] == ["a"]
    assert found.to_context == ()
    assert found.items == 4


def test_known_items_alone_and_steps_that_are_there():
    trace = labelled("cp", "cp")
    with pytest.raises(AttnshiftError, match="known"):
        flips(trace, 0, 10, known=True)
    told = trace.assign(known_item=("item", [0.0, 1.0]))
    assert [flip.item for flip in flips(told, 0, 10, known=True).to_memory] == ["i1"]
    with pytest.raises(AttnshiftError, match="no step 7"):
        flips(trace, 0, 7)
    with pytest.raises(AttnshiftError, match="window of -1"):
        flips(trace, 0, 10, window=-1)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.text("cpbn ", min_size=6, max_size=6), min_size=1, max_size=8), st.integers(0, 3), st.data())
def test_flips_mirror_and_do_not_depend_on_the_order_of_items(items, window, data):
    start, end = data.draw(st.tuples(st.integers(0, 5), st.integers(0, 5)).filter(lambda pair: pair[0] != pair[1]))
    trace = labelled(*items)
    there, back = flips(trace, 10 * start, 10 * end, window), flips(trace, 10 * end, 10 * start, window)
    assert [(f.item, f.robust) for f in there.to_memory] == [(f.item, f.robust) for f in back.to_context]
    assert there.net == -back.net
    shuffled = flips(trace.isel(item=slice(None, None, -1)), 10 * start, 10 * end, window)
    assert {(f.item, f.robust) for f in shuffled.to_memory} == {(f.item, f.robust) for f in there.to_memory}
    swapped = [item.translate(str.maketrans("cp", "pc")) for item in items]
    other = flips(labelled(*swapped), 10 * start, 10 * end, window)
    assert [(f.item, f.robust) for f in other.to_context] == [(f.item, f.robust) for f in there.to_memory]
