"""What every result of an intervention says of itself."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import xarray as xr

from attnshift.interventions.setup import Bench
from attnshift.tracing.schema import inputs_dataset

FORMAT = 1
"""Version of the files' layout."""


def about(unit: str, meaning: str, key: str) -> dict[str, str]:
    """Attributes of a variable."""
    return {"unit": unit, "measure": meaning, "key": f"{key}/{FORMAT}"}


def common(bench: Bench, kind: str, done: Mapping[str, Any]) -> tuple[xr.Dataset, dict[str, Any]]:
    """What every result holds: prompts and texts that were fed, and what was done, to be recomputed by anyone."""
    job = bench.job
    manifest = {
        "kind": kind,
        "source": bench.pair.source.about(),
        "target": bench.pair.target.about(),
        **job.recipe(job.inputs),
        "token_budget": job.settings.token_budget,
        "device": str(job.placement),
        "versions": {name: version(name) for name in ("attnshift", "torch", "transformers")},
        **done,
    }
    inputs = inputs_dataset(job.inputs, {}).drop_dims(["role", "group"], errors="ignore")
    return inputs, {"kind": kind, "manifest": json.dumps(manifest, ensure_ascii=False)}
