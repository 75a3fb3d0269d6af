"""Results of interventions on disk: a labelled netCDF file, and beside it what was done as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import xarray as xr

from attnshift.errors import AttnshiftError
from attnshift.interventions.setup import Bench
from attnshift.tracing.atomic import atomic
from attnshift.tracing.netcdf import read_netcdf, write_netcdf
from attnshift.tracing.schema import inputs_dataset

KINDS = ("patch", "graft")

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


def write_result(result: xr.Dataset, out: str | Path, kind: str) -> Path:
    """Write a result and its manifest, each whole or not at all.

    ``out`` is a file that ends in .nc, or a folder, in which ``patch.nc`` or ``graft.nc`` is made. The manifest lies
    beside it under the same name with .json. Raises AttnshiftError where it can't be written.
    """
    path = Path(out)
    path = path if path.suffix == ".nc" else path / f"{kind}.nc"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_netcdf(result, path)
        with atomic(path.with_suffix(".json")) as temporary:
            said = json.dumps(json.loads(result.attrs["manifest"]), indent=1, ensure_ascii=False)
            temporary.write_text(said + "\n", encoding="utf-8")
    except OSError as error:
        raise AttnshiftError(
            f"the result can't be written to {str(path)!r}: {error.strerror or error}",
            expected="a file that ends in .nc, or a folder, where files may be made",
            remedy="name another place with --out",
        ) from error
    return path


def open_result(path: str | Path, kind: str | None = None) -> xr.Dataset:
    """Read a result: its file, or the folder that holds it.

    Raises AttnshiftError where there is none, or one of another kind than was asked for.
    """
    place = Path(path)
    if place.is_dir():
        names = [f"{each}.nc" for each in ([kind] if kind else KINDS)]
        found = [place / name for name in names if (place / name).is_file()]
        if len(found) != 1:
            raise AttnshiftError(
                f"{str(path)!r} holds {'no' if not found else 'more than one of'} {' and '.join(names)}",
                expected="a file that `attnshift patch` or `attnshift graft` wrote, or a folder with one",
            )
        place = found[0]
    result = read_netcdf(place)
    if kind is not None and result.attrs.get("kind") != kind:
        raise AttnshiftError(f"{str(place)!r} isn't the result of a {kind}", expected=f"a file of `attnshift {kind}`")
    return result
