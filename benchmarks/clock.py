"""Time and memory of two ways to do the same thing, measured in turns so that a busy machine disturbs both alike."""

from __future__ import annotations

import ctypes
import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

Work = Callable[[], Any]

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # mallopt(3)
_OWN_PAGES, _HIGHEST_THRESHOLD = 64 * 2**10, 32 * 2**20
_RESET_PEAK = "5"  # proc(5): the peak resident size becomes the present one


@dataclass(frozen=True)
class Cost:
    """What one call took."""

    cpu: float
    """seconds of processor time, all threads of this process"""
    wall: float
    """seconds on the clock"""


def timed(work: Work, device: torch.device) -> Cost:
    """The cost of one call; on a GPU until it has finished what it was given."""
    gc.collect()
    _finish(device)
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    _finish(device)
    return Cost(time.process_time() - cpu, time.perf_counter() - wall)


def alternate(ours: Work, against: Work, pairs: int, device: torch.device) -> tuple[list[Cost], list[Cost]]:
    """Costs pair by pair; who goes first changes from pair to pair."""
    costs: tuple[list[Cost], list[Cost]] = ([], [])
    for pair in range(pairs):
        for side in (0, 1) if pair % 2 == 0 else (1, 0):
            costs[side].append(timed((ours, against)[side], device))
    return costs


def peak_memory(work: Work, device: torch.device) -> int | None:
    """The most bytes in use during a call beyond those in use before it; None where the system doesn't tell."""
    gc.collect()
    if device.type == "cuda":
        _finish(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        work()
        _finish(device)
        return torch.cuda.max_memory_allocated(device) - before
    with _freed_memory_returned():
        try:
            _CLEAR.write_text(_RESET_PEAK)
            before = _status("VmRSS")
        except (OSError, KeyError):
            return None
        work()
        return _status("VmHWM") - before


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _status(name: str) -> int:
    """A size out of the process's status, in bytes."""
    lines = dict(line.split(":", 1) for line in _STATUS.read_text().splitlines())
    return int(lines[name].split()[0]) * 1024


@contextmanager
def _freed_memory_returned() -> Iterator[None]:
    """Within it every tensor of note has pages of its own, which go back to the system as soon as it is freed.

    Left to itself glibc keeps freed blocks of up to 32 MiB for later and cuts new ones out of them: the peak would then
    tell how well the blocks happened to fit. It raises its thresholds as it goes, so they are set to where it ends up
    afterwards.
    """
    try:
        libc = ctypes.CDLL(None)
        libc.malloc_trim(0)
    except (AttributeError, OSError):  # not glibc
        yield
        return
    libc.mallopt(_M_MMAP_THRESHOLD, _OWN_PAGES)
    try:
        yield
    finally:
        libc.mallopt(_M_MMAP_THRESHOLD, _HIGHEST_THRESHOLD)
        libc.mallopt(_M_TRIM_THRESHOLD, 2 * _HIGHEST_THRESHOLD)
