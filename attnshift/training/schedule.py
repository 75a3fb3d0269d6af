"""How long and how fast: steps, learning rates, and which steps are kept."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Schedule:
    """AdamW with a linear warm-up and a cosine decay to 2 %."""

    steps: int
    learning_rate: float
    warmup: int
    weight_decay: float = 0.0
    batch: int = 64
    """examples in a batch"""

    def rate(self, step: int) -> float:
        """Learning rate of the update that ends step ``step`` (from 1)."""
        done = step - 1
        cosine = 0.02 + 0.49 * (1 + np.cos(np.pi * done / self.steps))
        return float(self.learning_rate * min(1.0, step / max(1, self.warmup)) * cosine)


def log_spaced(first: int, last: int, count: int) -> tuple[int, ...]:
    """About ``count`` steps evenly in log step, from ``first`` (or ``last``, if that is earlier) to ``last``.

    Fewer where they fall together; the last step is always among them.
    """
    spaced = np.geomspace(min(first, last) if count > 1 else last, last, count)
    return tuple(sorted({int(step) for step in spaced.round()}))
