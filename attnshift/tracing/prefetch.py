"""The next checkpoint's files, read while the one before is measured."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import zip_longest
from pathlib import Path
from threading import Event
from typing import TypeVar

from attnshift.tracing.host import free_host_bytes
from attnshift.tracing.station import Errand

_CHUNK = 1 << 23

E = TypeVar("E", bound=Errand)


def read_ahead(errands: Sequence[E]) -> Generator[E, None, None]:
    """Each errand; while it is worked on, the files of the one after it are read.

    They end up in the system's page cache, from where loading maps them: there is no second copy of the weights.
    Errors are left to loading, which reports them. Close the iterator to stop reading.
    """
    stop = Event()
    with ThreadPoolExecutor(1) as pool:
        reading: Future[None] | None = None
        try:
            for errand, following in zip_longest(errands, errands[1:]):
                if reading is not None:
                    reading.result()  # two readers of one disk are slower than one
                if following is not None:
                    reading = pool.submit(warm, following.files, stop)
                yield errand
        finally:
            stop.set()


def warm(files: Sequence[Path], stop: Event) -> None:
    """Read files chunk by chunk into the page cache, if it has room for them; returns early once ``stop`` is set."""
    buffer = bytearray(_CHUNK)
    try:
        if sum(file.stat().st_size for file in files) > free_host_bytes():
            return
        for path in files:
            with path.open("rb", buffering=0) as file:
                while not stop.is_set() and file.readinto(buffer):
                    pass
    except OSError:
        return
