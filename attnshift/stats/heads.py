"""Whether heads keep their role over the steps, and whether the mass that moves is the mass that matters."""

from __future__ import annotations

import numpy as np
import xarray as xr
from jaxtyping import Float

from attnshift.data.roles import CONTEXT_ROLES
from attnshift.errors import AttnshiftError


def by_head(
    trace: xr.Dataset, name: str, roles: tuple[str, ...] = CONTEXT_ROLES
) -> Float[np.ndarray, "step layer_head"]:
    """A variable by head and role, summed over some roles and averaged over items: a number per step and head.

    Heads are in the order of layers, then of heads. Reads one step at a time.
    """
    rows = []
    for index in range(trace.sizes["step"]):
        values = trace[name].isel(step=index).load().sel(role=list(roles)).sum("role", skipna=False)
        rows.append(values.mean("item").transpose("layer", "head").values.astype(np.float64).ravel())
    return np.stack(rows)


def top_overlap(values: Float[np.ndarray, "step head"], k: int) -> Float[np.ndarray, "step step"]:
    """Of the k heads with the highest values at one step, the share that is among the k highest at another.

    1 on the diagonal; k / heads is what chance gives. Of equal values the earlier head is taken.

    Raises AttnshiftError where k isn't between 1 and the number of heads.
    """
    if not 1 <= k <= values.shape[1]:
        raise AttnshiftError(f"the top {k} of {values.shape[1]} heads", expected=f"1 to {values.shape[1]}")
    chosen = np.zeros(values.shape)
    np.put_along_axis(chosen, np.argsort(-values, axis=1, kind="stable")[:, :k], 1.0, axis=1)
    return chosen @ chosen.T / k


def rank_correlation(values: Float[np.ndarray, "step head"]) -> Float[np.ndarray, "step step"]:
    """Spearman's correlation over heads between any two steps; NaN for a step at which all heads are equal."""
    ranks = _ranks(values)
    return _correlation(ranks, ranks)


def mass_against_effect(
    mass: Float[np.ndarray, "step head"], effect: Float[np.ndarray, "step head"]
) -> Float[np.ndarray, "interval"]:
    """Spearman's correlation over heads between the change of mass and the change of effect, step by step.

    Near 1: the heads whose mass on the context moved are those whose effect did, in the same direction. NaN where one
    of the changes is the same for all heads, which includes a model of one head.
    """
    changes = [_ranks(np.diff(values, axis=0)) for values in (mass, effect)]
    return np.diagonal(_correlation(*changes))


def _ranks(values: Float[np.ndarray, "x head"]) -> Float[np.ndarray, "x head"]:
    """From 1; equal values share the mean of theirs."""
    one, other = values[:, :, None], values[:, None, :]
    return (one > other).sum(-1) + ((one == other).sum(-1) + 1) / 2


def _correlation(a: Float[np.ndarray, "x head"], b: Float[np.ndarray, "y head"]) -> Float[np.ndarray, "x y"]:
    a, b = (values - values.mean(1, keepdims=True) for values in (a, b))
    lengths = np.linalg.norm(a, axis=1)[:, None] * np.linalg.norm(b, axis=1)
    return np.divide(a @ b.T, lengths, out=np.full(lengths.shape, np.nan), where=lengths > 0)
