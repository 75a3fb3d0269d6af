"""Files and folders that are either whole or not there."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from platform import node

_HOST = re.sub(r"[^\w-]", "-", node())[:40] or "here"
_LEFTOVER = re.compile(r"\.(?P<name>.*)\.(?P<host>[\w-]+)\.(?P<process>\d+)\.tmp", re.DOTALL)
_LONGEST = 150
"""Bytes of a name that its temporary name keeps: file systems allow 255 for the whole."""
_DAY = 86_400


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yield a temporary name beside ``path``; what was written there becomes ``path`` at the end, durably.

    The file is fsynced before it is renamed and the directory after, so that neither a killed process nor a
    lost machine leaves half a file under the real name. What killed processes left of the same file goes first.
    """
    temporary = _temporary(path)
    sweep(path.parent, path.name)
    try:
        yield temporary
        _fsync(temporary)
        temporary.replace(path)
        _fsync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield a new folder beside ``path``; at the end it takes that place, where nothing or an empty folder may be.

    What killed processes left of the same folder goes first.
    """
    temporary = _temporary(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    sweep(path.parent, path.name)
    try:
        temporary.mkdir()
        yield temporary
        temporary.replace(path)
        _fsync(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Write a text in UTF-8, atomically, with its line ends; half a surrogate pair as JSON escapes it."""
    with atomic(path) as temporary:
        temporary.write_bytes(text.encode("utf-8", "backslashreplace"))


@contextmanager
def os_errors() -> Iterator[None]:
    """Make an OSError of whatever a library raises that can't write: each says in its own way that a disk is full."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        raise OSError(str(error)) from error


def sweep(directory: Path, name: str | None = None) -> None:
    """Remove what killed processes left under temporary names: all of it, or that of one file.

    It belongs to a process of this machine that is no more, or to another machine and nobody touched it for a day.
    """
    with suppress(OSError):  # leftovers are in nobody's way
        for leftover in list(os.scandir(directory)):
            parts = _LEFTOVER.fullmatch(leftover.name)
            if parts is None or (name is not None and parts["name"] != _shortened(name)):
                continue
            here = parts["host"] == _HOST
            if not _alive(int(parts["process"])) if here else time.time() - leftover.stat().st_mtime > _DAY:
                _remove(leftover)


def _remove(leftover: os.DirEntry[str]) -> None:
    if leftover.is_dir(follow_symlinks=False):
        shutil.rmtree(leftover.path, ignore_errors=True)
    else:
        with suppress(OSError):  # another process was faster
            os.unlink(leftover.path)


def _temporary(path: Path) -> Path:
    return path.with_name(f".{_shortened(path.name)}.{_HOST}.{os.getpid()}.tmp")


def _shortened(name: str) -> str:
    return os.fsencode(name)[:_LONGEST].decode("utf-8", "ignore")


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # it exists and is somebody else's
        return True
    return True


def _fsync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
