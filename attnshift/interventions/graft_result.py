"""Grafts as labelled arrays."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Bool

from attnshift.interventions.grafting import Grafted
from attnshift.interventions.plan import Graft
from attnshift.interventions.result import about, common
from attnshift.interventions.search import CRITERIA
from attnshift.interventions.setup import Bench
from attnshift.measures.catalogue import choose_measures
from attnshift.stats.restoration import restoration


def graft_dataset(bench: Bench, done: Grafted) -> xr.Dataset:
    """Measures of source, target and every graft, what each restores and what it costs."""
    inputs, attributes = common(bench, "graft", _done(done))
    out: dict[str, Any] = {}
    for name in done.source:
        one = choose_measures([name])[0]
        for whose, values in (("source", done.source), ("target", done.target)):
            out[f"{whose}_{name}"] = (
                one.dims,
                values[name],
                about(one.unit, f"{one.meaning} Of the {whose}.", "graft"),
            )
        table = np.stack([values[name] for values in done.values])
        out[name] = (("graft", *one.dims), table, about(one.unit, one.meaning, "graft"))
    clusters = np.array([str(item.cluster) for item in bench.job.inputs.items])
    unseen = ~done.judged
    for name in CRITERIA:
        out |= _restored(done, name, clusters, np.ones_like(unseen), "")
        if done.search is not None and unseen.any():
            out |= _restored(done, name, clusters, unseen, "_confirmed")
    if "loss" in done.target:
        cost = out["loss"][1].mean(1) - done.target["loss"].mean()
        meaning = "mean loss of the held-out examples less the target's: above 0 the graft costs"
        out["loss_change"] = ("graft", cost, about("nats per token", meaning, "graft"))
    if done.search is not None:
        seen = about("0/1", "whether the search saw the item", "graft")
        out["searched"] = ("item", done.judged, seen)
    return inputs.assign(out).assign_coords(_coordinates(done.planned)).assign_attrs(attributes)


def _restored(
    done: Grafted, name: str, clusters: np.ndarray, among: Bool[np.ndarray, "item"], suffix: str
) -> dict[str, Any]:
    grafted = np.stack([values[name] for values in done.values])[:, among]
    share = restoration(grafted, done.source[name][among], done.target[name][among], clusters[among])
    told = f"(grafted - target) / (source - target) of the mean {name}"
    told += ", items that the search didn't see" if suffix else ""
    bounds = {"": told, "_low": f"lower end of its 95 % interval: {told}", "_high": f"upper end: {told}"}
    values = (share.estimate, share.low, share.high)
    return {
        f"restoration_{name}{suffix}{bound}": ("graft", np.asarray(value), about("share", said, "graft"))
        for (bound, said), value in zip(bounds.items(), values, strict=True)
    }


def _coordinates(planned: Sequence[Graft]) -> dict[str, Any]:
    units = [json.dumps(sorted(unit.name for unit in one.units)) for one in planned]
    return {
        "graft": [one.label if one.kind != "unit" else f"unit {one.label}" for one in planned],
        "kind": ("graft", np.array([one.kind for one in planned], object)),
        "part": ("graft", np.array([one.part for one in planned], object)),
        "layer": ("graft", np.array([one.layer for one in planned])),
        "units": ("graft", np.array(units, object), {"measure": "a JSON list: the weights that are the source's"}),
    }


def _done(done: Grafted) -> dict[str, Any]:
    out: dict[str, Any] = {"models_measured": done.evaluations, "grafts": len(done.planned)}
    if done.search is not None and done.wanted is not None:
        found = sorted(unit.name for unit in done.search.found)
        out["search"] = {**asdict(done.wanted), "found": found, "reached": done.search.reached}
    return out
