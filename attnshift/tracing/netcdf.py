"""netCDF files as datasets: written by xarray, read straight from HDF5.

Opening a file of thirty variables through xarray and h5netcdf takes longer than measuring a small checkpoint; h5py
reads the same arrays in a tenth of the time. Files are made in memory: where a disk is full, HDF5 raises whatever it
likes, goes on raising from its clean-up, and may take the process with it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import xarray as xr

from attnshift.atomic import atomic
from attnshift.errors import AttnshiftError

_BARE_DIMENSION = b"This is a netCDF dimension but not a netCDF variable"
_INTERNAL = {"CLASS", "NAME", "DIMENSION_LIST", "REFERENCE_LIST", "coordinates"}


def write_netcdf(dataset: xr.Dataset, path: Path) -> None:
    """Write atomically, numbers compressed. Raises OSError where it can't be written."""
    encoding = {
        name: {"zlib": True, "complevel": 1, "shuffle": True, "_FillValue": None}
        for name, variable in dataset.variables.items()
        if variable.ndim and variable.dtype.kind in "fiub"
    }
    image = BytesIO()
    dataset.to_netcdf(image, engine="h5netcdf", encoding=encoding)
    _write(image, path)


def update_netcdf(dataset: xr.Dataset, path: Path) -> None:
    """Put variables and attributes into a file, atomically; what they don't replace is copied as it is.

    A variable that the file has already must have the same dims and shape. Raises OSError where it can't be written,
    and AttnshiftError where the file is none.
    """
    with open_hdf5(path):
        image = BytesIO(path.read_bytes())
    dataset.to_netcdf(image, mode="a", engine="h5netcdf")
    _write(image, path)


def _write(image: BytesIO, path: Path) -> None:
    with atomic(path) as temporary:
        temporary.write_bytes(image.getbuffer())


def read_netcdf(path: Path) -> xr.Dataset:
    """Read a file that `write_netcdf` wrote; raises AttnshiftError where it is no such file."""
    with open_hdf5(path) as file:
        found = {name: entry for name, entry in file.items() if not _is_bare_dimension(entry)}
        variables = {name: read_variable(entry) for name, entry in found.items()}
        listed = _listed_coordinates(file.attrs).union(*(_listed_coordinates(e.attrs) for e in found.values()))
        dataset = xr.Dataset(variables, attrs=dict(_attributes(file.attrs)))
    return dataset.set_coords([name for name in dataset.variables if name in listed])


def read_variables(path: Path, names: Collection[str]) -> dict[str, xr.Variable]:
    """Read the variables of these names, those of them that the file has, and nothing else."""
    with open_hdf5(path) as file:
        return {name: read_variable(file[name]) for name in names if name in file}


def read_attributes(path: Path) -> dict[str, Any]:
    """Read what a file says of itself, and no array."""
    with open_hdf5(path) as file:
        return dict(_attributes(file.attrs))


@contextmanager
def open_hdf5(path: Path) -> Iterator[h5py.File]:
    """Open for reading; what goes wrong becomes an AttnshiftError that names the file."""
    try:
        with h5py.File(path, "r") as file:
            yield file
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise unreadable(path, str(error)) from error


def read_variable(entry: h5py.Dataset) -> xr.Variable:
    """One variable with its dims and attributes."""
    dims = [_name(entry)] if entry.is_scale and entry.ndim == 1 else [_name(dim[0]) for dim in entry.dims]
    text = h5py.check_string_dtype(entry.dtype) is not None
    values = np.asarray(entry.asstr()[()]).astype(str) if text else entry[()]
    attributes = dict(_attributes(entry.attrs))
    if attributes.get("dtype") == "bool":  # xarray's way of keeping truth values in a format without them
        values = values.astype(attributes.pop("dtype"))
    return xr.Variable(dims, values, attributes)


def unreadable(path: Path, reason: str) -> AttnshiftError:
    """What to say of a file that can't be read."""
    return AttnshiftError(
        f"{path} can't be read: {reason}",
        expected="a netCDF file as `attnshift trace` writes it",
        remedy="delete it and trace again: only this part is computed anew",
    )


def _name(entry: h5py.Dataset) -> str:
    return str(entry.name).rpartition("/")[2]


def _is_bare_dimension(entry: h5py.Dataset) -> bool:
    return bytes(entry.attrs.get("NAME", b"")).startswith(_BARE_DIMENSION)


def _listed_coordinates(attributes: h5py.AttributeManager) -> set[str]:
    return set(str(attributes["coordinates"]).split()) if "coordinates" in attributes else set()


def _attributes(attributes: h5py.AttributeManager) -> Iterator[tuple[str, Any]]:
    """Those that are the user's, as plain values where they are one."""
    for name, value in attributes.items():
        if name in _INTERNAL or name.startswith(("_Netcdf4", "_NC", "_nc3")):
            continue
        single = isinstance(value, np.ndarray) and value.size == 1
        yield name, value.reshape(-1)[0] if single else value
