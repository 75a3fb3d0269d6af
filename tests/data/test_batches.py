"""Batches hold every sequence once and stay within their budget; padding comes off as it went on."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attnshift.data.batches import NO_TOKEN, length_batches, pad, unpad


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 60), max_size=40), st.integers(0, 200))
def test_length_batches(lengths, budget):
    batches = length_batches(lengths, budget)
    assert sorted(int(i) for batch in batches for i in batch) == list(range(len(lengths)))
    longest = [max(lengths[i] for i in batch) for batch in batches]
    assert longest == sorted(longest, reverse=True)
    for batch, width in zip(batches, longest, strict=True):
        assert len(batch) == 1 or len(batch) * max(width, 1) <= budget
    again = length_batches(np.array(lengths, np.int64), budget)
    assert [batch.tolist() for batch in again] == [batch.tolist() for batch in batches]


def test_no_batch_could_take_the_next_sequence():
    assert [batch.tolist() for batch in length_batches([3, 9, 3, 10, 5, 3], 20)] == [[3, 1], [4, 0, 2, 5]]


def test_equal_lengths_keep_their_order():
    assert [batch.tolist() for batch in length_batches([4] * 5, 8)] == [[0, 1], [2, 3], [4]]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.lists(st.integers(0, 2**31 - 1), max_size=8), max_size=6), st.integers(0, 10))
def test_unpad_undoes_pad(rows, width):
    padded = pad((row for row in rows), NO_TOKEN, width)
    assert padded.shape == (len(rows), max([width, *map(len, rows)]))
    assert padded.dtype == np.int32
    assert [unpad(row).tolist() for row in padded] == rows


@pytest.mark.parametrize("dtype", [np.int8, np.int64])
def test_pad(dtype):
    padded = pad([np.array([1, 2, 3]), [4], []], 7, width=4, dtype=dtype)
    assert padded.tolist() == [[1, 2, 3, 7], [4, 7, 7, 7], [7, 7, 7, 7]]
    assert padded.dtype == dtype
