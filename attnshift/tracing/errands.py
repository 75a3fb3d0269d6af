"""What a station is sent on for a trace: to settle what holds for all of it, and to measure a cell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from attnshift.errors import CheckpointError
from attnshift.tracing.cell import compute_cell
from attnshift.tracing.job import with_budget
from attnshift.tracing.plan import Cell, missing_measures
from attnshift.tracing.settled import Settled, settle_job
from attnshift.tracing.station import Station


@dataclass(frozen=True)
class Settle:
    """Settle what models settle once for the whole trace."""

    step: int | None = None
    files: Sequence[Path] = ()

    def run(self, station: Station) -> Settled:
        """Returns what is settled. Raises AttnshiftError where the trace was made otherwise."""
        waiting = f"another process is settling {station.job.store.path}: waiting for it"
        with station.job.store.alone("inputs", waiting):
            station.take(with_budget(station.job))  # the other one may have begun the trace
            settled = settle_job(station.job, station.skeleton, station.budget)
        station.take(settled.applied(station.job))
        return settled


@dataclass(frozen=True)
class Measured:
    """What became of a cell."""

    values: Mapping[str, np.ndarray]
    """the variables just measured but for those by layer; none where another process had measured all of them"""
    kept: bool = False


@dataclass(frozen=True)
class MeasureCell:
    """Measure what one checkpoint lacks, of a settled job."""

    cell: Cell

    @property
    def step(self) -> int:
        """The checkpoint's."""
        return self.cell.checkpoint.step

    @property
    def files(self) -> Sequence[Path]:
        """The checkpoint's."""
        return self.cell.checkpoint.files

    def run(self, station: Station) -> Measured:
        """Returns the variables just measured. Raises CheckpointError where the checkpoint can't be measured."""
        job, state = station.job, self.cell.state
        missing = missing_measures(job.store, state, job.recipe(job.inputs), self.cell.missing)
        if not missing:
            return Measured({}, kept=True)
        station.skeleton.load(self.cell.checkpoint)
        _refuse_changed(self.cell)
        values = compute_cell(job, station.skeleton, state, missing, job.inputs, station.budget)
        by_layer = {measure.name for measure in missing if "layer" in measure.dims}
        return Measured({name: value for name, value in values.items() if name not in by_layer})


def _refuse_changed(cell: Cell) -> None:
    """Raise CheckpointError where the weights that were just loaded aren't those that were planned."""
    found = cell.checkpoint.fingerprint().digest
    if found != cell.state.digest:
        raise CheckpointError(
            f"{cell.state.place} was written again meanwhile: {cell.state.digest} when it was found, {found} now",
            expected="checkpoints that stay as they are while they are measured",
            remedy="run the same command again once nothing writes there any more",
        )
