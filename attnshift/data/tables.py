"""The rows of tables: parquet files, and folders that `save_to_disk` of the datasets library wrote."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from attnshift.errors import AttnshiftError

PARQUET = ".parquet"
_SPLIT, _STATE, _SPLITS = "#", "state.json", "dataset_dict.json"


def is_table(path: Path) -> bool:
    """Whether a path is a parquet file or a folder; a folder may be followed by `#` and the name of a split."""
    return path.suffix.lower() == PARQUET or _folder(path).is_dir()


def read_table(path: Path) -> list[dict[str, Any]]:
    """Read the rows of a parquet file or a saved dataset, as Python's own values.

    Parameters
    ----------
    path
        The file, the folder of a dataset, or one of several splits: `folder#train`.

    Raises
    ------
    AttnshiftError
        For a file that can't be read, a folder that isn't a saved dataset or has several splits of which none is
        named, a split that it lacks, and where pyarrow isn't installed.
    """
    if not _folder(path).is_dir():
        return _rows(path, [path])
    folder = _split(path)
    return _rows(path, [_inside(folder, file) for file in _data_files(path, folder)])


def _folder(path: Path) -> Path:
    """The folder that a path names, without a split."""
    return path if path.exists() else path.with_name(path.name.partition(_SPLIT)[0] or path.name)


def _split(path: Path) -> Path:
    """The folder of the dataset that a path means."""
    folder = _folder(path)
    named = "" if path == folder else path.name.partition(_SPLIT)[2]
    if not (folder / _SPLITS).is_file():
        if named:
            raise AttnshiftError(f"{folder} has no splits", expected="the folder alone", remedy=f"name {folder}")
        return folder
    splits = _json(folder / _SPLITS).get("splits")
    names = [name for name in splits if isinstance(name, str)] if isinstance(splits, list) else []
    if named not in names:
        chosen = f"no split {named!r}" if named else f"{len(names)} splits: {', '.join(names)}"
        raise AttnshiftError(
            f"{folder} has {chosen}",
            expected=f"one of {', '.join(names)}" if named else "one of them",
            remedy=f"name it behind the folder: {folder}{_SPLIT}{names[0] if names else 'train'}",
        )
    return _inside(folder, named)


def _data_files(path: Path, folder: Path) -> list[str]:
    """The names of a dataset's files of rows, in their order."""
    if not (folder / _STATE).is_file():
        tables = sorted(file.name for file in folder.iterdir() if file.suffix.lower() == PARQUET)
        raise AttnshiftError(
            f"{path} is a folder without {_STATE}",
            expected="one file, or a folder that save_to_disk of the datasets library wrote",
            remedy=f"name a file in the folder, such as {folder / tables[0]}"
            if tables
            else "name a file in the folder",
        )
    files = _json(folder / _STATE).get("_data_files")
    names = [file.get("filename") for file in files if isinstance(file, dict)] if isinstance(files, list) else []
    if not names or not all(isinstance(name, str) for name in names):
        raise _broken(folder / _STATE, "it names no files of rows")
    return [str(name) for name in names]


def _inside(folder: Path, name: str) -> Path:
    """A file or folder that a dataset names: directly inside its folder."""
    place = folder / name
    if Path(name).name != name or place.resolve().parent != folder.resolve():
        raise AttnshiftError(
            f"{folder} names {name!r}, which leaves it",
            expected="names of files in this folder",
            remedy="save the dataset again",
        )
    return place


def _rows(path: Path, files: list[Path]) -> list[dict[str, Any]]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise AttnshiftError(
            f"{path} can't be read: pyarrow isn't installed",
            expected="pyarrow, for parquet files and saved datasets",
            remedy="pip install 'attnshift[data]', or save the rows as json lines",
        ) from error
    rows: list[dict[str, Any]] = []
    for file in files:
        if not file.is_file():  # a pipe, say, would be waited for
            raise _broken(file, "it is no file")
        try:
            if not file.is_file():  # reading a pipe would wait for ever
                raise FileNotFoundError("it is no file")
            if file.suffix.lower() == PARQUET:
                table = parquet.read_table(file, partitioning=None)
            else:
                with pyarrow.memory_map(str(file)) as source, pyarrow.ipc.open_stream(source) as stream:
                    table = stream.read_all()
            table.validate(full=True)  # offsets of a damaged file point anywhere
            rows += table.to_pylist()
        except Exception as error:  # of dates that Python doesn't have, of names that repeat, of any damage
            raise _broken(file, str(error).strip().partition("\n")[0] or type(error).__name__) from error
    return rows


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise _broken(path, str(error)) from error
    if not isinstance(value, dict):
        raise _broken(path, "it holds no JSON object")
    return value


def _broken(path: Path, why: str) -> AttnshiftError:
    return AttnshiftError(
        f"{path} can't be read: {why}",
        expected="a table as pyarrow or the datasets library writes it",
        remedy="check that it was written to its end, or save it again",
    )
