"""Is the mass that moved the mass that matters? Heads by what they lost of both."""

from __future__ import annotations

from typing import Final

import numpy as np
import plotly.graph_objects as go
import xarray as xr
from jaxtyping import Float

from attnshift.errors import AttnshiftError
from attnshift.figures.phases import phase_marks
from attnshift.figures.theme import COLOURS, REFERENCE, TEMPLATE, WIDTH, titled
from attnshift.figures.ticks import padded
from attnshift.figures.values import reads
from attnshift.stats.heads import by_head, mass_against_effect

_LABEL: Final = np.array([0.2, 0.09])
"""Width and height of a label at one column, in parts of the panel's."""

_SIDES: Final = {"middle right": (1, 0), "middle left": (-1, 0), "top center": (0, 1), "bottom center": (0, -1)}


@reads("attention_mass", "knockout_effect")
def mass_against_effect_of_heads(trace: xr.Dataset, since: int | None = None, until: int | None = None) -> go.Figure:
    """Change of context mass against change of effect, head by head, between two steps.

    Effect: margin lost (nats) when the head's answer row may not see the context. Between the step of highest
    counterfactual accuracy (else the first) and the last one, unless ``since`` and ``until`` say otherwise. Where mass
    is what matters the heads lie on a rising line; the subtitle has their rank correlation.

    Raises AttnshiftError where the trace lacks a measure or a step.
    """
    steps = [int(step) for step in trace["step"].values]
    ends = [_peak(trace, steps) if since is None else since, steps[-1] if until is None else until]
    if (unknown := [step for step in ends if step not in steps]) or ends[0] == ends[1]:
        raise AttnshiftError(
            f"there is no checkpoint of step {unknown[0]}" if unknown else f"no change from step {ends[0]} to itself",
            expected=f"two of {', '.join(map(str, steps))}",
        )
    chosen = trace.sel(step=ends)
    mass, effect = by_head(chosen, "attention_mass"), by_head(chosen, "knockout_effect")
    ranks = float(mass_against_effect(mass, effect)[0])
    heads = trace.sizes["head"]
    names = [f"layer {place // heads} head {place % heads}" for place in range(mass.shape[1])]
    told = f"{mass.shape[1]} heads, from step {ends[0]:,} to {ends[1]:,}; rank correlation {ranks:+.2f}"
    figure = go.Figure(_heads(np.diff(mass, axis=0)[0], np.diff(effect, axis=0)[0], names))
    figure.update_layout(template=TEMPLATE, title_text=titled("Is the mass that moved the mass that matters?", told))
    figure.update_layout(width=WIDTH, height=430, margin={"t": 92, "b": 62, "l": 84, "r": 26}, showlegend=False)
    reach = padded(figure.data[0].x, _LABEL[0])
    figure.update_xaxes(title_text="change of context mass (probability)", range=reach)
    figure.update_yaxes(title_text="change of the effect of<br>seeing the context (nats)")
    figure.add_hline(0, line=REFERENCE)
    figure.add_vline(0, line=REFERENCE)
    return figure


def _peak(trace: xr.Dataset, steps: list[int]) -> int:
    marks = {mark.label: int(mark.step) for mark in phase_marks(trace)}
    return marks.get("peak", steps[0])


def _heads(mass: np.ndarray, effect: np.ndarray, names: list[str]) -> go.Scatter:
    few = len(names) <= 16
    return go.Scatter(
        x=mass.tolist(),
        y=effect.tolist(),
        name="heads",
        mode="markers+text" if few else "markers",
        text=[name.replace("layer ", "L").replace(" head ", "H") for name in names] if few else None,
        textposition=_free_sides(mass, effect) if few else None,
        cliponaxis=False,
        marker={"size": 9 if few else 6, "color": COLOURS["context"], "opacity": 1 if few else 0.6},
        hovertext=names,
        hovertemplate="<b>%{hovertext}</b><br>mass %{x:+.3f}<br>effect %{y:+.3f} nats<extra></extra>",
    )


def _free_sides(x: Float[np.ndarray, "point"], y: Float[np.ndarray, "point"]) -> list[str]:
    """On which side of its point each label stands: where points and the labels before it are farthest away."""
    points = np.stack([(part - part.min()) / (np.ptp(part) or 1.0) for part in (x, y)], -1) / _LABEL
    taken, chosen = list(points), []
    for place, point in enumerate(points):
        others = np.array([one for at, one in enumerate(taken) if at != place]).reshape(-1, 2)
        room = {side: float(np.abs(others - point - step).max(-1).min(initial=np.inf)) for side, step in _SIDES.items()}
        chosen.append(max(room, key=lambda side: min(room[side], 1.0)))
        taken.append(point + _SIDES[chosen[-1]])
    return chosen
