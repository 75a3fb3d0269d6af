"""Open a trace as one labelled dataset; item-level attention stays on disk until it is asked for."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from xarray.backends import BackendArray
from xarray.core import indexing

from attnshift.errors import AttnshiftError
from attnshift.tracing.store import INPUTS, Store, open_netcdf, read_netcdf, write_netcdf

SUMMARY = "summary.nc"
FAILURES = "failures.json"


def open_trace(path: str | Path) -> xr.Dataset:
    """The trace in a directory.

    Dims ``step`` and those of `design`: item, example, layer, head, role, group, part, position. Every variable
    carries ``unit``, ``measure`` and ``key``. Variables per item or example *and* layer are read from the
    checkpoints' files only when they are used, one step at a time; everything else comes from a summary that is
    cached beside them. A variable that some step lacks is NaN there.

    Raises AttnshiftError where there is no trace.
    """
    store = Store(Path(path))
    steps = store.steps()
    inputs = store.read_inputs()
    if inputs is None or not steps:
        raise AttnshiftError(
            f"there is no trace in {str(path)!r}",
            expected=f"{INPUTS} and step-*.nc as `attnshift trace` writes them",
            remedy="attnshift trace --ckpts RUN --out DIR",
        )
    small = _summary(store, steps)
    cells = {name: variable for name, variable in _large_variables(store, steps).items()}
    merged = small.merge(inputs, combine_attrs="no_conflicts", join="outer", compat="equals")
    merged = merged.assign(cells)
    failures = store.path / FAILURES
    merged.attrs["failed"] = failures.read_text(encoding="utf-8") if failures.is_file() else "{}"
    return merged


def open_traces(paths: Mapping[str, str | Path]) -> xr.Dataset:
    """Several traces side by side along a new dim ``run``; steps and items that a run lacks are NaN.

    Item-level attention is read whole: pick what you need of each trace first where that is too much.
    """
    if not paths:
        raise AttnshiftError("no traces were named", expected="a mapping of names to directories")
    opened = [_measured(open_trace(path)) for path in paths.values()]
    return xr.concat(
        opened, xr.IndexVariable("run", list(paths)), join="outer", combine_attrs="drop_conflicts", data_vars="all",
        coords="minimal", compat="override",
    )


def _measured(trace: xr.Dataset) -> xr.Dataset:
    return trace[[name for name, variable in trace.data_vars.items() if "step" in variable.dims]]


def _is_large(dims: Sequence[Any]) -> bool:
    return "layer" in dims and ("item" in dims or "example" in dims)


def _summary(store: Store, steps: Sequence[int]) -> xr.Dataset:
    """All but the large variables, from the cache where it is current."""
    stamp = json.dumps([[f.name, f.stat().st_size, f.stat().st_mtime_ns] for f in map(store.file, steps)])
    path = store.path / SUMMARY
    if path.is_file():
        try:
            cached = read_netcdf(path)
        except AttnshiftError:
            cached = xr.Dataset()  # a cache may be lost; it is made again
        if cached.attrs.get("stamp") == stamp:
            return cached
    parts = [_small_part(store.file(step), step) for step in steps]
    summary = xr.concat(parts, "step", join="outer", combine_attrs="drop_conflicts", data_vars="all", coords="minimal")
    summary = summary.transpose("step", ...)
    summary.attrs["stamp"] = stamp
    try:
        write_netcdf(summary, path)
    except OSError:  # somebody else's trace: only the cache is lost
        pass
    return summary


def _small_part(path: Path, step: int) -> xr.Dataset:
    with open_netcdf(path) as cell:
        small = cell.drop_vars([n for n, v in cell.data_vars.items() if _is_large(v.dims)]).load()
        about = {name: cell.attrs[name] for name in ("epoch", "checkpoint", "checkpoint_digest", "dtype")}
    small = small.expand_dims(step=[step])
    return small.assign_coords({name: ("step", [value]) for name, value in about.items()})


def _large_variables(store: Store, steps: Sequence[int]) -> dict[str, xr.Variable]:
    found: dict[str, tuple[Any, ...]] = {}
    for step in steps:
        with open_netcdf(store.file(step)) as cell:
            for name, variable in cell.data_vars.items():
                if _is_large(variable.dims):
                    found.setdefault(str(name), (variable.dims, variable.shape, variable.dtype, dict(variable.attrs)))
    files = tuple(store.file(step) for step in steps)
    return {
        name: xr.Variable(
            ("step", *dims), indexing.LazilyIndexedArray(_StepStack(files, name, (len(files), *shape), dtype)), attrs
        )
        for name, (dims, shape, dtype, attrs) in found.items()
    }


@dataclass(eq=False)
class _StepStack(BackendArray):
    """One variable of many files as one array; only the files of the asked-for steps are opened."""

    files: tuple[Path, ...]
    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(key, self.shape, indexing.IndexingSupport.OUTER, self._read)

    def _read(self, key: tuple[Any, ...]) -> np.ndarray:
        steps, rest = key[0], key[1:]
        if isinstance(steps, int | np.integer):
            return self._read_one(int(steps), rest)
        chosen = np.arange(self.shape[0])[steps]
        return np.stack([self._read_one(int(step), rest) for step in chosen])

    def _read_one(self, step: int, rest: tuple[Any, ...]) -> np.ndarray:
        with open_netcdf(self.files[step]) as cell:
            if self.name not in cell:
                whole = np.full(self.shape[1:], np.nan, self.dtype)
            else:
                whole = cell[self.name].values
        for axis in reversed(range(len(rest))):  # one axis at a time: an outer index
            whole = whole[(slice(None),) * axis + (rest[axis],)]
        return whole
