"""One errand after the other, in this process."""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence
from contextlib import closing

from attnshift.errors import came_of_interrupt
from attnshift.tracing.backends.backend import Backend, Done, E
from attnshift.tracing.job import Job
from attnshift.tracing.prefetch import read_ahead
from attnshift.tracing.station import Station


class Serial(Backend):
    """This process; the model of one errand serves the next."""

    def __init__(self, device: str | None = None) -> None:
        self.device = device
        self._station: Station | None = None

    def __exit__(self, *_: object) -> None:
        self._station = None

    def perform(self, job: Job, errands: Sequence[E]) -> Generator[tuple[E, Done], None, None]:
        """In the order given; the files of the next checkpoint are read meanwhile."""
        if self._station is None:
            self._station = Station(job)
        station = self._station
        station.take(job)
        with closing(read_ahead(errands)) as coming:
            for errand in coming:
                started, result, error = time.perf_counter(), None, None
                try:
                    result = errand.run(station)
                except Exception as raised:
                    if came_of_interrupt(raised):
                        raise KeyboardInterrupt from raised
                    error = raised
                yield errand, Done(time.perf_counter() - started, result, error)
