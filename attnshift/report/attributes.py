"""Attributes of a trace that hold JSON."""

from __future__ import annotations

import json
from typing import Any

import xarray as xr


def attribute(trace: xr.Dataset, name: str, default: Any) -> Any:
    """What an attribute holds, decoded; the default where the trace doesn't have it."""
    value = trace.attrs.get(name)
    return default if value is None else json.loads(value) if isinstance(value, str) else value
