"""An errand in another process: what is sent there, and how it is done."""

from __future__ import annotations

import pickle
import time
import warnings
from typing import Any

from attnshift.errors import AttnshiftError, CheckpointError
from attnshift.tracing.backends.backend import Done
from attnshift.tracing.job import Job
from attnshift.tracing.station import Errand, Station, station_at


def packed(thing: Job | Errand) -> bytes:
    """What is to be sent to another process, measures from a notebook included; raises AttnshiftError."""
    import cloudpickle

    try:
        return bytes(cloudpickle.dumps(thing))
    except Exception as error:  # whatever a measure of somebody's own holds
        raise AttnshiftError(
            f"this can't be sent to another process: {type(error).__name__}: {error}",
            expected="measures that are plain dataclasses, without open files or locks",
            remedy="--backend local --workers 1",
        ) from error


class Post:
    """A worker's place: its device and the station that it has there once it has been sent a job."""

    def __init__(self, device: str | None, threads: int) -> None:
        self._device, self._threads = device, threads
        self._packed, self._job = b"", None
        self._station: Station | None = None

    def attempt(self, job: bytes, errand: bytes) -> Done:
        """Go on a packed errand of a packed job; all that can't be sent back is put into words."""
        started, result, error = time.perf_counter(), None, None
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("ignore")
            warnings.simplefilter("always", UserWarning)
            try:
                result = pickle.loads(errand).run(self._at(job))  # noqa: S301  (packed by our own other end)
            except AttnshiftError as raised:
                error = raised
            except Exception as raised:
                error = CheckpointError(f"{type(raised).__name__}: {raised}")
        told = tuple(dict.fromkeys(str(each.message) for each in caught if each.category is UserWarning))
        return Done(time.perf_counter() - started, result, error, told)

    def _at(self, packed_job: bytes) -> Station:
        if packed_job != self._packed:
            self._job, self._packed = pickle.loads(packed_job), packed_job  # noqa: S301  (as above)
        job: Any = self._job
        if self._station is None:
            import torch

            torch.set_num_threads(self._threads)
            self._station = station_at(job, self._device)
        self._station.take(job)
        return self._station
