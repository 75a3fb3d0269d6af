"""Random prompts with roles and two answers, for models of 600 tokens."""

from __future__ import annotations

import numpy as np

from attnshift.models.contrast import Contrast


def made_contrasts(lengths=(4, 17, 25), seed=0) -> list[Contrast]:
    rng = np.random.default_rng(seed)
    return [
        Contrast(
            rng.integers(3, 600, length).astype(np.int32), rng.integers(0, 6, length).astype(np.int8), 5 + i, 90 + i
        )
        for i, length in enumerate(lengths)
    ]
