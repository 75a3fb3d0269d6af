"""Other ways to the same attention mass: they compute every row of every pattern."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from benchmarks.bench import Bench, largest_difference
from benchmarks.clock import Work
from benchmarks.models import Shape, twin
from benchmarks.rows import Goal, Section

Mass = Callable[[], Tensor]

CHEAPER = (Goal("time", 1 / 2.5), Goal("memory", 1 / 8))
_COPIES = 4
"""patterns of one layer in memory at the same time: scores, scores and mask, probabilities and a copy of them"""


@dataclass(frozen=True)
class Way:
    """A library's way to attention patterns."""

    name: str
    package: str
    keeps_layers: bool
    """whether the patterns of all layers are in memory at the end"""
    prepare: Callable[[Any, Tensor, Tensor], Mass]
    """model, ids and spans to a function that gives the last row's mass, by layer, head and span"""
    goals: Sequence[Goal] = ()
    rows: str = "one row of logits"
    """which logits it computes"""

    def bytes_needed(self, shape: Shape, length: int) -> int:
        """Patterns and a mask: an estimate."""
        patterns = _COPIES + (shape.layers if self.keeps_layers else 0)
        return shape.pattern_bytes(length) * patterns + length**2 * shape.dtype.itemsize


def answer_row_mass(model: Any, ids: Tensor, spans: Tensor) -> Tensor:
    """Our attention mass with logits of the answer row alone, as a trace has it: batch, layer, head, span."""
    from attnshift.models.attention import CAPTURE, Capture, captured_attention, last_rows

    capture = Capture(last_rows(ids, None), spans)
    with captured_attention(model), torch.no_grad():
        model(input_ids=ids, use_cache=False, logits_to_keep=1, **{CAPTURE: capture})
    return capture.stacked(model.config.num_hidden_layers)[0][..., 0, :]


def add_other_ways(section: Section, bench: Bench, model: Any, ids: Tensor, spans: Tensor, pairs: int) -> None:
    """A row for each way, or a note why there is none."""
    length = ids.shape[1]
    ours: tuple[str, Work] = ("capture, one row of logits", lambda: answer_row_mass(model, ids, spans))
    for way in WAYS:
        needed = way.bytes_needed(bench.shape, length)
        if importlib.util.find_spec(way.package) is None:
            section.notes.append(f"{way.name}: left out, {way.package} isn't installed.")
        elif needed > bench.room:
            section.notes.append(
                f"{way.name}, {length} tokens: left out, it would need about {needed / 2**30:.1f} GiB "
                f"and {bench.room / 2**30:.0f} are allowed."
            )
        else:
            theirs = way.prepare(model, ids, spans)
            section.rows.append(
                bench.compare(
                    f"attention mass beside {way.name}, {length} tokens",
                    ours,
                    (f"{way.name}, {way.rows}", theirs),
                    way.goals,
                    largest_difference,
                    pairs=pairs,
                )
            )


def _sums(pattern: Tensor, spans: Tensor) -> Tensor:
    """The last row of a pattern, summed over spans."""
    return torch.einsum("bhk,bsk->bhs", pattern[:, :, -1].float(), spans.float())


def _eager(model: Any, ids: Tensor, spans: Tensor) -> Mass:
    eager = twin(model, "eager")

    @torch.no_grad()
    def mass() -> Tensor:
        output = eager(input_ids=ids, use_cache=False, logits_to_keep=1, output_attentions=True)
        return torch.stack([_sums(pattern, spans) for pattern in output.attentions], 1)

    return mass


def _cache(model: Any, ids: Tensor, spans: Tensor) -> Mass:
    """As its documentation has it, but for the filter: without that it keeps everything."""
    from attnshift.models.bridge import bridge_of

    bridge = bridge_of(model)

    @torch.no_grad()
    def mass() -> Tensor:
        _, cache = bridge.run_with_cache(ids, names_filter=_is_pattern)
        layers = range(model.config.num_hidden_layers)
        return torch.stack([_sums(cache[f"blocks.{layer}.attn.hook_pattern"], spans) for layer in layers], 1)

    return mass


def _reducing_hooks(model: Any, ids: Tensor, spans: Tensor, **extra: Any) -> Mass:
    from attnshift.models.bridge import bridge_of

    bridge = bridge_of(model)

    @torch.no_grad()
    def mass() -> Tensor:
        seen: list[Tensor] = []

        def reduce(pattern: Tensor, hook: Any) -> None:
            seen.append(_sums(pattern, spans))

        bridge.run_with_hooks(ids, fwd_hooks=[(_is_pattern, reduce)], **extra)
        return torch.stack(seen, 1)

    return mass


def _nnsight(model: Any, ids: Tensor, spans: Tensor) -> Mass:
    from nnsight import NNsight

    wrapped = NNsight(twin(model, "eager"))

    @torch.no_grad()
    def mass() -> Tensor:
        seen = []
        with wrapped.trace(ids, use_cache=False, logits_to_keep=1):
            for layer in wrapped.model.layers:
                seen.append(_sums(layer.self_attn.output[1], spans).save())
        return torch.stack(seen, 1)

    return mass


def _is_pattern(name: str) -> bool:
    return name.endswith("hook_pattern")


_EVERY = "every row of logits"
_LENT = {"use_cache": False, "logits_to_keep": 1}
"""what transformers offers to save; the bridge hands it on"""

WAYS = (
    Way("eager with output_attentions", "transformers", True, _eager),
    Way("TransformerLens run_with_cache", "transformer_lens", True, _cache, CHEAPER, _EVERY),
    Way("TransformerLens reducing hooks", "transformer_lens", False, _reducing_hooks, CHEAPER, _EVERY),
    Way("TransformerLens at its leanest", "transformer_lens", False, partial(_reducing_hooks, **_LENT), CHEAPER),
    Way("nnsight", "nnsight", False, _nnsight),
)
