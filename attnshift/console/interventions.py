"""Patches and grafts as `attnshift patch` and `attnshift graft` tell them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import xarray as xr

_SHOWN = ("all", "set", "part", "layer", "unit")
"""Kinds of grafts that are told as lines; all are in the facts."""

_MOST = 4
"""Rows that each part has in a table of the strongest."""


def patch_facts(result: xr.Dataset) -> dict[str, Any]:
    """A patch as plain data: what was done, the ends, and what every cell restores."""
    cells = _cells(result, "restoration", "answer_restoration")
    if "restoration_by_head" in result:
        cells += [{"part": "z", **cell} for cell in _cells(result, "restoration_by_head", "answer_restoration_by_head")]
    return {
        "manifest": json.loads(result.attrs["manifest"]),
        "items": int(np.isfinite(result["source_margin"].values).sum()),
        "margin": {end: _mean(result[f"{end}_margin"].values) for end in ("source", "target", "source_readout")},
        "answers_from_context": {
            end: float((result[f"{end}_label"].values == 0).mean()) for end in ("source", "target") if _labelled(result)
        },
        "cells": cells,
    }


def patch_text(facts: Mapping[str, Any]) -> str:
    """A patch as lines: the ends, the controls, the cells that restore most."""
    done, margin = facts["manifest"], facts["margin"]
    answers = facts["answers_from_context"]
    lines = [
        f"source     {done['source']['path']}",
        f"target     {done['target']['path']}",
        f"items      {facts['items']} whose answers part",
        f"margin     source {margin['source']:+.3f}, target {margin['target']:+.3f} nats; the target's stream read by "
        f"the source's norm and unembedding {margin['source_readout']:+.3f}",
        *([f"answers    {answers['source']:.0%} from the context, {answers['target']:.0%}"] if answers else []),
        f"cost       {done['cells']} cells: {done['prompts']:,} prompts in {done['forwards']:,} forwards",
        f"controls   {_controls(done['controls'])}",
        "",
        f"restored   of each part the {_MOST} cells that restore most",
    ]
    ranked = sorted(facts["cells"], key=lambda cell: -(cell["restoration"] or 0.0))
    for part in dict.fromkeys(cell["part"] for cell in facts["cells"]):
        lines += [_cell_line(cell) for cell in ranked if cell["part"] == part][:_MOST]
    return "\n".join(lines)


def graft_facts(result: xr.Dataset) -> dict[str, Any]:
    """A graft as plain data: what was done, the ends, and what every set of weights restores and costs."""
    names = [name for name in ("margin", "counterfactual_accuracy", "parametric_accuracy", "loss") if name in result]
    columns = [name for name in result.data_vars if str(name).startswith(("restoration_", "loss_change"))]
    grafts = []
    for row in range(result.sizes["graft"]):
        one = result.isel(graft=row)
        told: dict[str, Any] = {"graft": str(one["graft"].values), "kind": str(one["kind"].values)}
        told["units"] = json.loads(str(one["units"].values))
        told |= {name: _mean(one[name].values) for name in names}
        grafts.append(told | {str(name): _plain(one[name].values) for name in columns})
    ends = {end: {name: _mean(result[f"{end}_{name}"].values) for name in names} for end in ("source", "target")}
    return {"manifest": json.loads(result.attrs["manifest"]), **ends, "grafts": grafts}


def graft_text(facts: Mapping[str, Any]) -> str:
    """A graft as lines: the ends, what each set of weights restores, and the set that a search found."""
    done = facts["manifest"]
    lines = [f"{end}     {done[end]['path']}\n{'':10} {_told(facts[end])}" for end in ("source", "target")]
    lines += [f"measured   {done['models_measured']} models", "", f"{'':26} margin  answers  loss"]
    lines += [_graft_line(one) for one in facts["grafts"] if one["kind"] in _SHOWN]
    if "search" in done:
        found = facts["grafts"][-1]
        enough = "restores" if done["search"]["reached"] else "restores less than asked for:"
        lines += [
            "",
            f"found      {', '.join(found['units'])} {enough} {_percent(found['restoration_margin'])} of the margin, "
            f"{_percent(found['restoration_counterfactual_accuracy'])} of the answers"
            + _confirmed(found)
            + ("" if "loss_change" not in found else f"; loss {found['loss_change']:+.4f} nats per token"),
        ]
    return "\n".join(lines)


def _cells(result: xr.Dataset, name: str, answers: str) -> list[dict[str, Any]]:
    values, dims = result[name], [str(dim) for dim in result[name].dims]
    out = []
    for place in np.ndindex(*values.shape):
        labels = {dim: _plain(result[dim].values[i]) for dim, i in zip(dims, place, strict=True)}
        bounds = {bound: _plain(result[f"{name}_{bound}"].values[place]) for bound in ("low", "high")}
        cell = labels | {"restoration": _plain(values.values[place])} | bounds
        out.append(cell | ({"answers": _plain(result[answers].values[place])} if answers in result else {}))
    return out


def _cell_line(cell: Mapping[str, Any]) -> str:
    told = [f"{dim} {cell[dim]}" for dim in ("layer", "head", "role") if dim in cell]
    place = "  ".join([f"{cell['part']:10}", *told])
    interval = f"({_percent(cell['low'])} to {_percent(cell['high'])})"
    answers = f", answers {_percent(cell['answers'])}" if "answers" in cell else ""
    return f"  {place:42} {_percent(cell['restoration']):>6} {interval}{answers}"


def _graft_line(one: Mapping[str, Any]) -> str:
    answers = _percent(one["restoration_counterfactual_accuracy"])
    loss = f"{one['loss_change']:+.4f}" if "loss_change" in one else ""
    return f"  {one['graft']:24} {_percent(one['restoration_margin']):>6}  {answers:>6}  {loss}"


def _confirmed(found: Mapping[str, Any]) -> str:
    if "restoration_margin_confirmed" not in found:
        return ""
    pair = (found[f"restoration_{name}_confirmed"] for name in ("margin", "counterfactual_accuracy"))
    return " ({} and {} on items that the search didn't see)".format(*map(_percent, pair))


def _told(end: Mapping[str, float]) -> str:
    loss = f", loss {end['loss']:.4f}" if "loss" in end else ""
    answers = f"{end['counterfactual_accuracy']:.0%} counterfactual, {end['parametric_accuracy']:.0%} parametric"
    return f"margin {end['margin']:+.3f} nats, {answers}{loss}"


def _controls(controls: Mapping[str, float]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value:.1g}" for name, value in controls.items()) + " nats off"


def _labelled(result: xr.Dataset) -> bool:
    return "source_label" in result


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.0f} %"


def _mean(values: np.ndarray) -> float:
    return float(np.nanmean(values))


def _plain(value: Any) -> Any:
    """As JSON knows it: nothing where there is no number."""
    one = np.asarray(value).item()
    return None if isinstance(one, float) and one != one else one
