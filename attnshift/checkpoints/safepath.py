"""Paths that a file inside a run names: kept inside it."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from attnshift.errors import AttnshiftError


def inside(root: Path, relative: str, *, start: Path | None = None) -> Path:
    """Resolve a path that a file below `root` names, and refuse one that leaves `root`.

    Parameters
    ----------
    root
        The folder that the path must stay in, after resolving `..` and symbolic links.
    relative
        The path as written in the file. It need not exist.
    start
        The folder that `relative` begins at; `root` itself unless told.

    Returns
    -------
    Path
        Absolute, with links resolved.

    Raises
    ------
    AttnshiftError
        For an absolute path, one that leaves `root`, and one that can't be followed.
    """
    refusal = AttnshiftError(
        f"the path {relative!r} leaves {root}",
        expected="a relative path that stays in this folder, also after following symbolic links",
        remedy="copy the file into the folder and name it from there",
    )
    try:
        limit = root.resolve()
        path = ((start or root) / relative).resolve()
    except (OSError, ValueError, RuntimeError) as error:  # a null byte, a loop of links
        raise refusal from error
    if Path(relative).is_absolute() or not path.is_relative_to(limit):
        raise refusal
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise AttnshiftError(f"the path {relative!r} in {root} is a pipe or a device", expected="a file or a folder")
    return path


def refuse_pipes(folder: Path, error: type[AttnshiftError] = AttnshiftError) -> None:
    """Raise the error for a folder that holds, or links to, a pipe or device: a reader would wait or go on for ever."""
    with suppress(OSError):
        for entry in sorted(folder.iterdir()):
            if entry.exists() and not (entry.is_file() or entry.is_dir()):
                raise error(f"{entry} is a pipe or a device", expected="files and folders", remedy="remove it")
