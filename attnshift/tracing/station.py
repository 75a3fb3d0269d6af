"""A process that measures: one model whose weights are swapped, and the errands that it is sent on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from attnshift.errors import AttnshiftError
from attnshift.models.placement import place
from attnshift.models.skeleton import Skeleton
from attnshift.tracing.budget import TokenBudget, load_of
from attnshift.tracing.job import Job, with_budget


class Station:
    """One model in memory and what is to be done with it."""

    def __init__(self, job: Job) -> None:
        self.job = job
        largest = job.inputs.largest_token()
        self.skeleton = Skeleton(job.series.run, job.dtype, job.device, job.placement.spread, largest)
        self.budget = _budget(job)

    def take(self, job: Job) -> None:
        """Go on with another state of the same job: the model stays where it is, and so does a halved budget."""
        job = replace(job, placement=self.job.placement)
        if job.settings.token_budget not in (self.job.settings.token_budget, self.budget.tokens):
            self.budget = _budget(job)
        self.job = job


def station_at(job: Job, device: str | None) -> Station:
    """A station on this machine, whatever machine the job was prepared on; raises AttnshiftError.

    ``device`` as in `trace`. The token budget comes from this machine's memory where the trace isn't begun.
    """
    for path in (job.series.run.path, job.store.path):
        if not path.is_dir():
            raise AttnshiftError(
                f"{path} can't be seen by this worker",
                expected="a file system that all machines share, and the run and --out on it",
                remedy="move both there, or --backend local",
            )
    return Station(with_budget(replace(job, placement=place(device))))


class Errand(Protocol):
    """Something to do with a model: small enough to be sent, done as often as it takes, written whole or not at all."""

    @property
    def step(self) -> int | None:
        """The checkpoint that it is about; None if about all of them."""

    @property
    def files(self) -> Sequence[Path]:
        """Its weights, as far as they are known beforehand."""

    def run(self, station: Station) -> Any:
        """Do it. What it returns is small; what it computes goes into the trace."""


def _budget(job: Job) -> TokenBudget:
    load = load_of(job.inputs, job.settings.max_new_tokens)
    return TokenBudget(job.settings.token_budget, load.longest)
