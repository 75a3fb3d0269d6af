"""Context reliance against what else a model gets right, as the paper shows it."""

from __future__ import annotations

from typing import Final

import numpy as np
import plotly.graph_objects as go
import xarray as xr
from jaxtyping import Float

from attnshift.errors import AttnshiftError
from attnshift.figures.noise import NOISE, add_noise, noise_over_items, noise_points
from attnshift.figures.theme import COLOURS, LEGEND, SYMBOLS, TEMPLATE, WIDTH, titled
from attnshift.figures.ticks import padded
from attnshift.figures.values import accuracy, item_values, reads

_HEIGHT: Final = 430  # pixels
_SPARE: Final = 0.12  # of the span of x, on either side: room for the steps that label the ends
_NEAR: Final = 6  # points of accuracy: as high as a label
_TOLD: Final = 5  # tasks by name
_KINDS: Final = {"counterfactual": "context", "parametric": "parametric"}


@reads("benchmark", "counterfactual_accuracy", "parametric_accuracy")
def benchmark(trace: xr.Dataset) -> go.Figure:
    """Counterfactual and parametric accuracy against the mean of the benchmarks, checkpoint after checkpoint.

    A point per step, joined in the order of training, first and last labelled with their steps; percent of the items
    with Wilson's 95 % interval, by clusters where items share them. Dotted, at the highest and the last
    counterfactual accuracy: checkpoint noise, how far a checkpoint strays from the trend of its neighbours by chance on
    these same items (95 %; from 4 checkpoints on). The mean is over the tasks known at every step that has any.

    Raises AttnshiftError where the trace lacks ``benchmark`` or the accuracies, or no task is known at two steps.
    """
    tasks = trace["benchmark"].transpose("step", "task").astype(np.float64)
    there = np.isfinite(tasks.values)
    measured = there.any(-1)
    common = there[measured].all(0) if measured.any() else np.zeros(tasks.sizes["task"], bool)
    names = [str(task) for task in tasks["task"].values[common]]
    means = np.full(len(measured), np.nan)
    if names:
        means[measured] = tasks.values[np.ix_(measured, common)].mean(-1)
    told = ", ".join(names) if len(names) <= _TOLD else f"{len(names)} tasks"
    unit = trace["benchmark"].attrs.get("unit", "the tasks' own unit")
    return _against(trace, means, f"benchmark average ({unit})", f"mean of {told}")


@reads("exact_match", "counterfactual_accuracy", "parametric_accuracy")
def heldout(trace: xr.Dataset) -> go.Figure:
    """Counterfactual and parametric accuracy against held-out accuracy, checkpoint after checkpoint.

    Held-out accuracy: percent of the held-out finetuning examples whose greedy answer is exactly the target. A point
    per step, joined in the order of training, first and last labelled with their steps; percent of the items with
    Wilson's 95 % interval, by clusters where items share them. Dotted, at the highest and the last counterfactual
    accuracy: checkpoint noise, how far a checkpoint strays from the trend of its neighbours by chance on these same
    items (95 %; from 4 checkpoints on).

    Raises AttnshiftError where the trace lacks the variables or has no held-out examples.
    """
    chosen = (trace["split"] == "heldout").values
    right = trace["exact_match"].transpose("step", "example").values.astype(np.float64)[:, chosen]
    means = 100 * right.mean(-1) if chosen.any() else np.full(len(right), np.nan)
    return _against(trace, means, "held-out accuracy (% of examples)", f"{chosen.sum()} held-out examples")


def _against(trace: xr.Dataset, x: Float[np.ndarray, "step"], x_title: str, told: str) -> go.Figure:
    chosen = np.flatnonzero(np.isfinite(x))
    if len(chosen) < 2:
        raise AttnshiftError(f"{x_title} is known at {len(chosen)} steps", expected="two steps or more")
    figure = go.Figure()
    _draw_noise(figure, trace, x[chosen], chosen)
    figure.add_traces([_path(trace, kind, x, chosen) for kind in _KINDS])
    subtitle = f"{told}; {trace.sizes['item']} conflict items; the ends are labelled with their steps"
    figure.update_layout(template=TEMPLATE, title_text=titled("Context reliance against what is learnt", subtitle))
    figure.update_layout(width=WIDTH, height=_HEIGHT, margin={"t": 92, "b": 62, "l": 84, "r": 26})
    figure.layout.legend = LEGEND | {"y": 1.02}
    figure.update_xaxes(title_text=x_title, range=padded(x[chosen].tolist(), _SPARE))
    figure.update_yaxes(title_text="accuracy (% of items)", rangemode="tozero", autorangeoptions_clipmax=103)
    return figure


def _draw_noise(figure: go.Figure, trace: xr.Dataset, x: Float[np.ndarray, "point"], chosen: np.ndarray) -> None:
    """At the highest point and at the last one, between which a fall is judged: a path may turn back on itself."""
    values = 100 * item_values(trace, "counterfactual_accuracy")
    noise = noise_over_items(trace, values)
    means = np.asarray(accuracy(trace, "counterfactual_accuracy").estimate)[chosen]
    if np.isfinite(noise) and np.isfinite(means).any():
        ends = np.unique([np.nanargmax(means), np.flatnonzero(np.isfinite(means))[-1]])
        points = noise_points(x[ends], means[ends], noise, limits=(0, 100))
        upright = np.stack([points[:, 2], points[:, 3], np.full(len(ends), np.nan)], -1)
        corners = points[:, 0].repeat(3), upright.ravel()
        add_noise(figure, points.tolist(), corners, COLOURS[_KINDS["counterfactual"]])
        caps = {"symbol": "line-ew-open", "size": 11}
        figure.update_traces(mode="lines+markers", marker=caps, selector={"meta": NOISE})


def _path(trace: xr.Dataset, kind: str, x: Float[np.ndarray, "step"], chosen: np.ndarray) -> go.Scatter:
    share, meaning = accuracy(trace, f"{kind}_accuracy"), _KINDS[kind]
    y, low, high = (np.asarray(part)[chosen] for part in (share.estimate, share.low, share.high))
    steps = trace["step"].values[chosen]
    hover = f"<b>{kind} accuracy</b><br>step %{{customdata:,}}<br>%{{y:.1f}} % at %{{x:.4~g}}<extra></extra>"
    return go.Scatter(
        x=x[chosen].tolist(),
        y=y.tolist(),
        name=f"{kind} accuracy",
        meta="path",
        mode="lines+markers+text",
        text=[f"{int(step):,}" if place in (0, len(steps) - 1) else "" for place, step in enumerate(steps)],
        textposition=[f"middle {_free_side(x[chosen], y, place)}" for place in range(len(steps))],
        textfont={"size": 11},
        cliponaxis=False,
        line={"color": COLOURS[meaning], "width": 1.2},
        marker={"symbol": SYMBOLS.get(meaning, "circle"), "size": 7},
        error_y={"array": (high - y).tolist(), "arrayminus": (y - low).tolist(), "thickness": 1, "width": 3},
        customdata=[int(step) for step in steps],
        hovertemplate=hover,
    )


def _free_side(x: Float[np.ndarray, "point"], y: Float[np.ndarray, "point"], place: int) -> str:
    """The side of a point on which fewer others lie near it; away from the path where both are as free."""
    away, up = (x - x[place]) / (np.ptp(x) or 1.0), np.abs(y - y[place])
    near = (np.abs(away) < _SPARE) & (up < _NEAR)
    right, left = (near & (away > 0)).sum(), (near & (away < 0)).sum()
    if right == left:
        return "left" if x[place] <= x.mean() else "right"
    return "left" if left < right else "right"
