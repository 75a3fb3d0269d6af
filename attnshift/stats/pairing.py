"""Runs of two sides matched by name, and their items by id."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr
from jaxtyping import Shaped

from attnshift.errors import AttnshiftError
from attnshift.stats.items import ItemSeries, item_series
from attnshift.stats.sides import Side, common_items


@dataclass(frozen=True)
class Pair:
    """One run on both sides, on their common items."""

    run: str
    traces: tuple[xr.Dataset, xr.Dataset]
    series: tuple[ItemSeries, ItemSeries]
    strata: Shaped[np.ndarray, "item"]
    held: tuple[int, int]
    """how many items each side's trace has in all"""


def paired_runs(a: Side, b: Side) -> tuple[list[tuple[str, str, str]], list[str]]:
    """Name, key of the first side and key of the second for every run that both have; what is left out is told."""
    if len(a.runs) == len(b.runs) == 1:
        ((one, two),) = zip(a.runs, b.runs, strict=True)
        return [(one or two, one, two)], []
    common = [name for name in a.runs if name in b.runs]
    if not common:
        raise AttnshiftError(
            f"{a.name} has the runs {', '.join(a.runs)} and {b.name} {', '.join(b.runs)}",
            expected="runs of the same names (seeds) on both sides",
            remedy="name them: 0=DIR,1=DIR",
        )
    alone = [f"{side.name} alone has {', '.join(left)}" for side in (a, b) if (left := set(side.runs) - set(common))]
    return [(name, name, name) for name in common], [f"Paired by the runs {', '.join(common)}; {one}." for one in alone]


def pair_items(run: str, first: xr.Dataset, second: xr.Dataset, measure: str, by: str, known: bool) -> Pair:
    """One run on the items that both sides have, in the first one's order; ``known`` drops those not known on both.

    Raises AttnshiftError where that leaves none, an id is two items, or the measure or the groups are missing.
    """
    whole = item_series(first, measure, known), item_series(second, measure, known)
    chosen = set(whole[0].items.tolist()) & set(whole[1].items.tolist())
    items = [item for item in common_items(first, second) if item in chosen]
    if not items:
        raise AttnshiftError("no item is known in both traces", remedy="leave --known out")
    traces = first.sel(item=items), second.sel(item=items)
    series = item_series(traces[0], measure), item_series(traces[1], measure)
    held = first.sizes["item"], second.sizes["item"]
    return Pair(run, traces, series, item_groups(traces[0], by), held)


def item_groups(trace: xr.Dataset, by: str) -> Shaped[np.ndarray, "item"]:
    """The group of every item by a coordinate or variable per item; raises AttnshiftError where there is none."""
    for name in (f"item_{by}", by):
        if name in trace.variables and trace[name].dims == ("item",):
            return trace[name].values.astype(str)
    fit = [str(name).removeprefix("item_") for name in trace.coords if trace[name].dims == ("item",) and name != "item"]
    raise AttnshiftError(
        f"the items have no {by!r}", expected=f"one of {', '.join(sorted(fit)) or 'nothing: no groups'}"
    )
