"""Maps of what is measured by layer: over steps, and head by head with a map per step."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
import xarray as xr
from jaxtyping import Float

from attnshift.errors import AttnshiftError
from attnshift.figures.heatmaps import Heat, heat_maps
from attnshift.figures.values import reads


def layers_over_steps(
    trace: xr.Dataset,
    values: Float[np.ndarray, "step layer"],
    unit: str,
    title: str,
    subtitle: str,
    signed: bool = False,
) -> go.Figure:
    """One map: layers upwards, steps to the right."""
    heat = Heat(
        values.T[None],
        steps=(),
        rows=[str(layer) for layer in trace["layer"].values],
        columns=[f"{int(step):,}" for step in trace["step"].values],
        row_title="layer",
        column_title="optimizer step",
        unit=unit,
        signed=signed,
    )
    return heat_maps(heat, title, subtitle)


def heads_by_step(
    trace: xr.Dataset,
    values: Float[np.ndarray, "step layer head"],
    unit: str,
    title: str,
    subtitle: str,
    step: int | None,
) -> go.Figure:
    """A map per step: layers upwards, heads to the right; ``step`` is shown first, the last one by default."""
    heat = Heat(
        values,
        steps=trace["step"].values.tolist(),
        rows=[str(layer) for layer in trace["layer"].values],
        columns=[str(head) for head in trace["head"].values],
        row_title="layer",
        column_title="head",
        unit=unit,
    )
    return heat_maps(heat, title, subtitle, step)


@reads("lookback_ratio")
def lookback(trace: xr.Dataset, step: int | None = None) -> go.Figure:
    """Lookback ratio by layer and head, a map per step: attention to the context against that to the answer so far.

    Mean over the items whose context answer has more than one token. ``step`` is shown first (the last one by default);
    a slider goes through the others.

    Raises AttnshiftError where the trace lacks ``lookback_ratio`` or the step.
    """
    return _of_heads(trace, "lookback_ratio", "Lookback ratio: the context against the answer so far", step)


@reads("retrieval_score")
def retrieval(trace: xr.Dataset, step: int | None = None) -> go.Figure:
    """Retrieval score by layer and head, a map per step: the share of the answer that a head looks up in the context.

    Mean over items. ``step`` is shown first (the last one by default); a slider goes through the others.

    Raises AttnshiftError where the trace lacks ``retrieval_score`` or the step.
    """
    return _of_heads(trace, "retrieval_score", "Retrieval score: answer tokens looked up in the context", step)


@reads("external_context_score")
def external_context(trace: xr.Dataset, step: int | None = None) -> go.Figure:
    """External context score by layer and head, a map per step: ReDeEP's cosine with what a head attends to.

    Mean over items of the cosine of the context tokens that the head attends to most with the row that attends to them.
    Heads that attend to the same tokens have the same score: it tells the states more than the attention. ``step`` is
    shown first (the last one by default); a slider goes through the others.

    Raises AttnshiftError where the trace lacks ``external_context_score`` or the step.
    """
    return _of_heads(trace, "external_context_score", "External context score: likeness to what heads see", step)


@reads("parametric_knowledge_score")
def parametric_knowledge(trace: xr.Dataset) -> go.Figure:
    """Parametric knowledge score by layer and step: how much each MLP changes what comes next (ReDeEP).

    Mean over items of the Jensen-Shannon divergence (nats) of the logit lens before and behind the MLP.

    Raises AttnshiftError where the trace lacks ``parametric_knowledge_score``.
    """
    values = trace["parametric_knowledge_score"].transpose("step", "layer", "item").values.astype(np.float64).mean(-1)
    title, subtitle = "Parametric knowledge score: what each MLP changes", "logit lens before against behind it"
    return layers_over_steps(trace, values, "divergence (nats)", title, f"{subtitle}; {_over(trace)}")


def _of_heads(trace: xr.Dataset, name: str, title: str, step: int | None) -> go.Figure:
    """Mean over the items that have a number; one step at a time, since all may not fit."""
    steps = []
    for index in range(trace.sizes["step"]):
        one = trace[name].isel(step=index).astype(np.float64).mean("item", skipna=True)
        steps.append(one.transpose("layer", "head").values)
    if np.isnan(steps).all():
        raise AttnshiftError(
            f"{name} has no number in this trace",
            expected="items that it is defined for: answers of several tokens, or that the context spells alike",
            remedy="a trace of other conflict items",
        )
    unit = trace[name].attrs["unit"]
    subtitle = f"at the rows that predict the context's answer; {_over(trace)}"
    return heads_by_step(trace, np.stack(steps), unit, title, subtitle, step)


def _over(trace: xr.Dataset) -> str:
    return f"mean over {trace.sizes['item']} conflict items"
