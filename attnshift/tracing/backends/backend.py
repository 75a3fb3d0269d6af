"""What every backend does: errands, in whatever order, each until it is done or known to fail."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from attnshift.tracing.job import Job
from attnshift.tracing.station import Errand

ATTEMPTS = 3
"""How often an errand is begun whose process dies over it, before it counts as failed."""

E = TypeVar("E", bound=Errand)


@dataclass(frozen=True)
class Done:
    """What came of an errand."""

    seconds: float
    result: Any = None
    error: Exception | None = None
    told: tuple[str, ...] = ()
    """warnings for the user, from another process"""


class Backend(ABC):
    """A place where errands are done; open it as a context, which is where it says that it can't be had."""

    device: str | None
    """the device that a job is prepared for on this machine, as in `trace`"""
    share: int = 1
    """models that are measured at once in the memory of one device of this machine"""

    def __enter__(self) -> Backend:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    @abstractmethod
    def perform(self, job: Job, errands: Sequence[E]) -> Generator[tuple[E, Done], None, None]:
        """Each errand with what came of it, as they end. Close the iterator to stop the others.

        Raises AttnshiftError where the backend itself fails. What is wrong with a single errand is in its `Done`.
        """


def repeat_warnings(done: Done) -> None:
    """Say here what was said elsewhere."""
    for text in done.told:
        warnings.warn(text, UserWarning, stacklevel=2)
