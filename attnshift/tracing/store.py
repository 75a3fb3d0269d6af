"""A trace on disk: ``inputs.nc`` once, and one atomic file per checkpoint."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import xarray as xr

from attnshift.errors import AttnshiftError
from attnshift.tracing.atomic import atomic, sweep

INPUTS = "inputs.nc"
_CELL = re.compile(r"step-(\d{8,})\.nc")


@dataclass(frozen=True)
class Header:
    """What a checkpoint's file says about how it was made."""

    checkpoint: str
    """digest of the weights"""
    recipe: Mapping[str, str]
    """what it was fed with and how, by aspect"""
    keys: Mapping[str, str]
    """measure keys by variable"""


@dataclass(frozen=True)
class Store:
    """The directory of one trace."""

    path: Path

    def prepare(self) -> None:
        """Make the directory and see that it can be written; raises AttnshiftError naming --out."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            probe = self.path / ".writable"
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise AttnshiftError(
                f"the trace can't be written to {str(self.path)!r}: {error.strerror or error}",
                remedy="name a directory that can be written with --out",
            ) from error
        sweep(self.path)

    def steps(self) -> list[int]:
        """Steps that have a file, ascending."""
        if not self.path.is_dir():
            return []
        return sorted(int(m[1]) for f in self.path.iterdir() if (m := _CELL.fullmatch(f.name)))

    def file(self, step: int) -> Path:
        """The file of one step."""
        return self.path / f"step-{step:08d}.nc"

    def read_inputs(self) -> xr.Dataset | None:
        """The inputs with their attributes; None where the trace doesn't exist yet."""
        path = self.path / INPUTS
        return read_netcdf(path) if path.is_file() else None

    def write_inputs(self, inputs: xr.Dataset) -> None:
        """Write the inputs, once per trace."""
        write_netcdf(inputs, self.path / INPUTS)

    def read_header(self, step: int) -> Header | None:
        """How a step's file was made; None where there is none."""
        path = self.file(step)
        if not path.is_file():
            return None
        with open_netcdf(path) as cell:
            try:
                return Header(
                    cell.attrs["checkpoint_digest"], json.loads(cell.attrs["recipe"]), json.loads(cell.attrs["keys"])
                )
            except (KeyError, ValueError) as error:
                raise _unreadable(path, f"it has no {error}") from error

    def write_cell(self, step: int, values: xr.Dataset, header: Header) -> None:
        """Write a step's file, with what an existing one of the same making already holds."""
        kept = read_netcdf(self.file(step)) if self.file(step).is_file() else None
        if kept is not None:
            values = kept.merge(values, combine_attrs="drop_conflicts", join="exact", compat="equals")
            keys = {**json.loads(kept.attrs["keys"]), **header.keys}
        else:
            keys = dict(header.keys)
        values.attrs |= {
            "checkpoint_digest": header.checkpoint,
            "recipe": json.dumps(dict(header.recipe)),
            "keys": json.dumps(keys),
        }
        write_netcdf(values, self.file(step))


def write_netcdf(dataset: xr.Dataset, path: Path) -> None:
    """Write atomically, numbers compressed."""
    encoding = {
        name: {"zlib": True, "complevel": 1, "shuffle": True, "_FillValue": None}
        for name, variable in dataset.variables.items()
        if variable.ndim and variable.dtype.kind in "fiub"
    }
    with atomic(path) as temporary:
        dataset.to_netcdf(temporary, engine="h5netcdf", encoding=encoding)


def open_netcdf(path: Path) -> xr.Dataset:
    """Open lazily; raises AttnshiftError where the file is no netCDF file."""
    try:
        return xr.open_dataset(path, engine="h5netcdf", mask_and_scale=False, decode_times=False)
    except (OSError, ValueError, KeyError) as error:
        raise _unreadable(path, str(error)) from error


def read_netcdf(path: Path) -> xr.Dataset:
    """Read whole and close."""
    with open_netcdf(path) as dataset:
        return dataset.load()


def _unreadable(path: Path, reason: str) -> AttnshiftError:
    return AttnshiftError(
        f"{path} can't be read: {reason}",
        expected="a netCDF file as `attnshift trace` writes it",
        remedy="delete it and trace again: only this part is computed anew",
    )
