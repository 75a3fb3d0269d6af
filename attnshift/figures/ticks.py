"""Where axes end, and round numbers to label a logarithmic one with."""

from __future__ import annotations

import math
from collections.abc import Sequence


def padded(values: Sequence[float], share: float) -> list[float]:
    """The ends of an axis that leaves a share of the values' span free on either side; finite values."""
    low, high = min(values), max(values)
    spare = share * (high - low) or 1.0
    return [low - spare, high + spare]


def decade_ticks(low: float, high: float, most: int = 6) -> list[float]:
    """At most about ``most`` powers of ten within [low, high], and 2 and 5 times these where there is room; low > 0."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    every = math.ceil((last - first + 1) / most)
    fine = [float(f"{factor}e{power}") for power in range(first, last + 1) for factor in (1, 2, 5)]
    fine, coarse = ([tick for tick in ticks if low <= tick <= high] for ticks in (fine, fine[:: 3 * every]))
    return fine if len(fine) <= most else coarse


def step_ticks(steps: Sequence[int]) -> list[int]:
    """Ascending steps to label where x is log10(step + 1): 0 if it is there, then round ones, else some of theirs."""
    later = [step for step in steps if step > 0]
    ticks = [int(tick) for tick in decade_ticks(1 if later != list(steps) else later[0], later[-1])] if later else []
    if len(ticks) < 2:
        ticks = later[:: math.ceil(len(later) / 4) or 1]
    return ([0] if 0 in steps else []) + ticks
