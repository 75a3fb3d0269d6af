"""Batches of equal size."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attnshift import AttnshiftError
from attnshift.training.batches import Batches


def made(sizes, capacity, seed=0, micro=1):
    return Batches(sizes, capacity, np.random.default_rng(seed), micro)


@given(
    st.lists(st.integers(1, 200), min_size=4, max_size=60),
    st.floats(1, 6),
    st.integers(0, 3),
    st.integers(1, 3),
)
def test_every_step_has_seen_the_same_number_of_tokens(sizes, batch, epoch, micro):
    capacity = batch * np.mean(sizes)
    try:
        batches = made(sizes, capacity, micro=micro)
    except AttnshiftError:
        assert int(sum(sizes) / capacity + 1e-9) * micro > len(sizes) or sum(sizes) < capacity
        return
    parts = batches.of_epoch(epoch)
    assert len(parts) == batches.steps_per_epoch == int(sum(sizes) / capacity + 1e-9)
    assert len(batches) == len(list(batches)) == len(parts) * micro
    assert min(map(len, parts)) >= micro
    assert len(set(np.concatenate(parts).tolist())) == sum(map(len, parts))  # nobody twice in an epoch
    if max(sizes) * (micro + 1) <= capacity:  # no batch had to be filled up
        seen = np.cumsum([np.take(sizes, part).sum() for part in parts])
        assert np.abs(seen - capacity * np.arange(1, len(parts) + 1)).max() <= max(sizes)


def test_with_ones_a_batch_is_so_many_examples_and_a_short_last_one_is_left_out():
    assert [len(batch) for batch in made(np.ones(70, int), 16).of_epoch(0)] == [16] * 4
    order = np.random.default_rng(0)
    first, second = order.permutation(70), order.permutation(70)
    for epoch, expected in enumerate((first, second)):
        np.testing.assert_array_equal(np.concatenate(made(np.ones(70, int), 16).of_epoch(epoch)), expected[:64])


def test_pieces_of_a_batch_follow_each_other():
    whole, split = made([3] * 12, 12), made([3] * 12, 12, micro=2)
    np.testing.assert_array_equal(np.concatenate(list(whole)), np.concatenate(list(split)))
    assert [len(piece) for piece in split] == [2] * 6
    split.set_epoch(1)
    np.testing.assert_array_equal(np.concatenate(list(split)), np.concatenate(whole.of_epoch(1)))


def test_too_few_examples_are_refused():
    with pytest.raises(AttnshiftError, match="3 training examples don't fill one batch: they sum to 6"):
        made([2, 2, 2], 7)
    with pytest.raises(AttnshiftError, match="too few for 2 batches of 2 parts"):
        made([5, 5, 5], 7, micro=2)
