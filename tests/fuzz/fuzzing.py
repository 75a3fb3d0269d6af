"""What all fuzz tests share: any input ends in a result or in one clear error.

They are seeded, the same examples every time; ``ATTNSHIFT_FUZZ=100`` makes a hundred times as many, at random.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable
from typing import Any, TypeVar

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

from attnshift.data.templates import PromptError
from attnshift.errors import AttnshiftError

MORE = int(os.environ.get("ATTNSHIFT_FUZZ", "1"))
T = TypeVar("T")


def fuzz(examples: int) -> settings:
    """Settings of a fuzz test that is worth so many examples in an ordinary run."""
    return settings(
        max_examples=examples * MORE,
        derandomize=MORE == 1,
        deadline=None,
        database=None,
        phases=(Phase.explicit, Phase.generate),  # shrinking takes longer than reading what was found
        suppress_health_check=list(HealthCheck),
    )


def result_or_error(call: Callable[..., T], *arguments: Any, **options: Any) -> T | None:
    """What a call returns, or None where it ends in one clear error; anything else it raises is a defect."""
    try:
        with warnings.catch_warnings(action="ignore", category=UserWarning):
            return call(*arguments, **options)
    except AttnshiftError as error:
        told = error
    assert told.problem.strip()
    # A datapoint's reason is told among others; every other error says what to do.
    assert told.expected or told.remedy or isinstance(told, PromptError), f"this says nobody what to do: {told}"
    return None


TEXT = st.text(max_size=12) | st.sampled_from(
    ["", " ", "\n", "\x00", "\ud800", "NaN", "1", "-1", "1e999", "٣", "😀", "[]"]
)
NUMBERS = st.integers() | st.floats() | st.sampled_from([0, 1, -1, 2**31, 2**63, 10**30, 10**400])
LEAVES = st.none() | st.booleans() | NUMBERS | TEXT


def json_values(keys: st.SearchStrategy[str] = TEXT, leaves: int = 20) -> st.SearchStrategy[Any]:
    """Any JSON value, with objects of these keys."""
    return st.recursive(
        LEAVES,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=6),
        max_leaves=leaves,
    )


def as_json(value: Any) -> str:
    """As Python writes it: NaN, infinite and huge numbers too."""
    return json.dumps(value)


ODD_JSON = st.sampled_from(
    ["[" * 100_000, '{"a":' * 50_000, "9" * 5000, "1" + "0" * 400, "NaN", "-Infinity", '"\\ud800"', "{}{}"]
)
CUTS = st.floats(0, 1)


def broken(content: bytes) -> st.SearchStrategy[bytes]:
    """A file with a stretch of it cut out, overwritten or put in."""

    def change(how: tuple[str, float, bytes]) -> bytes:
        kind, place, more = how
        at = int(place * len(content))
        rest = {"cut": at + len(more), "overwritten": at + len(more), "put in": at}[kind]
        return content[:at] + (b"" if kind == "cut" else more) + content[rest:]

    kinds = st.sampled_from(["cut", "overwritten", "put in"])
    return st.tuples(kinds, CUTS, st.binary(min_size=1, max_size=8)).map(change)
