"""Results of interventions on disk: a labelled netCDF file, and beside it what was done as JSON."""

from __future__ import annotations

import json
from pathlib import Path

import xarray as xr

from attnshift.atomic import atomic
from attnshift.errors import AttnshiftError
from attnshift.tracing.netcdf import read_netcdf, write_netcdf

KINDS = ("patch", "graft")


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
    return result if kind is None else require_kind(result, kind, str(place))


def require_kind(result: xr.Dataset, kind: str, name: str = "what is given") -> xr.Dataset:
    """The result itself; raises AttnshiftError where it isn't of that kind."""
    if result.attrs.get("kind") != kind:
        raise AttnshiftError(f"{name!r} isn't the result of a {kind}", expected=f"a file of `attnshift {kind}`")
    return result
