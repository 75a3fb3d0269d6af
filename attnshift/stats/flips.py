"""Items that flip between context and memory from one checkpoint to another, and whether the flip lasts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr
from jaxtyping import Shaped

from attnshift.errors import AttnshiftError
from attnshift.stats.items import answer_labels, known_items

_SIDES = ("context", "parametric")


@dataclass(frozen=True)
class Flip:
    """One item that goes from one answer to the other."""

    item: str
    before: str
    """context or parametric: whose answer it gets at the first of the two checkpoints"""
    after: str
    robust: bool
    """whether it gets the same at the neighbouring checkpoints too"""


@dataclass(frozen=True)
class Flips:
    """Items that flip between two checkpoints; those that get both or neither answer on a side aren't among them."""

    to_memory: tuple[Flip, ...]
    """context → parametric"""
    to_context: tuple[Flip, ...]
    """parametric → context"""
    items: int
    """items that have a label on both sides"""
    window: int

    @property
    def net(self) -> int:
        """Items that go to memory less those that go to the context."""
        return len(self.to_memory) - len(self.to_context)

    @property
    def robust_to_memory(self) -> int:
        """How many flips to memory last."""
        return sum(flip.robust for flip in self.to_memory)

    @property
    def robust_to_context(self) -> int:
        """How many flips to the context last."""
        return sum(flip.robust for flip in self.to_context)


def flips(trace: xr.Dataset, start: int, end: int, window: int = 1, known: bool = False) -> Flips:
    """Flips between two steps of one trace, item by item.

    Labels are `items.answer_labels`. A flip is robust if the label of the first side holds at ``window`` checkpoints
    on either side of it, and the second's likewise, as far as there are checkpoints; those between the two belong to
    the nearer. ``window`` 0 calls every flip robust.

    Raises AttnshiftError for a step that the trace lacks and where known items are asked for and not told.
    """
    chosen = known_items(trace) if known else np.ones(trace.sizes["item"], bool)
    labels = answer_labels(trace)[:, chosen]
    places = [step_place(trace, step) for step in (start, end)]
    return label_flips(
        trace["item"].values.astype(str)[chosen], (labels, places[0]), (labels, places[1]), window, same_run=True
    )


def label_flips(
    items: Shaped[np.ndarray, "item"],
    first: tuple[Shaped[np.ndarray, "step item"], int],
    second: tuple[Shaped[np.ndarray, "step item"], int],
    window: int = 1,
    same_run: bool = False,
) -> Flips:
    """Flips of the same items between a checkpoint of one series of labels and one of another (or the same).

    Each side is the labels of its run and the checkpoint's place among them. Empty labels are unmeasured: at a
    neighbour they are passed over.
    """
    if window < 0:
        raise AttnshiftError(f"a window of {window} checkpoints", expected="0 or more on either side")
    ranges = [_reach(len(labels), place, window) for labels, place in (first, second)]
    if same_run and first[1] != second[1]:
        ranges = _apart(ranges, first[1], second[1])
    before, after = first[0][first[1]], second[0][second[1]]
    lasting = np.ones(len(items), bool)
    for (labels, place), (low, high) in zip((first, second), ranges, strict=True):
        near = labels[low : high + 1]
        lasting &= ((near == labels[place]) | (near == "")).all(0)
    found: dict[str, list[Flip]] = {side: [] for side in _SIDES}
    for index in np.flatnonzero(np.isin(before, _SIDES) & np.isin(after, _SIDES) & (before != after)):
        flip = Flip(str(items[index]), str(before[index]), str(after[index]), bool(lasting[index]))
        found[flip.after].append(flip)
    compared = int(((before != "") & (after != "")).sum())
    return Flips(tuple(found["parametric"]), tuple(found["context"]), compared, window)


def step_place(trace: xr.Dataset, step: int) -> int:
    """The place of a step among those of a trace; raises AttnshiftError where it isn't one."""
    steps = trace["step"].values.tolist()
    if step not in steps:
        raise AttnshiftError(f"no step {step} in the trace", expected=f"one of {', '.join(map(str, steps))}")
    return int(steps.index(step))


def _reach(count: int, place: int, window: int) -> tuple[int, int]:
    return max(place - window, 0), min(place + window, count - 1)


def _apart(ranges: list[tuple[int, int]], first: int, second: int) -> list[tuple[int, int]]:
    """Two ranges cut where they would overlap, in the middle between their checkpoints."""
    middle = (first + second) // 2
    (low, high), (low2, high2) = ranges
    if first < second:
        return [(low, min(high, middle)), (max(low2, middle + 1), high2)]
    return [(max(low, middle + 1), high), (low2, min(high2, middle))]
