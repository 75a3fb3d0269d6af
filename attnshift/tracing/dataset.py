"""Open a trace as one labelled dataset; item-level attention stays on disk until it is asked for."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from xarray.backends import BackendArray
from xarray.core import indexing

from attnshift.atomic import write_text
from attnshift.errors import AttnshiftError
from attnshift.tracing.netcdf import entry_of, open_hdf5, read_netcdf, write_netcdf
from attnshift.tracing.store import INPUTS, Store, writing

SUMMARY = "summary.nc"
FAILURES = "failures.json"


def open_trace(path: str | Path) -> xr.Dataset:
    """The trace in a directory.

    Dims ``step`` and those of `design`: item, example, layer, head, role, group, part, position. Every variable
    carries ``unit``, ``measure`` and ``key``. Variables per item or example *and* layer are read from the
    checkpoints' files only when they are used, one step at a time; everything else comes from a summary that is
    cached beside them. A variable that some step lacks is NaN there, a text is empty.

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
    try:
        summary = _summary(store, steps)
        large = json.loads(summary.attrs.pop("large"))
        merged = summary.merge(inputs, combine_attrs="drop_conflicts", join="outer", compat="equals")
        merged = merged.assign(_lazy(store, steps, large))
    except AttnshiftError:
        raise
    except Exception as error:  # xarray raises nearly anything of files that somebody else wrote
        raise AttnshiftError(
            f"the files of the trace in {str(path)!r} don't fit together: {error}",
            expected=f"{INPUTS} and step-*.nc of one trace, as `attnshift trace` writes them",
            remedy="trace again, to another --out",
        ) from error
    merged.attrs["failed"] = json.dumps(read_failures(store.path))
    return merged


def open_traces(paths: Mapping[str, str | Path]) -> xr.Dataset:
    """Several traces side by side along a new dim ``run``; steps and items that a run lacks are NaN.

    Item-level attention is read whole: pick what you need of each trace first where that is too much.
    """
    if not paths:
        raise AttnshiftError("no traces were named", expected="a mapping of names to directories")
    opened = [_measured(open_trace(path)) for path in paths.values()]
    runs = xr.Variable("run", np.array(list(paths), object))
    joined = xr.concat(
        opened,
        "run",
        join="outer",
        combine_attrs="drop_conflicts",
        data_vars="all",
        coords="minimal",
        compat="override",
    )
    return joined.assign_coords(run=runs)


def write_failures(path: Path, failed: Mapping[int, str]) -> None:
    """Keep what became of the steps of the trace in ``path`` that couldn't be measured."""
    with writing(path):
        write_text(path / FAILURES, json.dumps(failed, indent=1))


def read_failures(path: Path) -> dict[int, str]:
    """Step to what went wrong there, for the trace in ``path``."""
    file = path / FAILURES
    if not file.is_file():
        return {}
    try:
        told = json.loads(file.read_text(encoding="utf-8"))
        return {int(step): str(error) for step, error in told.items()}
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        raise AttnshiftError(
            f"{file} can't be read: {error}",
            expected="an object of step to what went wrong there",
            remedy="delete it: the next trace says anew what fails",
        ) from error


def failure_text(error: Exception) -> str:
    """What a failure is kept as."""
    return str(error) if isinstance(error, AttnshiftError) else f"{type(error).__name__}: {error}"


def _measured(trace: xr.Dataset) -> xr.Dataset:
    return trace[[name for name, variable in trace.data_vars.items() if "step" in variable.dims]]


def _is_large(dims: Sequence[Any]) -> bool:
    return "layer" in dims and ("item" in dims or "example" in dims)


def _summary(store: Store, steps: Sequence[int]) -> xr.Dataset:
    """All but the large variables, and a description of those, from the cache where it is current."""
    stamp = json.dumps([[f.name, f.stat().st_size, f.stat().st_mtime_ns] for f in map(store.file, steps)])
    path = store.path / SUMMARY
    if path.is_file():
        try:
            cached = read_netcdf(path)
        except AttnshiftError:
            cached = xr.Dataset()  # a cache may be lost; it is made again
        if cached.attrs.pop("stamp", None) == stamp and "large" in cached.attrs:
            return cached
    summary = _summarise(store, steps)
    with suppress(OSError):  # somebody else's trace: only the cache is lost
        write_netcdf(summary.assign_attrs(stamp=stamp), path)
    return summary


def _summarise(store: Store, steps: Sequence[int]) -> xr.Dataset:
    parts: list[xr.Dataset] = []
    large: dict[str, dict[str, Any]] = {}
    for step in steps:
        cell = store.read_cell(step)
        for name, variable in cell.data_vars.items():
            if _is_large(variable.dims):
                about = {"dims": variable.dims, "shape": variable.shape, "dtype": str(variable.dtype)}
                large.setdefault(str(name), about | {"attrs": variable.attrs})
        part = cell.drop_vars([name for name in large if name in cell]).expand_dims(step=[step])
        origin = {name: ("step", [part.attrs[name]]) for name in ("epoch", "checkpoint", "checkpoint_digest", "dtype")}
        parts.append(part.assign_coords(origin))
    summary = xr.concat(parts, "step", join="outer", combine_attrs="drop_conflicts", data_vars="all", coords="minimal")
    texts = {name: variable.fillna("") for name, variable in summary.data_vars.items() if variable.dtype == object}
    return summary.assign(texts).transpose("step", ...).assign_attrs(large=json.dumps(large))


def _lazy(store: Store, steps: Sequence[int], large: Mapping[str, Mapping[str, Any]]) -> dict[str, xr.Variable]:
    files = tuple(store.file(step) for step in steps)
    out = {}
    for name, about in large.items():
        stack = _StepStack(files, name, (len(files), *about["shape"]), np.dtype(about["dtype"]))
        out[name] = xr.Variable(("step", *about["dims"]), indexing.LazilyIndexedArray(stack), about["attrs"])
    return out


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
        with open_hdf5(self.files[step]) as file:
            lacks = self.name not in file
            whole = np.full(self.shape[1:], np.nan, self.dtype) if lacks else entry_of(file, self.name)[()]
            if whole.shape != self.shape[1:]:
                raise ValueError(f"its {self.name} is of shape {whole.shape}, and {self.shape[1:]} in other steps")
        for axis in reversed(range(len(rest))):  # one axis at a time: an outer index
            whole = whole[(slice(None),) * axis + (rest[axis],)]
        return whole
