"""How much more likely the context's answer is than the memorised one."""

from __future__ import annotations

import plotly.graph_objects as go
import xarray as xr

from attnshift.figures.series import Series, draw, panels, step_axis
from attnshift.figures.theme import COLOURS
from attnshift.figures.values import item_values, mean_over_items, need
from attnshift.stats.intervals import Interval


def margin(trace: xr.Dataset, log_steps: bool = False) -> go.Figure:
    """Mean margin between the context's and the memorised answer over steps, with the middle half of the items.

    log p(context answer) - log p(parametric answer) in nats, given the context; above 0 the context is preferred.
    The mean with its 95 % interval (cluster bootstrap); faintly, the 25 and 75 % quantiles of the items.

    Raises AttnshiftError where the trace lacks ``margin``.
    """
    need(trace, "margin")
    axis = step_axis(trace, log_steps)
    values = item_values(trace, "margin")
    subtitle = f"log p(context answer) − log p(parametric answer), given the context; {values.shape[-1]} items"
    figure = panels(axis, ["margin (nats)"], "Margin between the two answers", subtitle)
    quartiles = trace["margin"].astype(float).quantile([0.25, 0.75], "item").values
    edges = {f"{percent} % quantile of items": edge for percent, edge in zip((25, 75), quartiles, strict=True)}
    curves = [Series("mean, 95 % interval", "neutral", mean_over_items(trace, values), "nats")]
    curves += [
        Series(name, "faint", Interval(edge, float("nan"), float("nan")), "nats") for name, edge in edges.items()
    ]
    draw(figure, axis, curves)
    _mark_zero(figure)
    return figure


def _mark_zero(figure: go.Figure) -> None:
    """A line at 0 and, beside the panel where no curve can run over it, what its two sides mean."""
    figure.add_hline(0, line={"color": COLOURS["faint"], "width": 1.5}, layer="below")
    sides = {"context": "context preferred above,", "parametric": "memory below"}
    text = "<br>".join(f'<span style="color:{COLOURS[side]}">{words}</span>' for side, words in sides.items())
    place = {"x": 1, "xref": "paper", "xanchor": "left", "xshift": 6, "y": 0, "yref": "y", "yanchor": "middle"}
    figure.add_annotation(text=text, align="left", showarrow=False, font_size=12, **place)
    figure.update_yaxes(rangemode="tozero")
    figure.update_layout(margin_r=160)
