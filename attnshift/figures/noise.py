"""Checkpoint noise drawn: how far checkpoints jump, beside what other items would have said."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import plotly.graph_objects as go
import xarray as xr
from jaxtyping import Float

from attnshift.stats.items import ItemSeries, item_clusters
from attnshift.stats.noise import checkpoint_noise

NOISE: Final = "noise"
"""What a plotly trace's ``meta`` says of a band of checkpoint noise; its ``customdata`` holds, for every point of the
curve, x in data units, y, low and high."""

NAME: Final = "checkpoint noise (95 %)"
"""What the legend calls it, once in a figure: a click takes all of them away."""


def noise_over_items(trace: xr.Dataset, values: Float[np.ndarray, "step item"]) -> float:
    """Half width of the band around the mean over items, in the unit of the values: `checkpoint_noise`'s.

    NaN for fewer than 4 checkpoints with a number.
    """
    steps, items = trace["step"].values, trace["item"].values
    return checkpoint_noise(ItemSeries("", "", steps, items, values, item_clusters(trace))).band


def bands_told(noise: float) -> str:
    """What shaded and dotted mean, for a line under the title."""
    dotted = "; dotted: how far checkpoints jump" if np.isfinite(noise) else ""
    return f"shaded: 95 % interval over items{dotted}"


def noise_points(
    x: Float[np.ndarray, "point"],
    y: Float[np.ndarray, "point"],
    half_width: float,
    limits: tuple[float, float] = (-np.inf, np.inf),
) -> Float[np.ndarray, "point 4"]:
    """x, y, low and high of the band; it ends where the numbers do, at ``limits``."""
    low, high = np.clip(y - half_width, *limits), np.clip(y + half_width, *limits)
    return np.stack([x, y, low, high], -1)


def add_noise(
    figure: go.Figure,
    points: Sequence[Sequence[float]],
    drawn: tuple[Float[np.ndarray, "corner"], Float[np.ndarray, "corner"]],
    colour: str,
    row: int | None = None,
) -> None:
    """Add a band to a panel as dotted lines through ``drawn``, its corners' x and y (NaN lifts the pen).

    ``points`` are those of `noise_points`.
    """
    x, y = ([None if np.isnan(value) else value for value in part.tolist()] for part in drawn)
    first = not any(trace.meta == NOISE for trace in figure.data)
    band = go.Scatter(
        x=x,
        y=y,
        name=NAME,
        legendgroup=NOISE,
        legend=f"legend{row or ''}".removesuffix("1"),
        legendrank=2000,  # behind the curves
        showlegend=first,
        meta=NOISE,
        mode="lines",
        line={"color": colour, "width": 1.2, "dash": "2px,2px"},
        opacity=0.7,
        cliponaxis=False,
        customdata=points,
        hoverinfo="skip",
    )
    figure.add_trace(band, row=row, col=None if row is None else 1)
