"""Where in the model the difference between two checkpoints is: what patches restore."""

from __future__ import annotations

import json
from typing import Final

import numpy as np
import plotly.graph_objects as go
import xarray as xr
from plotly.subplots import make_subplots

from attnshift.figures.heatmaps import MAP
from attnshift.figures.theme import LEAN, TEMPLATE, WIDTH, titled

_PARTS: Final = {
    "resid_pre": "stream before",
    "resid_mid": "stream within",
    "resid_post": "stream behind",
    "attn": "attention",
    "mlp": "MLP",
    "z": "heads' outputs",
}
_TOP, _BOTTOM, _GAP, _CELL, _TALLEST = 92, 62, 26, 26, 240  # pixels
_READABLE = 60
"""Cells of a map up to which each says its number."""


def patch_map(result: xr.Dataset) -> go.Figure:
    """What patching each layer at the tokens of each role restores of the margin, a map per part, in percent.

    (patched - target) / (source - target) of the mean margins: 100 is all that lies between the two checkpoints, 0
    nothing, below 0 away from the source. Everything after the patch is the target's. ``last_row`` is the prompt's last
    token, which predicts the answer and has a role as well; ``all`` is every token.
    """
    values = (
        result["restoration"] if "layer" in result["restoration"].dims else result["restoration"].expand_dims("layer")
    )
    values = 100 * values.transpose("part", "layer", "role")
    layers = [str(layer) for layer in result["layer"].values] if "layer" in result.coords else ["all"]
    parts = [str(part) for part in values["part"].values]
    roles = [str(role).replace("_", "<br>") for role in values["role"].values]
    tall = min(max(_CELL * len(layers), 2 * _CELL), _TALLEST)
    inner = len(parts) * (tall + _GAP) - _GAP
    figure = make_subplots(len(parts), 1, shared_xaxes=True, vertical_spacing=_GAP / inner)
    reach = max(100.0, float(np.nanmax(np.abs(values.values))))
    few = len(layers) * len(roles) <= _READABLE
    for row, part in enumerate(parts, 1):
        name = _PARTS.get(part, part)
        figure.add_trace(
            go.Heatmap(
                x=roles, y=layers, z=values.values[row - 1].tolist(), name=name, meta=MAP, coloraxis="coloraxis",
                xgap=1, ygap=1, texttemplate="%{z:.0f}" if few else None,
                hovertemplate=f"<b>{name}</b><br>layer %{{y}}<br>%{{x}}<br>%{{z:.1f}} %<extra></extra>",
            ),
            row=row, col=1,
        )  # fmt: skip
        figure.update_yaxes(title_text=name.replace(" ", "<br>"), type="category", row=row)
    figure.update_layout(template=TEMPLATE, title_text=titled("Where is what was lost?", _subtitle(result)))
    figure.update_layout(
        width=WIDTH, height=_TOP + inner + _BOTTOM, margin={"t": _TOP, "b": _BOTTOM, "l": 104, "r": 26}
    )
    figure.update_layout(coloraxis={"colorscale": LEAN, "cmin": -reach, "cmax": reach})
    figure.update_layout(coloraxis_colorbar_title_text="% of the margin")
    figure.update_xaxes(showgrid=False, showline=False, type="category")
    figure.update_yaxes(showgrid=False, showline=False)
    figure.update_xaxes(title_text="tokens", row=len(parts))
    return figure


def ends(result: xr.Dataset) -> str:
    """Between which checkpoints, in a line."""
    done = json.loads(result.attrs["manifest"])
    return f"step {done['source']['step']:,} into step {done['target']['step']:,}"


def _subtitle(result: xr.Dataset) -> str:
    source, target = (float(result[f"{end}_margin"].mean()) for end in ("source", "target"))
    count = int(np.isfinite(result["source_margin"].values).sum())
    return f"{ends(result)}; {count} items; margin {source:+.2f} against {target:+.2f} nats"
