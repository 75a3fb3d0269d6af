"""Templates are somebody's programs: how long one may take for a prompt, and how much memory."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from attnshift.errors import AttnshiftError

SECONDS = 10.0
"""A prompt takes well under a millisecond."""
BYTES = 1 << 30
"""A prompt takes less than a megabyte."""
_SIZES = Path("/proc/self/statm")


@contextmanager
def limited(name: str, seconds: float = SECONDS, size: int = BYTES) -> Iterator[None]:
    """Stop the template of this name after some seconds, and refuse it more memory than ``size`` bytes.

    In the main thread and as far as the system has signals and limits: Linux both, macOS the time, Windows neither.
    An operation of the interpreter that takes long by itself (a huge power) is stopped only behind it.

    Raises AttnshiftError when the time is up; Python raises MemoryError.
    """
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(_: int, __: FrameType | None) -> None:
        raise AttnshiftError(
            f"the template {name!r} takes more than {seconds:g} seconds for one prompt",
            expected="a text with a few fields, not a program",
            remedy="another --template: plain, alpaca, chat, or a Jinja file",
        )

    before = signal.signal(signal.SIGALRM, stop)
    remaining = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        with _address_space(size):
            yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, *remaining)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def _address_space(more: int) -> Iterator[None]:
    """Let the process grow by so many bytes at most, where the system can say how large it is."""
    try:
        used = int(_SIZES.read_text(encoding="ascii").split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:  # no Linux
        yield
        return
    import resource  # not on Windows

    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    bounds = [used + more, *(limit for limit in (soft, hard) if limit != resource.RLIM_INFINITY)]
    resource.setrlimit(resource.RLIMIT_AS, (min(bounds), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
