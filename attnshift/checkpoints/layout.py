"""The folders of a run directory: which are numbered checkpoints, which others may be one."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from attnshift.checkpoints.checkpoint import classify, foreign_layout
from attnshift.errors import AttnshiftError

BASE_FOLDER = "base"
"""A folder of this name in a run holds its base model."""
_NUMBERED = re.compile(r"(checkpoint|global_step|step|iter)[-_]?0*(\d+)", re.IGNORECASE | re.ASCII)
_IGNORED = ("trace",)


@dataclass(frozen=True)
class Layout:
    """The folders of a run that can matter, told by names and listings alone."""

    root: Path
    """The run itself, absolute."""
    numbered: dict[int, Path]
    """Step to folder, in ascending order; the folder need not hold weights."""
    unnumbered: tuple[Path, ...]
    """Other folders with weights in name order, but for the base; the run itself comes last."""
    notes: tuple[str, ...]
    """Folders that were left out although their names are numbered."""


def numbered_step(name: str) -> int | None:
    """The step that a folder's name states, such as 500 for `checkpoint-500`; None where it states none."""
    match = _NUMBERED.fullmatch(name)
    return int(match[2]) if match else None


def read_layout(path: Path) -> Layout:
    """List a run directory.

    Raises
    ------
    AttnshiftError
        For a path that isn't a folder we may list, and two folders of the same step.
    """
    try:
        root = path.resolve()
        children = [root / name for name in sorted(os.listdir(root))]
    except (OSError, ValueError, RuntimeError) as error:
        unlisted = f"can't be listed: {error}" if os.path.exists(path) else "doesn't exist"
        problem = "is a file" if os.path.isfile(path) else unlisted
        raise AttnshiftError(f"{str(path)!r} {problem}", expected="a run directory or a checkpoint's folder") from error
    has_weights = classify(root) is not None
    numbered: dict[int, Path] = {}
    unnumbered: list[Path] = []
    notes: list[str] = []
    for child in filter(Path.is_dir, children):
        step = numbered_step(child.name)
        if step is None:
            if not _is_ignored(child) and classify(child):
                unnumbered.append(child)
        elif has_weights and classify(child) is None and foreign_layout(child):
            notes.append(f"{child.name}/ holds {foreign_layout(child)}: ignored, as weights stand beside it")
        elif step in numbered:
            raise AttnshiftError(
                f"{numbered[step].name}/ and {child.name}/ in {str(path)!r} are both step {step}",
                expected="one folder per step",
                remedy="move one of them out of the run",
            )
        else:
            numbered[step] = child
    return Layout(root, dict(sorted(numbered.items())), (*unnumbered, *([root] if has_weights else [])), tuple(notes))


def _is_ignored(child: Path) -> bool:
    is_base = child.name == BASE_FOLDER and classify(child) == "full"
    return is_base or child.name in _IGNORED or child.name.startswith(".")
