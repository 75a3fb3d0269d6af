"""What is compared: a run, or runs by seed, as a whole or at a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr

from attnshift.errors import AttnshiftError
from attnshift.stats.flips import step_place
from attnshift.stats.items import item_series

PLACES = ("start", "peak", "end")
Traces = str | Path | xr.Dataset | Mapping[str, str | Path | xr.Dataset]
_FROM = "opened_from"
_IDENTITY = ("context", "question", "context_answer", "parametric_answer")


@dataclass(frozen=True)
class Side:
    """One side of a comparison."""

    name: str
    runs: dict[str, xr.Dataset]
    """traces by seed; a single one is called ``""``"""
    at: str | None
    """start, peak, end or a step; None for no checkpoint in particular"""

    def is_same(self, other: Side) -> bool:
        """Whether both are the same traces, whatever checkpoint is meant."""
        ours, theirs = ([_source(trace) for trace in side.runs.values()] for side in (self, other))
        return ours == theirs


def read_side(given: Traces) -> Side:
    """A side as users name it: ``DIR``, ``DIR@peak``, ``a=DIR,b=DIR``, a mapping of these, or an open trace.

    A directory is a trace, holds one as ``trace/``, or holds directories that do: runs by seed.

    Raises AttnshiftError where there is no trace.
    """
    if isinstance(given, str | Path):
        return _named_side(str(given))
    if isinstance(given, xr.Dataset):
        if "run" in given.dims:
            raise AttnshiftError(
                f"a dataset of the runs {', '.join(map(str, given['run'].values))}, without their items' texts",
                expected="traces by name, so that their items can be paired",
                remedy="a mapping of names to directories, as open_traces takes it",
            )
        return Side(str(given.attrs.get("run", "trace")), {"": given}, None)
    return Side(", ".join(given), {name: _one_trace(place) for name, place in given.items()}, None)


def _named_side(text: str) -> Side:
    if Path(text).exists():
        where, at = text, None
    else:
        where, _, at = text.rpartition("@") if "@" in text else (text, "", None)
    if "=" in where and not Path(where).exists():
        named = [piece.partition("=") for piece in where.split(",")]
        if repeated := {name for name, _, _ in named if sum(name == other for other, _, _ in named) > 1}:
            raise AttnshiftError(f"{where!r} names {', '.join(sorted(repeated))} twice", expected="NAME=DIR,NAME=DIR")
        runs = {name: _one_trace(place) for name, _, place in named}
    else:
        runs = _found_traces(Path(where))
    return Side(text, runs, at)


def side_step(trace: xr.Dataset, at: str, measure: str) -> int:
    """The place, among a trace's steps, of its start, peak or end, or of a step.

    Start and end are the first and last steps with a counterfactual accuracy, the peak that of the highest one (the
    earliest of equals), as in the verdict, whatever is compared; ``measure`` stands in where the trace has none.

    Raises AttnshiftError for anything else, and for a step that the trace lacks.
    """
    if at not in PLACES:
        if not at.isdecimal():
            raise AttnshiftError(f"@{at} is no checkpoint", expected=f"@{', @'.join(PLACES)}, or a step such as @500")
        return step_place(trace, int(at))
    read = "counterfactual_accuracy" if "counterfactual_accuracy" in trace else measure
    means = item_series(trace, read).means
    measured = np.flatnonzero(np.isfinite(means))
    if not len(measured):
        raise AttnshiftError(f"no step of the trace has {read}", expected="at least one measured checkpoint")
    return int({"start": measured[0], "peak": measured[np.nanargmax(means[measured])], "end": measured[-1]}[at])


def common_items(a: xr.Dataset, b: xr.Dataset) -> list[str]:
    """Ids of the items that both traces hold, in the first one's order.

    Raises AttnshiftError where there are none, and where an id stands for two different items.
    """
    theirs = set(b["item"].values.astype(str).tolist())
    common = [item for item in a["item"].values.astype(str).tolist() if item in theirs]
    if not common:
        raise AttnshiftError(
            f"the two traces share no item: one has {a['item'].values[0]} first, the other {b['item'].values[0]}",
            expected="traces of the same conflict items, by id",
        )
    first, second = a.sel(item=common), b.sel(item=common)
    if (differing := _another_item(first, second)) is not None:
        raise AttnshiftError(
            f"{common[differing]!r} is one item in the first trace and another in the second",
            expected="the same texts under the same id",
            remedy="compare runs of the same conflicts; seeds with items of their own are paired by seed: 0=DIR,1=DIR",
        )
    return common


def same_items(a: xr.Dataset, b: xr.Dataset) -> bool:
    """Whether two traces hold the same items under the same ids."""
    return np.array_equal(a["item"].values, b["item"].values) and _another_item(a, b) is None


def _another_item(a: xr.Dataset, b: xr.Dataset) -> int | None:
    for name in (f"item_{field}" for field in _IDENTITY):
        if name in a and name in b:
            differ = np.flatnonzero(a[name].values.astype(str) != b[name].values.astype(str))
            if len(differ):
                return int(differ[0])
    return None


def _source(trace: xr.Dataset) -> object:
    return trace.attrs.get(_FROM, id(trace))


def _found_traces(place: Path) -> dict[str, xr.Dataset]:
    if (lone := _trace_of(place)) is not None:
        return {"": _one_trace(lone)}
    children = sorted(child for child in place.iterdir() if child.is_dir()) if place.is_dir() else []
    found = {child.name: inner for child in children if (inner := _trace_of(child)) is not None}
    if not found:
        raise AttnshiftError(
            f"there is no trace in {str(place)!r}",
            expected="TRACE, TRACE@STEP (or @start, @peak, @end), a directory of seeds, or NAME=TRACE,NAME=TRACE",
            remedy="attnshift trace --ckpts RUN --out TRACE",
        )
    return {name: _one_trace(inner) for name, inner in found.items()}


def _trace_of(place: Path) -> Path | None:
    return next((one for one in (place, place / "trace") if (one / "inputs.nc").is_file()), None)


def _one_trace(place: str | Path | xr.Dataset) -> xr.Dataset:
    from attnshift.tracing.dataset import open_trace

    if isinstance(place, xr.Dataset):
        return place
    found = _trace_of(Path(place)) or Path(place)
    return open_trace(found).assign_attrs({_FROM: str(found.resolve())})
