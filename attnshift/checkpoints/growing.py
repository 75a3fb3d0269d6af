"""A run that is still being written: which of its folders are complete, and whether its training is over."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from attnshift.checkpoints.checkpoint import read_checkpoint, weights_folder
from attnshift.checkpoints.layout import is_ignored, numbered_epoch, numbered_step
from attnshift.checkpoints.trainer_state import FILE_NAME, read_trainer_state
from attnshift.errors import AttnshiftError, CheckpointError

PATIENCE = 30.0
"""Seconds for which the files of a complete folder have stayed as they are."""
_FINAL = "final"
_OF_THE_TRAINER = "training_args.bin"
"""Written with the weights; the state is what the Trainer writes last."""

_Listing = tuple[tuple[str, int, int], ...]


@dataclass(frozen=True)
class Look:
    """What a run held at one moment."""

    complete: frozenset[Path]
    """folders whose weights are whole and no longer written to"""
    numbered: frozenset[Path]
    """those of them whose names state a step or an epoch"""
    over: str
    """why the training is over; empty while it may go on"""
    changed: bool
    """whether anything was written or deleted since the last look"""


class Growing:
    """A run directory, looked at again and again; `apart` is a folder in it that others write into.

    Raises AttnshiftError where there is no such folder.
    """

    def __init__(
        self, root: Path, apart: Path, clock: Callable[[], float] = time.time, patience: float = PATIENCE
    ) -> None:
        if not root.is_dir():
            raise AttnshiftError(f"there is no run in {str(root)!r} to follow", expected="a folder, which may be empty")
        self.root, self._apart, self._clock, self._patience = root.resolve(), apart.resolve(), clock, patience
        self._seen: dict[Path, tuple[_Listing, float]] = {}
        self._named: set[int | None] = set()

    def look(self) -> Look:
        """Look at every folder of the run; opens no weights."""
        now, before = self._clock(), self._seen
        self._seen = {}
        for folder in (self.root, *(folder for folder in _folders(self.root) if folder != self._apart)):
            listing = tuple(sorted(_files(folder, 1 if folder == self.root else 2)))
            newest = max((time for _, _, time in listing), default=0) / 1e9
            old, since = before.get(folder, ((), min(now, newest)))
            self._seen[folder] = (listing, since if folder not in before or listing == old else now)
        complete = frozenset(folder for folder in self._seen if self._is_complete(folder, now))
        self._named |= {_number(folder.name) for folder in self._seen}
        numbered = frozenset(folder for folder in complete if _number(folder.name) is not None)
        settled = all(now - since >= self._patience for _, since in self._seen.values())
        listings = {folder: listing for folder, (listing, _) in self._seen.items()}
        changed = listings != {folder: listing for folder, (listing, _) in before.items()}
        return Look(complete, numbered, self._over(complete) if settled else "", changed)

    def deleted(self) -> frozenset[int]:
        """Steps that the names of folders once stated and state no longer."""
        now = {_number(folder.name) for folder in _folders(self.root)}
        return frozenset(step for step in self._named - now if step is not None)

    def _is_complete(self, folder: Path, now: float) -> bool:
        _, since = self._seen[folder]
        if now - since < self._patience:
            return False
        try:
            read_checkpoint(folder if folder == self.root else weights_folder(folder), 0)
        except CheckpointError:
            return False
        return (
            not (folder / _OF_THE_TRAINER).is_file() or (folder / FILE_NAME).is_file() or _is_final(folder, self.root)
        )

    def _over(self, complete: frozenset[Path]) -> str:
        """The Trainer saves last in the run's own folder or in `final/`; its state tells the steps in all."""
        for folder in sorted(complete):
            if _is_final(folder, self.root):
                return f"the run's {'own folder' if folder == self.root else f'{_FINAL}/'} holds the final weights"
            state = read_trainer_state(folder)
            if state.step is not None and state.last is not None and state.step >= state.last:
                return f"{folder.name}/ is at step {state.step} of {state.last}"
        return ""


def _is_final(folder: Path, root: Path) -> bool:
    return folder == root or folder.name == _FINAL


def _number(name: str) -> int | None:
    """The step that a folder's name states, or the one that its epoch is shown as."""
    step, epoch = numbered_step(name), numbered_epoch(name)
    return step if epoch is None else epoch + 1


def _folders(root: Path) -> Iterator[Path]:
    try:
        names = sorted(os.listdir(root))
    except OSError:
        return
    yield from (root / name for name in names if (root / name).is_dir() and not is_ignored(root / name))


def _files(folder: Path, depth: int, inside: str = "") -> Iterator[tuple[str, int, int]]:
    """Name, size and time of every file; what goes away meanwhile is left out."""
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return
    for entry in entries:
        try:
            if entry.is_dir():
                if depth > 1:
                    yield from _files(Path(entry.path), depth - 1, f"{inside}{entry.name}/")
            else:
                about = entry.stat()
                yield f"{inside}{entry.name}", about.st_size, about.st_mtime_ns
        except OSError:
            continue
