"""A trace on disk: ``inputs.nc`` once, and one atomic file per checkpoint."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from errno import EDQUOT, EFBIG, ENOSPC
from os.path import isfile
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import xarray as xr

from attnshift.atomic import sweep
from attnshift.errors import AttnshiftError
from attnshift.tracing.lock import alone
from attnshift.tracing.netcdf import (
    read_attributes,
    read_netcdf,
    read_variables,
    unreadable,
    update_netcdf,
    write_netcdf,
)

INPUTS = "inputs.nc"
_OF_WEIGHTS = ("step", "epoch", "checkpoint", "dtype")
"""Attributes that every cell has, about the weights; where they were found may change."""
_FULL = (ENOSPC, EDQUOT, EFBIG)
_CELL = re.compile(r"step-(\d{8,18})\.nc", re.ASCII)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Make whatever keeps a trace from being written to ``path`` an AttnshiftError that says what helps."""
    try:
        yield
    except OSError as error:
        full = error.errno in _FULL
        raise AttnshiftError(
            f"the trace can't be written to {str(path)!r}: {error.strerror or error}",
            expected="room for the trace; what was written is whole and is kept" if full else "",
            remedy="make room and run the same command again, or name another directory with --out"
            if full
            else "name a directory that can be written with --out",
        ) from error


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
        with writing(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            with TemporaryFile(dir=self.path):
                pass
        sweep(self.path)

    @contextmanager
    def alone(self, part: str, waiting: str = "") -> Iterator[None]:
        """While it lasts, no other process is in the same part of this trace; ``waiting`` is said if one is."""
        with ExitStack() as stack:
            with writing(self.path):
                stack.enter_context(alone(self.path / f".{part}.lock", waiting))
            yield

    def steps(self) -> list[int]:
        """Steps that have a file, ascending."""
        if not self.path.is_dir():
            return []
        found = (int(m[1]) for f in self.path.iterdir() if (m := _CELL.fullmatch(f.name)))
        return sorted(step for step in found if self.file(step).exists())  # another spelling is none of ours

    def file(self, step: int) -> Path:
        """The file of one step."""
        return self.path / f"step-{step:08d}.nc"

    def read_inputs(self) -> xr.Dataset | None:
        """The inputs with their attributes; None where the trace doesn't exist yet."""
        path = self.path / INPUTS
        return read_netcdf(path) if path.is_file() else None

    def token_budget(self) -> int | None:
        """The token budget that the trace was begun with; None where it doesn't exist yet or doesn't say.

        Where the inputs are lost, the largest one that a step was measured with.
        """
        said = [self.stated()] if isfile(self.path / INPUTS) else [read_attributes(self.file(s)) for s in self.steps()]
        return max((int(each["token_budget"]) for each in said if "token_budget" in each), default=None)

    def write_inputs(self, inputs: xr.Dataset) -> None:
        """Write the inputs, once per trace."""
        with writing(self.path):
            write_netcdf(inputs, self.path / INPUTS)

    def update_inputs(self, values: xr.Dataset) -> None:
        """Add variables and attributes to the inputs."""
        with writing(self.path):
            update_netcdf(values, self.path / INPUTS)

    def stated(self) -> Mapping[str, Any]:
        """What the inputs' file says of itself; empty where the trace doesn't exist yet."""
        path = self.path / INPUTS
        return read_attributes(path) if isfile(path) else {}  # unlike Path.is_file, False in a folder that is closed

    def read_header(self, step: int) -> Header | None:
        """How a step's file was made; None where there is none."""
        path = self.file(step)
        if not path.is_file():
            return None
        said = read_attributes(path)
        _require(path, said, "checkpoint_digest", "recipe", "keys")
        return Header(said["checkpoint_digest"], json.loads(said["recipe"]), json.loads(said["keys"]))

    def read_cell(self, step: int) -> xr.Dataset:
        """A step's file with its attributes; raises AttnshiftError for one that doesn't say how it was made."""
        cell = read_netcdf(self.file(step))
        _require(self.file(step), cell.attrs, "checkpoint_digest", "keys", *_OF_WEIGHTS[1:])
        return cell

    def read_variables(self, step: int, names: Collection[str]) -> dict[str, xr.Variable]:
        """Some variables of a step's file, those of them that it holds."""
        return read_variables(self.file(step), names)

    def update_cell(self, step: int, values: xr.Dataset) -> None:
        """Put variables into a step's file, in place of those of these names; everything else is left as it is."""
        with self.alone("cells"), writing(self.path):
            header = self.read_header(step)
            stated = {} if header is None else header.keys
            keys = {**stated, **{str(name): variable.attrs["key"] for name, variable in values.data_vars.items()}}
            update_netcdf(values.assign_attrs(keys=json.dumps(keys)), self.file(step))

    def replace_variables(self, step: int, values: xr.Dataset) -> None:
        """Put variables into a step's file, whatever the sizes of those of these names were."""
        with self.alone("cells"), writing(self.path):
            kept = self.read_cell(step)
            kept = kept.drop_vars([name for name in values.variables if name in kept.variables])
            keys = {**json.loads(kept.attrs["keys"]), **{str(n): v.attrs["key"] for n, v in values.data_vars.items()}}
            merged = kept.merge(values, combine_attrs="override", join="exact", compat="equals")
            write_netcdf(merged.assign_attrs(keys=json.dumps(keys)), self.file(step))

    def write_cell(self, step: int, values: xr.Dataset, header: Header) -> None:
        """Write a step's file, with what an existing one of the same making already holds.

        A variable that is there already stays as it is: another process has measured the same meanwhile.
        """
        with self.alone("cells"):
            self._write_cell(step, values, header)

    def _write_cell(self, step: int, values: xr.Dataset, header: Header) -> None:
        kept = self.read_cell(step) if self.file(step).is_file() else None
        if kept is not None:
            values = values.drop_vars([name for name in values.data_vars if name in kept.data_vars])
            now = {name: value for name in _OF_WEIGHTS if (value := values.attrs.get(name)) == value}  # NaN isn't
            values = kept.merge(values, combine_attrs="drop_conflicts", join="exact", compat="equals")
            values.attrs |= {name: kept.attrs[name] for name in _OF_WEIGHTS} | now
            keys = {**json.loads(kept.attrs["keys"]), **header.keys}
        else:
            keys = dict(header.keys)
        values.attrs |= {
            "checkpoint_digest": header.checkpoint,
            "recipe": json.dumps(dict(header.recipe)),
            "keys": json.dumps(keys),
        }
        with writing(self.path):
            write_netcdf(values, self.file(step))


def _require(path: Path, said: Mapping[Any, Any], *names: str) -> None:
    """Raise AttnshiftError for a file that doesn't say one of these of itself."""
    for name in names:
        if name not in said:
            raise unreadable(path, f"it doesn't state its {name}")
