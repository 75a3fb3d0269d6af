"""netCDF files as datasets: written by xarray, read straight from HDF5.

Opening a file of thirty variables through xarray and h5netcdf takes longer than measuring a small checkpoint; h5py
reads the same arrays in a tenth of the time. Files are made in memory: where a disk is full, HDF5 raises whatever it
likes, goes on raising from its clean-up, and may take the process with it. They end in a seal, their content's
checksum, since of a damaged file HDF5 gives other numbers or never returns; it cuts the seal off when a file is edited.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from io import SEEK_END, BytesIO
from pathlib import Path
from typing import Any
from zlib import crc32

import h5py
import numpy as np
import xarray as xr

from attnshift.atomic import atomic
from attnshift.errors import AttnshiftError
from attnshift.tracing.attributes import require_form
from attnshift.tracing.host import free_host_bytes

_BARE_DIMENSION = b"This is a netCDF dimension but not a netCDF variable"
_SURELY_FREE = 1 << 28
_SEAL = b"\nattnshift crc32 %08x\n"
_CHUNK = 1 << 23
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
    with open_hdf5(path) as file:
        for name in file:
            entry_of(file, name)
        image = BytesIO(path.read_bytes()[: _content_size(path)])
    dataset.to_netcdf(image, mode="a", engine="h5netcdf")
    _write(image, path)


def _write(image: BytesIO, path: Path) -> None:
    image.seek(0, SEEK_END)
    image.write(_SEAL % crc32(image.getbuffer()))
    with atomic(path) as temporary:
        temporary.write_bytes(image.getbuffer())


def _content_size(path: Path) -> int:
    """Bytes before the seal; raises ValueError where they aren't those that were sealed."""
    with path.open("rb") as file:
        size = file.seek(0, SEEK_END)
        file.seek(max(0, size - len(_SEAL % 0)))
        seal = re.fullmatch(re.escape(_SEAL[:-5]) + rb"([0-9a-f]{8})\n", file.read())
        if seal is None:
            return size
        left = content = size - len(seal[0])
        checksum = 0
        file.seek(0)
        while left and (part := file.read(min(left, _CHUNK))):
            left, checksum = left - len(part), crc32(part, checksum)
    if checksum != int(seal[1], 16):
        raise ValueError("it isn't what was written: something has damaged it since")
    return content


def read_netcdf(path: Path) -> xr.Dataset:
    """Read a file that `write_netcdf` wrote; raises AttnshiftError where it is no such file."""
    with open_hdf5(path) as file:
        entries = {name: entry_of(file, name) for name in file}
        found = {name: entry for name, entry in entries.items() if not _is_bare_dimension(entry)}
        _refuse_larger_than_memory(found)
        variables = {name: read_variable(entry) for name, entry in found.items()}
        listed = _listed_coordinates(file.attrs).union(*(_listed_coordinates(e.attrs) for e in found.values()))
        dataset = xr.Dataset(variables, attrs=dict(_attributes(file.attrs)))
    return dataset.set_coords([name for name in dataset.variables if name in listed])


def read_variables(path: Path, names: Collection[str]) -> dict[str, xr.Variable]:
    """Read the variables of these names, those of them that the file has, and nothing else."""
    with open_hdf5(path) as file:
        found = {name: entry_of(file, name) for name in names if name in file}
        _refuse_larger_than_memory(found)
        return {name: read_variable(entry) for name, entry in found.items()}


def read_attributes(path: Path) -> dict[str, Any]:
    """Read what a file says of itself, and no array."""
    with open_hdf5(path) as file:
        return dict(_attributes(file.attrs))


@contextmanager
def open_hdf5(path: Path) -> Iterator[h5py.File]:
    """Open for reading; what goes wrong becomes an AttnshiftError that names the file."""
    try:
        if not path.is_file():  # opening a pipe would wait for ever
            raise FileNotFoundError("it is no file")
        _content_size(path)
        with h5py.File(path, "r") as file:
            yield file
    except Exception as error:  # the file may be anybody's, and h5py raises nearly anything of one
        raise unreadable(path, str(error) or type(error).__name__) from error


def entry_of(file: h5py.File, name: str) -> h5py.Dataset:
    """The array of a name; raises ValueError for one that isn't kept in this file alone.

    HDF5 can lead to other files by links, virtual arrays and raw storage: a trace from a stranger must not read them.
    """
    entry = file[name] if isinstance(file.get(name, getlink=True), h5py.HardLink) else None
    if not isinstance(entry, h5py.Dataset) or entry.is_virtual or entry.external:
        raise ValueError(f"{name!r} is no array that is kept in this file")
    return entry


def _refuse_larger_than_memory(entries: Mapping[str, h5py.Dataset]) -> None:
    """Raise ValueError before a small file unfolds to more than there is room for."""
    size = sum(entry.size * entry.dtype.itemsize for entry in entries.values() if entry.size)
    if size > _SURELY_FREE and size > (free := free_host_bytes()):
        raise ValueError(f"its arrays are {size / 1e9:.0f} GB, and {free / 1e9:.0f} GB of memory are free")


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
    """Those that are the user's, as plain values where they are one. Raises ValueError for what can't be meant."""
    for name, value in attributes.items():
        if name in _INTERNAL or name.startswith(("_Netcdf4", "_NC", "_nc3")):
            continue
        single = isinstance(value, np.ndarray) and value.size == 1
        value = value.reshape(-1)[0] if single else value
        require_form(name, value)
        yield name, value
