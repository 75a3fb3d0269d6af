"""Least squares with more than one valley: many starts, the best of them followed downhill at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Float

Residuals = Callable[[Float[np.ndarray, "start parameter"]], Float[np.ndarray, "residual start"]]
"""What many parameter vectors leave unexplained, each in units of its own noise."""

_NUDGE: Final = 1e-4
_LONGEST: Final = 1.5  # a parameter's furthest move in one iteration: exponents would overflow on the way
_SMALL: Final = 1e-10


@dataclass(frozen=True)
class Minimum:
    """Where the search ended."""

    parameters: Float[np.ndarray, "parameter"]
    cost: float
    """sum of the squared residuals"""


def multistart(
    residuals: Residuals, starts: Float[np.ndarray, "start parameter"], keep: int = 6, iterations: int = 20
) -> Minimum:
    """The lowest sum of squares that the best ``keep`` of the starts lead down to.

    Levenberg-Marquardt with Marquardt's scaling (1963, SIAM J. 11:431), derivatives by forward differences, all starts
    in one call of ``residuals``. Parameters whose residuals aren't finite never win.
    """
    with np.errstate(all="ignore"):  # on the way downhill anything may overflow
        return _descend(residuals, starts, keep, iterations)


def _descend(residuals: Residuals, starts: Float[np.ndarray, "start parameter"], keep: int, iterations: int) -> Minimum:
    cost = _cost(residuals(starts))
    at = starts[np.argsort(cost, kind="stable")[:keep]]
    left = residuals(at)
    cost, damping = _cost(left), np.full(len(at), 1e-2)
    eye = np.eye(at.shape[1])
    for _ in range(iterations):
        nudged = (at[:, None] + _NUDGE * eye).reshape(-1, len(eye))
        slopes = (residuals(nudged).reshape(len(left), *at.shape) - left[:, :, None]) / _NUDGE
        slopes = np.where(np.isfinite(slopes), slopes, 0.0)
        curvature = np.einsum("rsp,rsq->spq", slopes, slopes)
        downhill = -np.einsum("rsp,rs->sp", slopes, np.where(np.isfinite(left), left, 0.0))
        scale = damping[:, None] * np.einsum("spp->sp", curvature) + _SMALL
        move = np.linalg.solve(curvature + scale[:, :, None] * eye, downhill[:, :, None])[:, :, 0]
        tried = at + np.clip(move, -_LONGEST, _LONGEST)
        rest = residuals(tried)
        lower = _cost(rest) < cost
        at, left = np.where(lower[:, None], tried, at), np.where(lower, rest, left)
        cost, damping = _cost(left), np.clip(np.where(lower, damping / 4, damping * 5), 1e-8, 1e8)
    best = int(cost.argmin())
    return Minimum(at[best], float(cost[best]))


def _cost(left: Float[np.ndarray, "residual start"]) -> Float[np.ndarray, "start"]:
    total = (left**2).sum(0)
    return np.where(np.isfinite(total), total, np.inf)
