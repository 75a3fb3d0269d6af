"""What `attnshift ingest` read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attnshift.console.units import shortened

if TYPE_CHECKING:
    import xarray as xr


def ingest_facts(out: Path, trace: xr.Dataset) -> dict[str, Any]:
    """An ingested trace as plain data: for every variable, how many of its values there are and where it comes from."""
    variables = {}
    for name, variable in trace.data_vars.items():
        if "step" in variable.dims:
            there = variable != "" if variable.dtype.kind in "UO" else variable.notnull()
            variables[str(name)] = {"values": int(there.sum()), "key": variable.attrs["key"]}
    return {
        "trace": str(out),
        "steps": trace["step"].values.tolist(),
        "items": trace.sizes["item"],
        "possible": trace.sizes["step"] * trace.sizes["item"],
        "variables": variables,
    }


def ingest_text(facts: Mapping[str, Any]) -> str:
    """An ingested trace as lines."""
    lines = [f"steps      {len(facts['steps'])}: {shortened(facts['steps'])}", f"items      {facts['items']}"]
    for name, told in facts["variables"].items():
        origin = "as the files state it" if told["key"].endswith("/ingested") else f"follows by {told['key']}"
        lines.append(f"  {name:32} {told['values']:>8} of {facts['possible']}, {origin}")
    return "\n".join([*lines, f"trace: {facts['trace']}"])
