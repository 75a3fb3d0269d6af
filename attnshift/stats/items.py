"""Numbers per step and item, with the clusters of the items: what every statistic starts from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr
from jaxtyping import Float, Shaped

from attnshift.errors import AttnshiftError

LABELS = ("context", "parametric", "both", "neither")
_SHARES = ("counterfactual_accuracy", "parametric_accuracy")


@dataclass(frozen=True)
class ItemSeries:
    """One measure of one run: a number per step and item."""

    measure: str
    unit: str
    """``points`` (percent of the items) for what is 0 or 1 per item, else the variable's own"""
    steps: Shaped[np.ndarray, "step"]
    items: Shaped[np.ndarray, "item"]
    """their ids"""
    values: Float[np.ndarray, "step item"]
    """in the unit; NaN where it wasn't measured"""
    clusters: Shaped[np.ndarray, "item"]

    @property
    def share(self) -> bool:
        """Whether each item is 0 or 1 (then 0 or 100 here)."""
        return self.unit == "points"

    @property
    def means(self) -> Float[np.ndarray, "step"]:
        """Mean over the items that were measured; NaN where none was."""
        counted = np.isfinite(self.values).sum(-1)
        with np.errstate(invalid="ignore"):
            return np.nansum(self.values, -1) / np.where(counted, counted, np.nan)


def item_series(trace: xr.Dataset, measure: str = "counterfactual_accuracy", known: bool = False) -> ItemSeries:
    """A measure of one run's trace by step and item, on the known items alone where asked.

    ``answer_label`` counts the items labelled ``context``.

    Raises AttnshiftError for a measure that the trace lacks or that isn't per step and item, for several runs, and
    where known items are asked for and the trace doesn't say which they are, or none is.
    """
    if "run" in trace.dims:
        raise AttnshiftError(
            f"a trace of the runs {', '.join(map(str, trace['run'].values))}",
            expected="one run",
            remedy="trace.sel(run=NAME)",
        )
    if measure not in trace or set(trace[measure].dims) != {"step", "item"}:
        fit = {str(name) for name in trace.data_vars if set(trace[name].dims) == {"step", "item"}} - {"generation"}
        raise AttnshiftError(
            f"{measure!r} is no measure per step and item of this trace",
            expected=f"one of {', '.join(sorted(fit))}" if fit else "a trace with a measure per step and item",
            remedy="attnshift rescore TRACE" if measure == "answer_label" else "",
        )
    chosen = known_items(trace) if known else np.ones(trace.sizes["item"], bool)
    raw = trace[measure].transpose("step", "item").values[:, chosen]
    if measure == "answer_label":
        values = np.where(np.isin(raw.astype(str), LABELS), raw.astype(str) == "context", np.nan)
    elif raw.dtype.kind in "fiub":
        values = raw.astype(np.float64)
    else:
        raise AttnshiftError(f"{measure!r} holds {raw.dtype} values", expected="a measure in numbers")
    share = measure in (*_SHARES, "answer_label") or trace[measure].attrs.get("unit") == "0/1"
    return ItemSeries(
        measure=measure,
        unit="points" if share else str(trace[measure].attrs.get("unit", "")),
        steps=trace["step"].values,
        items=trace["item"].values.astype(str)[chosen],
        values=100 * values if share else values,
        clusters=item_clusters(trace)[chosen],
    )


def item_clusters(trace: xr.Dataset) -> Shaped[np.ndarray, "item"]:
    """The cluster of every item; each its own where the trace has none."""
    if "item_cluster" in trace.coords:
        return trace["item_cluster"].values.astype(str)
    return np.arange(trace.sizes["item"]).astype(str)


def known_items(trace: xr.Dataset) -> Shaped[np.ndarray, "item"]:
    """Which items pass the closed-book filter of the base checkpoint; raises AttnshiftError where nothing says so."""
    if "known_item" not in trace:
        raise AttnshiftError(
            "the trace doesn't say which items were known (it has no known_item)",
            expected="known_item, 0/1 per item",
            remedy="leave --known out, or trace the run anew: every trace of conflicts says so now",
        )
    known = trace["known_item"].values.astype(np.float64) == 1
    if not known.any():
        raise AttnshiftError("no item of the trace passes the known-item filter", remedy="leave --known out")
    return known


def answer_labels(trace: xr.Dataset) -> Shaped[np.ndarray, "step item"]:
    """Whose answer each item gets at each step: context, parametric, both or neither; empty where unmeasured.

    ``answer_label`` where the trace has it; else what the paper's containment says, from the two accuracies.
    """
    if "answer_label" in trace:
        labels = trace["answer_label"].transpose("step", "item").values.astype(str)
        return np.where(np.isin(labels, LABELS), labels, "")
    context, parametric = (trace[name].transpose("step", "item").values.astype(np.float64) for name in _SHARES)
    said = np.select(
        [(context == 1) & (parametric == 1), context == 1, parametric == 1],
        ["both", "context", "parametric"],
        "neither",
    )
    return np.where(np.isnan(context) | np.isnan(parametric), "", said)
