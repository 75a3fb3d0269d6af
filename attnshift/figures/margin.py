"""How much more likely the context's answer is than the memorised one."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
import xarray as xr
from jaxtyping import Float

from attnshift.figures.noise import bands_told, noise_over_items
from attnshift.figures.series import Series, draw, panels, step_axis
from attnshift.figures.theme import COLOURS, REFERENCE
from attnshift.figures.values import item_values, mean_over_items, reads
from attnshift.stats.intervals import Interval


@reads("margin")
def margin(trace: xr.Dataset, log_steps: bool = False, smooth: int = 1) -> go.Figure:
    """Mean margin between the context's and the memorised answer over steps, with the middle half of the items.

    log p(context answer) - log p(parametric answer) in nats, given the context; above 0 the context is preferred.
    The mean with its 95 % interval over items (cluster bootstrap) shaded; dotted around it: checkpoint noise, how far a
    checkpoint strays from the trend of its neighbours by chance on these same items (95 %; from 4 checkpoints on). In
    grey: the 25 and 75 % quantiles of the items.

    Raises AttnshiftError where the trace lacks ``margin``.
    """
    axis = step_axis(trace, log_steps, smooth)
    values = item_values(trace, "margin")
    noise = noise_over_items(trace, values)
    subtitle = f"{values.shape[-1]} conflict items; {bands_told(noise)}"
    figure = panels(axis, ["margin (nats)"], "Margin between the two answers", subtitle)
    edges = [(f"{percent} % quantile", _quantile(values, percent / 100)) for percent in (25, 75)]
    curves = [Series("mean", "neutral", mean_over_items(trace, values), "nats", noise)]
    curves += [Series(name, "faint", Interval.bare(edge), "nats") for name, edge in edges]
    draw(figure, axis, curves)
    _mark_zero(figure, curves)
    return figure


def _quantile(values: Float[np.ndarray, "step item"], share: float) -> Float[np.ndarray, "step"]:
    """Of the items that have a number; NaN for a step without any."""
    known = [row[np.isfinite(row)] for row in values]
    return np.array([np.quantile(row, share) if len(row) else np.nan for row in known])


def _mark_zero(figure: go.Figure, curves: list[Series]) -> None:
    """A line at 0, always in sight, and what its two sides mean: beside the panel, where no curve can run over it."""
    figure.add_hline(0, line=REFERENCE)
    sides = {"context": "context preferred above,", "parametric": "memory below"}
    text = "<br>".join(f'<span style="color:{COLOURS[side]}">{words}</span>' for side, words in sides.items())
    place = {"x": 1, "xref": "paper", "xanchor": "left", "xshift": 6, "y": 0, "yref": "y", "yanchor": "middle"}
    figure.add_annotation(text=text, align="left", showarrow=False, font_size=12, **place)
    every = np.hstack([edge for one in curves for edge in _edges(one)])
    low, high = np.nanmin([*every, 0.0]), np.nanmax([*every, 0.0])
    spare = 0.1 * (high - low) or 1.0
    figure.update_yaxes(range=[float(low - spare), float(high + spare)])
    figure.update_layout(margin_r=160)


def _edges(curve: Series) -> list[Float[np.ndarray, "step"]]:
    """Everything of a curve that has to be in sight."""
    values, noise = curve.values, np.nan_to_num(curve.noise)
    return [values.estimate - noise, values.estimate + noise, values.low, values.high]
