"""Log-probabilities of a few answer tokens under a large vocabulary."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from benchmarks.bench import Bench, largest_difference
from benchmarks.models import random_llama
from benchmarks.rows import Goal, Section

VOCABULARY = 128_000
ANSWER = 4
"""tokens to score"""

GOALS = (Goal("time", 0.25),)


def scoring(bench: Bench) -> Section:
    """Our scores, from the answer's rows alone, beside those of a forward that keeps all logits."""
    from attnshift.models.attention import captured_attention
    from attnshift.models.forward import Target, score_targets

    shape = bench.shape if bench.quick else replace(bench.shape, vocabulary=max(VOCABULARY, bench.shape.vocabulary))
    model = random_llama(shape, bench.device)
    ids = bench.tokens(1, bench.length, vocabulary=shape.vocabulary)
    target = Target(ids[0].cpu().numpy().astype(np.int32), bench.length - ANSWER)

    def ours() -> Tensor:
        with captured_attention(model):
            scores, _ = score_targets(model, [target], bench.length)
        return torch.from_numpy(scores.logprob[0])

    @torch.no_grad()
    def plain(logits_to_keep: int) -> Tensor:
        logits = model(input_ids=ids, use_cache=False, logits_to_keep=logits_to_keep).logits[0, -ANSWER - 1 : -1]
        return logits.float().log_softmax(-1).gather(1, ids[0, -ANSWER:, None])[:, 0]

    name = f"scoring {ANSWER} answer tokens, {shape.vocabulary} words, {bench.length} tokens"
    what = ("attnshift score_targets", ours)
    every = ("plain forward, logits of every row", partial(plain, 0))
    few = ("plain forward, logits of the answer's rows: the least there is to do", partial(plain, ANSWER + 1))
    return Section(
        [
            bench.compare(name, what, every, GOALS, largest_difference),
            bench.compare(f"{name}, beside the least", what, few, difference=largest_difference),
        ]
    )
