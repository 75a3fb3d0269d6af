"""One process at a time, among those that write to one directory."""

from __future__ import annotations

import fcntl
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def alone(lock: Path, waiting: str) -> Iterator[None]:
    """Let one process in at a time, by a lock on a file that is made for it; who dies lets go.

    Says ``waiting`` where somebody else is in there. On a file system without locks everybody gets in, with a warning:
    files stay whole, but of two processes that add to one file at the same instant, one may lose.
    """
    with lock.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if waiting:
                warnings.warn(waiting, UserWarning, stacklevel=3)
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError as error:
            told = f"{lock.parent} is on a file system without locks ({error.strerror}): one command at a time there"
            warnings.warn(told, UserWarning, stacklevel=3)
        yield
