"""Patches as labelled arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float

from attnshift.interventions.cells import Grid, tokens_of
from attnshift.interventions.patching import Patches
from attnshift.interventions.result import about, common
from attnshift.interventions.setup import Bench
from attnshift.models.contrast import Contrast, item_contrasts
from attnshift.scoring.labels import LABELS, SCORER, SCORER_VERSION
from attnshift.stats.restoration import restoration

_CONTEXT = LABELS.index("context")
_MARGIN = "logit of the context answer - logit of the parametric answer, at the first token in which they differ"


def patch_dataset(bench: Bench, places: Sequence[int], found: Patches, axes: frozenset[str]) -> xr.Dataset:
    """Everything that a patch gave; items whose answers never part are NaN (labels -1)."""
    inputs, attributes = common(bench, "patch", _done(found, axes))
    spread = _Spread(len(bench.job.inputs.items), np.array(places))
    out: dict[str, Any] = {}
    for name, meaning in (
        ("source", "of the source"),
        ("target", "of the target"),
        ("source_readout", "of the target's residual stream, read by the source's final norm and unembedding"),
    ):
        out[f"{name}_margin"] = ("item", spread(getattr(found, name)), about("nats", f"{_MARGIN}; {meaning}", "patch"))
    clusters = np.array([item.cluster for item in bench.job.inputs.items], object)[np.array(places)].astype(str)
    cells = len([*found.grid])
    for grid, suffix, chosen in (
        (found.grid, "", slice(None, cells)),
        (found.grid_by_head, "_by_head", slice(cells, None)),
    ):
        if grid is not None:
            out |= _variables(found, chosen, _Axes(grid, axes), suffix, spread, clusters)
    out |= _labels(found, spread)
    _, contrasts = item_contrasts(bench.job.inputs.item_tokens)
    out["tokens"] = (
        ("item", "role"),
        spread(_counts(contrasts, found.grid), fill=0),
        about("tokens", _COUNTS, "patch"),
    )
    coordinates = {"part": list(found.grid.parts), "role": list(found.grid.tokens)}
    if "layer" in axes:
        coordinates["layer"] = [layers[0] for layers in found.grid.layers]
    if found.grid_by_head is not None:
        coordinates["head"] = list(found.grid_by_head.heads)
    return inputs.assign(out).assign_coords(coordinates).assign_attrs(attributes)


_COUNTS = "how many tokens are replaced; where none is the patched margin is the target's own"


class _Spread:
    """From the items whose answers part to all items."""

    def __init__(self, count: int, places: np.ndarray) -> None:
        self.count, self.places = count, places

    def __call__(self, values: np.ndarray, axis: int = 0, fill: float = np.nan) -> np.ndarray:
        """``axis`` is that of the items; ``fill`` stands for the others."""
        shape = list(values.shape)
        shape[axis] = self.count
        out = np.full(shape, fill, values.dtype)
        np.moveaxis(out, axis, 0)[self.places] = np.moveaxis(values, axis, 0)
        return out


class _Axes:
    """Arrays by cell as arrays by the axes that are told apart."""

    def __init__(self, grid: Grid, axes: frozenset[str]) -> None:
        self.grid = grid
        by_head = grid.heads != (None,)
        told = (not by_head, "layer" in axes, by_head, True)
        self.dims = tuple(name for name, kept in zip(("part", "layer", "head", "role"), told, strict=True) if kept)
        self.squeezed = tuple(axis for axis, kept in enumerate(told) if not kept)

    def __call__(self, values: Float[np.ndarray, "cell *rest"]) -> np.ndarray:
        """One axis per dim instead of one for all cells."""
        return values.reshape(*self.grid.shape, *values.shape[1:]).squeeze(self.squeezed)


def _variables(
    found: Patches, chosen: slice, axes: _Axes, suffix: str, spread: _Spread, clusters: np.ndarray
) -> dict[str, Any]:
    values = found.patched[chosen]
    share = restoration(values, found.source, found.target, clusters)
    meaning = "(patched - target) / (source - target) of the mean margins"
    patched = spread(axes(values), len(axes.dims))
    out: dict[str, Any] = {
        f"patched_margin{suffix}": ((*axes.dims, "item"), patched, about("nats", f"{_MARGIN}; patched", "patch"))
    }
    for name, bound, told in (
        ("", share.estimate, meaning),
        ("_low", share.low, f"lower end of its 95 % interval over items: {meaning}"),
        ("_high", share.high, f"upper end of its 95 % interval over items: {meaning}"),
    ):
        out[f"restoration{suffix}{name}"] = (axes.dims, axes(np.asarray(bound)), about("share", told, "patch"))
    if found.generated:
        labels = found.patched_label[chosen]
        given = [(each == _CONTEXT).astype(np.float64) for each in (labels, found.source_label, found.target_label)]
        won = restoration(given[0], given[1], given[2], clusters)
        told = "(patched - target) / (source - target) of the share of answers labelled context"
        label = (*axes.dims, "item"), spread(axes(labels), len(axes.dims), -1), _label_about("patched")
        out |= {
            f"patched_label{suffix}": label,
            f"answer_restoration{suffix}": (axes.dims, axes(np.asarray(won.estimate)), about("share", told, "patch")),
        }
    return out


def _labels(found: Patches, spread: _Spread) -> dict[str, Any]:
    if not found.generated:
        return {}
    return {
        f"{name}_label": ("item", spread(getattr(found, f"{name}_label"), 0, -1), _label_about(name))
        for name in ("source", "target")
    }


def _label_about(whose: str) -> dict[str, Any]:
    flags = {"flag_values": np.arange(len(LABELS), dtype=np.int8), "flag_meanings": " ".join(LABELS)}
    scored = about("code", f"whose answer the {whose} model generates; -1 where answers never part", "patch")
    return scored | flags | {"scorer": f"{SCORER}/{SCORER_VERSION}"}


def _counts(contrasts: Sequence[Contrast], grid: Grid) -> np.ndarray:
    return np.array([[int(tokens_of(one, tokens).sum()) for tokens in grid.tokens] for one in contrasts])


def _done(found: Patches, axes: frozenset[str]) -> dict[str, Any]:
    return {
        "parts": list(found.grid.parts),
        "by": sorted(axes),
        "cells": len(found.cells),
        "prompts": found.cost.sequences,
        "forwards": found.cost.forwards,
        "controls": asdict(found.controls),
        "generated": found.generated,
    }
