"""A tiny run and how most tests trace it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

import attnshift


def options(run: Path, out: Path, **more: Any) -> dict[str, Any]:
    return {
        "items": attnshift.load_items(run.parent / "cf.json"),
        "examples": attnshift.load_examples(run.parent / "alpaca.json"),
        "out": out,
        "max_new_tokens": 2,
        **more,
    }


def series(run: Path) -> Any:
    return attnshift.open_series(run, base=str(run.parent / "base"))


def assert_same(a: xr.Dataset, b: xr.Dataset) -> None:
    """The same variables with the same values, bit for bit."""
    assert set(a.variables) == set(b.variables)
    for name in a.variables:
        np.testing.assert_array_equal(a[name].values, b[name].values, err_msg=str(name))
