"""The folders of a run directory: which are numbered checkpoints, which others may be one."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from attnshift.checkpoints.checkpoint import classify, converted, weights_folder
from attnshift.checkpoints.foreign import find_foreign
from attnshift.checkpoints.trainer_state import read_trainer_state
from attnshift.errors import AttnshiftError

BASE_FOLDER = "base"
"""A folder of this name in a run holds its base model."""
_NUMBERED = re.compile(r"(checkpoint|ckpt|global_step|step|iter)[-_]?0*(\d+)", re.IGNORECASE | re.ASCII)
_LIGHTNING = re.compile(r"(?:.*-)?step=0*(\d+)(?:-(?!last).*)?", re.ASCII)
_EPOCH = re.compile(r"epoch[-_]?0*(\d+)", re.IGNORECASE | re.ASCII)
_SHARDS = "global_step"
"""So DeepSpeed calls the folder of shards that the Trainer keeps inside a checkpoint's."""
_IGNORED = ("trace",)


@dataclass(frozen=True)
class Layout:
    """The folders of a run that can matter, told by names and listings alone."""

    root: Path
    """The run itself, absolute."""
    numbered: Mapping[int, Path]
    """Step to folder, in ascending order; the folder need not hold weights."""
    unnumbered: tuple[Path, ...]
    """Other folders with weights in name order, but for the base; the run itself comes last."""
    notes: tuple[str, ...]
    """Folders that were left out although their names are numbered or they hold weights of a kind."""
    epochs: Mapping[Path, float] = field(default_factory=dict)
    """Passes over the training set before a folder was saved, where its name states them."""
    revisions: Mapping[Path, str] = field(default_factory=dict)
    """The revisions that folders of the hub's cache hold."""

    def name(self, folder: Path) -> str:
        """How a folder is told to the user: by its place in the run, or its revision."""
        if folder in self.revisions:
            return f"revision {self.revisions[folder]}"
        if folder == self.root:
            return "the run's own folder"
        return f"{folder.relative_to(self.root) if folder.is_relative_to(self.root) else folder}/"


def numbered_step(name: str) -> int | None:
    """The step that a folder's name states, such as 500 for `checkpoint-500`; None where it states none."""
    match = _NUMBERED.fullmatch(name)
    if match:
        return int(match[2])
    match = _LIGHTNING.fullmatch(name)  # as Lightning and NeMo name them
    return int(match[1]) if match else None


def numbered_epoch(name: str) -> int | None:
    """The epoch that a folder's name states, such as 0 for torchtune's `epoch_0`; None where it states none."""
    match = _EPOCH.fullmatch(name)
    return int(match[1]) if match else None


def read_layout(path: Path, ready: Callable[[Path], bool] | None = None) -> Layout:
    """List a run directory; where `ready` is given, only the folders for which it is true.

    Raises
    ------
    AttnshiftError
        For a path that isn't a folder we may list, and two folders of the same step.
    """
    root, children = _children(path)
    children = [child for child in children if ready is None or ready(child)]
    own = numbered_step(root.name)
    if own is not None and (inner := weights_folder(root)) != root:
        return Layout(root, {own: inner}, (), ())
    has_weights = classify(root) is not None and (ready is None or ready(root))
    steps: list[tuple[int, Path]] = []
    epochs: list[tuple[int, Path]] = []
    unnumbered: list[Path] = []
    notes: list[str] = []
    for child in children:
        step = numbered_step(child.name)
        is_one = step is not None or numbered_epoch(child.name) is not None
        folder = weights_folder(child) if is_one else converted(child)
        held, epoch = classify(folder), _only_epoch(child.name, folder)
        foreign = None if held else find_foreign(child)
        if foreign and child.name.startswith(_SHARDS) and (has_weights or own is not None):
            told = f"{child.name}/ holds {foreign.layout}: ignored, as weights stand beside it"
            notes += [told] if has_weights else []
        elif foreign and step is epoch is None:
            notes.append(f"{child.name}/ holds {foreign.layout} and is left out; to read it: {foreign.conversion}")
        elif step is not None:
            steps.append((step, folder))
        elif epoch is not None:
            epochs.append((epoch, folder))
        elif held:
            unnumbered.append(folder)
    by_epoch = {} if steps else _distinct(epochs, root, "epoch")
    if by_epoch:
        notes.append(_counted(by_epoch, root))
    unnumbered += [folder for _, folder in epochs if steps and classify(folder)]
    # Whoever names folders by epochs counts them from 0: the first is saved when one epoch is over.
    numbered = _distinct(steps, root, "step") or {epoch + 1: folder for epoch, folder in by_epoch.items()}
    passes = {folder: epoch + 1.0 for epoch, folder in by_epoch.items()}
    return Layout(root, numbered, (*sorted(unnumbered), *([root] if has_weights else [])), tuple(notes), passes)


def _only_epoch(name: str, folder: Path) -> int | None:
    """The epoch that a folder's name states where nothing in the folder states its step."""
    return numbered_epoch(name) if read_trainer_state(folder).step is None else None


def _distinct(found: list[tuple[int, Path]], root: Path, what: str) -> dict[int, Path]:
    """Folders by ascending number; raises AttnshiftError where two have the same."""
    numbered: dict[int, Path] = {}
    for number, folder in found:
        if number in numbered:
            names = " and ".join(f"{place.relative_to(root).parts[0]}/" for place in (numbered[number], folder))
            raise AttnshiftError(
                f"{names} in {str(root)!r} are both {what} {number}",
                expected=f"one folder per {what}",
                remedy="move one of them out of the run",
            )
        numbered[number] = folder
    return dict(sorted(numbered.items()))


def _counted(by_epoch: Mapping[int, Path], root: Path) -> str:
    epoch, folder = next(iter(by_epoch.items()))
    name = folder.relative_to(root).parts[0]
    return f"{name}/ states no step: steps are counted in epochs, {name}/ is step {epoch + 1} (epoch {epoch + 1})"


def _children(path: Path) -> tuple[Path, list[Path]]:
    """A run directory, absolute, and the folders in it by name."""
    try:
        root = path.resolve()
        children = [root / name for name in sorted(os.listdir(root))]
    except (OSError, ValueError, RuntimeError) as error:
        unlisted = f"can't be listed: {error}" if os.path.exists(path) else "doesn't exist"
        problem = "is a file" if os.path.isfile(path) else unlisted
        raise AttnshiftError(
            f"{str(path)!r} {problem}",
            expected="a run directory or a checkpoint's folder; for a model on the hub --revisions beside its name",
        ) from error
    if any("\ud800" <= character <= "\udfff" for character in str(root)):  # how Python keeps bytes that are no text
        raise AttnshiftError(
            f"the folder's name {str(root)!r} is no UTF-8: weights can't be opened there",
            expected="a name that is text",
            remedy="rename the folder",
        )
    return root, [child for child in children if child.is_dir() and not is_ignored(child)]


def is_ignored(child: Path) -> bool:
    """Whether a folder in a run is no checkpoint whatever it holds: the base, a trace, a hidden folder."""
    is_base = child.name == BASE_FOLDER and classify(child) == "full"
    return is_base or child.name in _IGNORED or child.name.startswith(".")
