"""Which parts of the model a group's gradient lies on."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
import xarray as xr

from attnshift.errors import AttnshiftError
from attnshift.figures.heatmaps import Heat, heat_maps
from attnshift.figures.values import reads


@reads("gradient_norm_by_part")
def parts(trace: xr.Dataset, group: str = "critical", step: int | None = None) -> go.Figure:
    """Each part's percent of a group's squared gradient norm, by layer and kind of part, a map per step.

    Squares over all parts sum to the whole squared, so that a step's map sums to 100 %. Parts without a layer
    (embedding, final norm, unembedding) stand in a row of their own.

    Raises AttnshiftError where the trace lacks ``gradient_norm_by_part``, the group or the step.
    """
    groups = [str(one) for one in trace["group"].values]
    if group not in groups:
        raise AttnshiftError(f"the trace has no group {group!r}", expected=f"one of {', '.join(groups)}")
    squares = trace["gradient_norm_by_part"].sel(group=group).transpose("step", "part").values.astype(np.float64) ** 2
    with np.errstate(invalid="ignore"):
        shares = 100 * squares / squares.sum(-1, keepdims=True)
    names = [str(part).rpartition(".") for part in trace["part"].values]
    rows = sorted({layer for layer, _, _ in names}, key=lambda layer: int(layer or -1))
    columns = list(dict.fromkeys(kind for _, _, kind in names))
    values = np.full((len(shares), len(rows), len(columns)), np.nan)
    for place, (layer, _, kind) in enumerate(names):
        values[:, rows.index(layer), columns.index(kind)] = shares[:, place]
    heat = Heat(
        values,
        steps=trace["step"].values.tolist(),
        rows=[layer or "none" for layer in rows],
        columns=columns,
        row_title="layer",
        column_title="part",
        unit="share of the squared norm (%)",
    )
    return heat_maps(heat, f"Where the {group.replace('_', '-')} gradient lies", "squared norms sum to 100 %", step)
