"""Random prompts with roles and an answer behind them, for models of 600 tokens."""

from __future__ import annotations

import numpy as np

from attnshift.data.roles import ANSWER
from attnshift.models.forward import Target


def made_targets(sizes=((9, 3), (24, 1), (15, 5)), seed=0) -> tuple[list[Target], list[np.ndarray]]:
    """By the tokens of prompt and answer; every prompt has all roles of a context."""
    rng = np.random.default_rng(seed)
    targets, roles = [], []
    for prompt, answer in sizes:
        targets.append(Target(rng.integers(3, 600, prompt + answer).astype(np.int32), prompt))
        codes = np.append(np.arange(6), rng.integers(0, 6, prompt - 6))
        roles.append(np.append(codes, np.full(answer, ANSWER)).astype(np.int8))
    return targets, roles


def same_whatever_the_batches(read) -> np.ndarray:
    """What is read by a function of the token budget, compared over budgets."""
    together, apart = read(1000), read(1)
    np.testing.assert_allclose(together, apart, atol=1e-5)
    return together
