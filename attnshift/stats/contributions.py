"""Which strata a change comes from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Shaped

from attnshift.errors import AttnshiftError


@dataclass(frozen=True)
class Contribution:
    """One stratum's part of a change of the mean over items; in the unit of the values."""

    stratum: str
    items: int
    before: float
    """the stratum's own mean"""
    after: float
    contribution: float
    """its items' part of all times the change of its mean; over the strata these sum to the whole change"""

    @property
    def change(self) -> float:
        """Change of the stratum's own mean."""
        return self.after - self.before


def contributions(
    before: Float[np.ndarray, "item"], after: Float[np.ndarray, "item"], strata: Shaped[np.ndarray, "item"]
) -> list[Contribution]:
    """Contributions of strata to the change of the mean over the same items, the largest first.

    Σ_i∈s (after_i − before_i) / n, n all items that have both values; others are left out.

    Raises AttnshiftError where the three don't match.
    """
    if not len(before) == len(after) == len(strata):
        raise AttnshiftError(
            f"{len(before)} and {len(after)} values in {len(strata)} strata", expected="one of each per item"
        )
    present = np.isfinite(before) & np.isfinite(after)
    first, second, names = before[present], after[present], np.asarray(strata)[present].astype(str)
    found = []
    for name in np.unique(names):
        chosen = names == name
        parts = (second[chosen] - first[chosen]).sum() / present.sum()
        means = float(first[chosen].mean()), float(second[chosen].mean())
        found.append(Contribution(str(name), int(chosen.sum()), *means, float(parts)))
    return sorted(found, key=lambda one: (-abs(one.contribution), one.stratum))
