"""Random numbers: a stream per purpose, and libraries that draw from global generators kept to their own."""

from __future__ import annotations

import random
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np


def stream(seed: int, purpose: str) -> np.random.Generator:
    """Random numbers of their own for each purpose, so that a change of one leaves the others as they were."""
    return np.random.default_rng([seed, zlib.crc32(purpose.encode())])


@contextmanager
def own_randomness(seed: int) -> Iterator[None]:
    """Begin the global generators of Python, numpy and torch at ``seed``; afterwards they are as they were before."""
    import torch

    from attnshift.models.randomness import kept_randomness

    with kept_randomness():
        random.seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002
        torch.manual_seed(seed)
        yield
