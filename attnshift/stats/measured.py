"""What the one-layer theory has a word for, read off a trace: one number per checkpoint and quantity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import xarray as xr
from jaxtyping import Float, Int

from attnshift.data.roles import CONTEXT_ROLES
from attnshift.errors import AttnshiftError
from attnshift.stats.readings import attention_by_roles, group_losses

NEEDED: Final = ("margin", "attention_mass", "loss", "loss_closed_book")
"""Variables of a trace that the theory is fitted to."""

FEWEST: Final = 4
"""Checkpoints without which nothing is fitted."""

_GROUPS: Final = ("critical", "non_critical")


@dataclass(frozen=True)
class Measured:
    """A run as the theory sees it."""

    step: Int[np.ndarray, "step"]
    series: Mapping[str, Float[np.ndarray, "step"]]
    """``margin`` (nats) and ``context_mass`` (probability), means over items; ``loss_critical`` and
    ``loss_non_critical``, nats per answer token, means over training examples; ``push_share``, the critical examples'
    part of both groups' attention pushes without their signs, weighted by share; NaN where not measured"""
    closed_book: float
    """loss of the critical examples without their context at the first checkpoint, nats"""
    share: float
    """the critical examples' part of all critical and non-critical training examples"""


def read_measured(trace: xr.Dataset) -> Measured:
    """Read a trace of one run.

    Raises AttnshiftError where the trace has several runs, too few checkpoints, or lacks a variable or a group.
    """
    if "run" in trace.dims:
        raise AttnshiftError("the theory can't be fitted to several runs at once", expected="the trace of one run")
    if missing := [name for name in NEEDED if name not in trace]:
        raise AttnshiftError(
            f"the theory can't be fitted without {', '.join(missing)}",
            expected=f"a trace with {', '.join(NEEDED)}",
            remedy=f"attnshift trace --ckpts RUN --out TRACE --measures {','.join(missing)}",
        )
    steps = trace["step"].values.astype(np.int64)
    if len(steps) < FEWEST:
        raise AttnshiftError(
            f"the theory can't be fitted to {len(steps)} checkpoint{'s' * (len(steps) != 1)}",
            expected=f"{FEWEST} or more up to the step that the forecast is made at",
        )
    means, first = group_losses(trace), trace.isel(step=[0])
    if lacking := [group for group in _GROUPS if group not in means]:
        raise AttnshiftError(
            f"the trace has no {lacking[0]} training examples",
            expected="critical and non_critical ones: the theory is about what they pull at",
            remedy="trace with --ift FILE whose examples have both groups",
        )
    shares = [float(trace["group_share"].sel(group=group)) for group in _GROUPS]
    return Measured(
        step=steps,
        series={
            "margin": trace["margin"].transpose("step", "item").values.astype(np.float64).mean(-1),
            "context_mass": attention_by_roles(trace, {"context": CONTEXT_ROLES})["context"].mean(-1),
            **{f"loss_{group}": means[group] for group in _GROUPS},
            "push_share": _push_share(trace, shares),
        },
        closed_book=float(group_losses(first.assign(loss=first["loss_closed_book"]))["critical"][0]),
        share=shares[0] / sum(shares),
    )


def _push_share(trace: xr.Dataset, shares: Sequence[float]) -> Float[np.ndarray, "step"]:
    if "attention_push" not in trace:
        return np.full(trace.sizes["step"], np.nan)
    pushes = trace["attention_push"].sel(group=list(_GROUPS)).transpose("step", "group").values.astype(np.float64)
    sizes = np.abs(pushes) * shares
    whole = sizes.sum(-1)
    return np.divide(sizes[:, 0], whole, out=np.full(len(whole), np.nan), where=whole > 0)
