"""Which examples make up which batch: fixed by sizes, capacity and a seed, for every epoch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import deepcopy

import numpy as np
from jaxtyping import Float, Int

from attnshift.errors import AttnshiftError


class Batches:
    """Batches of equal total size, as the HF Trainer's batch sampler.

    Every epoch is shuffled anew and cut where the sizes reach a multiple of the capacity: with tokens as sizes, every
    arm has seen the same number of tokens (to within one example) at the same step, however long its examples are;
    with ones, a batch is so many examples. What is left over at an epoch's end is left out.

    An epoch's order depends on the generator that was given and the epoch's number alone, so a resumed training goes
    on with the batches that it would have had.
    """

    def __init__(
        self,
        sizes: Sequence[int] | Int[np.ndarray, "example"],
        capacity: float,
        rng: np.random.Generator,
        micro: int = 1,
    ) -> None:
        """``micro`` splits every batch into so many pieces that follow each other: gradients are summed over them.

        Raises AttnshiftError where the examples don't fill one batch, or a batch can't be split.
        """
        self.sizes = np.asarray(sizes)
        self.capacity, self.micro, self.epoch = capacity, micro, 0
        self._rng = rng
        self.steps_per_epoch = int(self.sizes.sum() / capacity + _ROUNDING)
        if not self.steps_per_epoch:
            raise AttnshiftError(
                f"{len(self.sizes)} training examples don't fill one batch: they sum to {self.sizes.sum()}",
                expected=f"at least {capacity:.0f}",
                remedy="a smaller --batch-size, or more examples",
            )
        if self.steps_per_epoch * micro > len(self.sizes):
            raise AttnshiftError(
                f"{len(self.sizes)} training examples are too few for {self.steps_per_epoch} batches of {micro} parts",
                expected="at least one example in every part of a batch",
                remedy="a larger --batch-size, or fewer --micro-batches",
            )

    def set_epoch(self, epoch: int) -> None:
        """Go to an epoch, from 0."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.steps_per_epoch * self.micro

    def __iter__(self) -> Iterator[Int[np.ndarray, "example"]]:
        for batch in self.of_epoch(self.epoch):
            yield from np.array_split(batch, self.micro)

    def of_epoch(self, epoch: int) -> list[Int[np.ndarray, "example"]]:
        """An epoch's batches, as positions of examples."""
        rng = deepcopy(self._rng)
        order = rng.permutation(len(self.sizes))
        for _ in range(epoch):
            order = rng.permutation(len(self.sizes))
        filled: Float[np.ndarray, "example"] = np.cumsum(self.sizes[order]) / self.capacity
        # An example that lies across a boundary goes to the side that holds more of it.
        middle = filled - self.sizes[order] / self.capacity / 2
        steps = np.arange(1, self.steps_per_epoch + 1)
        cuts = np.searchsorted(middle, steps)
        # Where an example is longer than a batch, its neighbours still get one each, and catch up.
        fewest = self.micro * steps
        cuts = fewest + np.maximum.accumulate(np.maximum(cuts - fewest, 0))
        cuts = np.minimum(cuts, len(order) - self.micro * (self.steps_per_epoch - steps))
        return np.split(order, cuts)[:-1]


_ROUNDING = 1e-9
"""so that a sum that fills the last batch exactly does so in floating point too"""
