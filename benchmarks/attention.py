"""Attention mass beside a plain forward, and how its memory grows with the context."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from benchmarks.bench import Bench
from benchmarks.models import random_llama
from benchmarks.patterns import add_other_ways, answer_row_mass
from benchmarks.rows import Goal, Row, Section

SPANS = 4
FEW = 3
"""pairs of the longest context"""

PLAIN_GOALS = (Goal("time", 1.05), Goal("memory", 1.10))
LINEAR = (Goal("memory", 1.1),)


def attention(bench: Bench) -> Section:
    """Every comparison, length by length."""
    model = random_llama(bench.shape, bench.device)
    section, every_row, answer_row = Section(), [], []
    for length in bench.lengths:
        ids, spans = bench.tokens(1, length), split_spans(length, bench.device)
        pairs = min(FEW, bench.pairs) if length == bench.lengths[-1] else bench.pairs
        every_row.append(_every_row(bench, model, ids, spans, pairs))
        answer_row.append(_answer_row(bench, model, ids, spans, pairs if length == bench.length else 0))
        if length >= bench.length:
            add_other_ways(section, bench, model, ids, spans, pairs if length == bench.length else 1)
    linear = _linear(bench, "logits of every row", every_row) + _linear(bench, "logits of the answer row", answer_row)
    section.rows = every_row + answer_row + linear + section.rows
    return section


def split_spans(length: int, device: torch.device) -> Tensor:
    """The context in equal spans, one after the other."""
    span = torch.arange(length, device=device) * SPANS // length
    return torch.nn.functional.one_hot(span, SPANS).mT.bool()[None]


def plain_forward(model: Any, ids: Tensor, logits_to_keep: int = 0) -> None:
    """What anybody runs; 0 keeps the logits of every row."""
    with torch.no_grad():
        model(input_ids=ids, use_cache=False, logits_to_keep=logits_to_keep)


def _every_row(bench: Bench, model: Any, ids: Tensor, spans: Tensor, pairs: int) -> Row:
    import attnshift

    return bench.compare(
        f"attention mass, {ids.shape[1]} tokens",
        ("attnshift.attention_mass", lambda: attnshift.attention_mass(model, ids, spans)),
        ("plain forward, SDPA, the same logits", lambda: plain_forward(model, ids)),
        PLAIN_GOALS,
        pairs=pairs,
    )


def _answer_row(bench: Bench, model: Any, ids: Tensor, spans: Tensor, pairs: int) -> Row:
    return bench.compare(
        f"attention mass, answer-row logits, {ids.shape[1]} tokens",
        ("capture in the forward, one row of logits", lambda: answer_row_mass(model, ids, spans)),
        ("plain forward, SDPA, one row of logits", lambda: plain_forward(model, ids, 1)),
        pairs=pairs,
    )


def _linear(bench: Bench, what: str, rows: list[Row]) -> list[Row]:
    """Our peak at each longer context beside the shortest one's, in proportion to the tokens."""
    shortest, out = bench.lengths[0], []
    for length, row in zip(bench.lengths[1:], rows[1:], strict=True):
        times = length // shortest
        peak = None if rows[0].ours_peak is None else rows[0].ours_peak * times
        out.append(
            Row(
                f"memory by context, {what}, {length} tokens",
                f"our peak at {length} tokens",
                f"{times} × our peak at {shortest} tokens",
                ours_peak=row.ours_peak,
                against_peak=peak,
                goals=LINEAR,
            )
        )
    return out
