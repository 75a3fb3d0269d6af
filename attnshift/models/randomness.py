"""The global generators of Python, numpy and torch, kept from what is done in between."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def kept_randomness() -> Iterator[None]:
    """Afterwards the global generators of Python, numpy and torch (GPUs' too) are where they were before."""
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002  (it is theirs that is kept)
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)  # noqa: NPY002
