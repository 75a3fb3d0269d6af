"""What every comparison is given: shapes, device, how often, and how to make a row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.clock import Work, alternate, peak_memory, timed
from benchmarks.models import EIGHT_B, QUICK, STANDARD, Shape
from benchmarks.rows import Clock, Goal, Row

Difference = Callable[[Any, Any], float]


@dataclass(frozen=True)
class Bench:
    """One run of the benchmarks."""

    device: torch.device
    pairs: int
    quick: bool
    folder: Path
    """temporary files"""

    @property
    def shape(self) -> Shape:
        """The model to measure with."""
        return QUICK if self.quick else EIGHT_B if self.device.type == "cuda" else STANDARD

    @property
    def lengths(self) -> tuple[int, ...]:
        """Tokens in a context: from short to as long as this device can be asked for."""
        if self.quick:
            return 16, 32, 64
        return (2048, 8192, 32768) if self.device.type == "cuda" else (512, 2048, 8192)

    @property
    def length(self) -> int:
        """Tokens in the context that most comparisons use."""
        return 64 if self.quick else 2048

    @property
    def room(self) -> int:
        """Bytes that a comparison may need."""
        if self.device.type == "cuda":
            return int(0.8 * torch.cuda.mem_get_info(self.device)[0])
        return 8 * 2**30

    @property
    def clock(self) -> Clock:
        """The time that goals speak of: a GPU's work isn't the processor's."""
        return "wall" if self.device.type == "cuda" else "cpu"

    def tokens(self, *size: int, vocabulary: int | None = None) -> torch.Tensor:
        """Random token ids, the same in every run."""
        generator = torch.Generator().manual_seed(len(size))
        return torch.randint(vocabulary or self.shape.vocabulary, size, generator=generator).to(self.device)

    def compare(
        self,
        name: str,
        ours: tuple[str, Work],
        against: tuple[str, Work],
        goals: Sequence[Goal] = (),
        difference: Difference | None = None,
        memory: bool = True,
        pairs: int | None = None,
    ) -> Row:
        """Run two ways in turns: once for their results, once for their memory, then for time.

        ``difference`` says how far the two results lie apart. Where the other way runs out of the GPU's memory the row
        says so and has our costs alone.
        """
        row = Row(name, ours[0], against[0], goals=goals, clock=self.clock)
        pairs = self.pairs if pairs is None else pairs
        try:
            first, second = ours[1](), against[1]()
            row = replace(row, difference=None if difference is None else difference(first, second))
            del first, second
            if memory:
                peaks = [peak_memory(work, self.device) for _, work in (ours, against)]
                row = replace(row, ours_peak=peaks[0], against_peak=peaks[1])
            costs = alternate(ours[1], against[1], pairs, self.device)
        except torch.OutOfMemoryError:
            peak = peak_memory(ours[1], self.device) if memory else None
            alone = self.alone(name, ours[0], ours[1], times=pairs)
            return replace(alone, against=against[0], ours_peak=peak, difference=row.difference, note="out of memory")
        return replace(row, ours_costs=costs[0], against_costs=costs[1])

    def alone(self, name: str, what: str, work: Work, goals: Sequence[Goal] = (), times: int | None = None) -> Row:
        """The time of one way that stands for itself."""
        work()
        costs = [timed(work, self.device) for _ in range(times or self.pairs)]
        return Row(name, what, "", costs, goals=goals, clock=self.clock)


def largest_difference(a: torch.Tensor, b: torch.Tensor) -> float:
    """Element by element, in double precision."""
    return float((a.double().cpu() - b.double().cpu()).abs().max())
