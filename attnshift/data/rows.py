"""The rows of a json, jsonl or csv file, of a parquet file or a saved dataset, as they are written there."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, Literal

from attnshift.data.tables import PARQUET, is_table, read_table
from attnshift.errors import AttnshiftError

Row = dict[str, Any]


@dataclass(frozen=True)
class Document:
    """A file as it is written: its rows, and what stands around them."""

    path: Path
    kind: Literal["json", "jsonl", "csv", "table"]
    whole: Any
    """the JSON value; of json lines and tables the list of rows; of a csv its records, the header first"""
    rows: list[Row]
    """but for csv the very objects that stand in the whole"""


def read_rows(path: str | PathLike[str]) -> list[Row]:
    """Read the rows of a file; a row maps column names to values.

    Parameters
    ----------
    path
        ``.json`` (a list of objects, an object that holds exactly one such list, or json lines),
        ``.jsonl`` or ``.ndjson`` (one object per line), or ``.csv`` (quoted as in RFC 4180, with a
        header; its values are all text). UTF-8, with or without a byte order mark. Or ``.parquet``, or
        a folder that ``save_to_disk`` of the datasets library wrote, with ``#train`` behind it where it
        has splits.

    Raises
    ------
    AttnshiftError
        The file is missing, empty, of another kind, in another encoding, or broken.
    """
    return read_document(path).rows


def read_document(path: str | PathLike[str]) -> Document:
    """Read a file of rows, so that it can be written again; as `read_rows` reads it, and raises."""
    path = Path(path)
    if is_table(path):
        rows = read_table(path)
        document = Document(path, "table", rows, rows)
    else:
        read = _reader(path)
        text = _read_text(path)
        document = read(path, text) if text.strip() else Document(path, "json", [], [])
    if not document.rows:
        raise AttnshiftError(
            f"{path}: there are no rows in it",
            expected="a row for every datapoint",
            remedy="check that the file was written to its end",
        )
    for number, row in enumerate(document.rows, 1):
        if not isinstance(row, dict):
            raise AttnshiftError(
                f"{path}, row {number}: {_excerpt(row)} is not an object",
                expected='an object such as {"question": "…", "answer": "…"} in every row',
                remedy="give the row column names, or drop it",
            )
    return document


def csv_text(records: Iterable[Sequence[object]], end: str = "\n") -> str:
    """Records as csv. Cells with a carriage return are quoted, which Python leaves bare before another line's end."""
    lines = []
    for record in records:
        line = io.StringIO(newline="")
        csv.writer(line, lineterminator="\r\n").writerow(record)
        lines.append(line.getvalue().removesuffix("\r\n") + end)
    return "".join(lines)


def _reader(path: Path) -> Callable[[Path, str], Document]:
    if not path.exists():
        raise AttnshiftError(f"there is no file {str(path)!r}", remedy="check the path")
    if not (path.is_file() or path.is_dir()):
        raise AttnshiftError(f"{path} is a pipe or a device", expected="a file", remedy="save what it gives to a file")
    if path.suffix.lower() not in _READERS:
        raise AttnshiftError(
            f"{path}: files ending in {path.suffix!r} can't be read",
            expected=f"one of {', '.join(_READERS)}, {PARQUET}, or the folder of a saved dataset",
            remedy="convert the file, or rename it if only its name is wrong",
        )
    return _READERS[path.suffix.lower()]


def _read_text(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise AttnshiftError(f"{path} can't be read: {error.strerror}", remedy="check its permissions") from error
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise AttnshiftError(
            f"{path}, line {line}: the byte {content[error.start]:#04x} is not UTF-8",
            expected="text in UTF-8",
            remedy="convert it, for example with: iconv -f latin1 -t utf-8",
        ) from error


def _json_document(path: Path, text: str) -> Document:
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        # A whole value on the first line and more below it: json lines under another name.
        if error.msg == "Extra data" and "\n" not in text[: error.pos].strip():
            return _jsonl_document(path, text)
        raise _not_json(path, error) from error
    except (ValueError, RecursionError) as error:
        raise _not_json(path, error) from error
    return Document(path, "json", document, document if isinstance(document, list) else _only_list(path, document))


def _only_list(path: Path, document: Any) -> list[Any]:
    members = document if isinstance(document, dict) else {}
    lists = {name: value for name, value in members.items() if isinstance(value, list)}
    holders = [name for name, value in lists.items() if any(isinstance(row, dict) for row in value)]
    if len(holders) == 1:
        return lists[holders[0]]
    if len(holders) > 1:
        found = f"several lists of objects: {', '.join(map(repr, holders))}"
    else:
        found = f"no list of objects in {_excerpt(document)}"
    raise AttnshiftError(
        f"{path}: {found}",
        expected='a list of objects, or an object that holds one such list: {"data": [{…}, {…}]}',
        remedy="save the rows as one list; a single row too: [{…}]",
    )


def _jsonl_document(path: Path, text: str) -> Document:
    rows: list[Any] = []
    # Not splitlines: U+2028 and its like may stand unescaped inside a JSON string.
    for line, content in enumerate(text.split("\n"), 1):
        if content.strip():
            try:
                rows.append(json.loads(content))
            except (ValueError, RecursionError) as error:
                raise _not_json(path, error, first_line=line) from error
    return Document(path, "jsonl", rows, rows)


def _not_json(path: Path, error: Exception, first_line: int = 1) -> AttnshiftError:
    if isinstance(error, json.JSONDecodeError):
        line, reason = first_line + error.lineno - 1, f"{error.msg} (column {error.colno})"
    else:
        line, reason = first_line, str(error)
    return AttnshiftError(
        f"{path}, line {line}: not valid JSON: {reason}",
        expected="a JSON list of objects, or one JSON object per line",
        remedy="check the file near that line; it may have been cut off",
    )


def _csv_document(path: Path, text: str) -> Document:
    # The limit belongs to the whole process, so it is raised for this file only; it is a C long.
    limit = csv.field_size_limit()
    csv.field_size_limit(max(limit, min(len(text), 2**31 - 1)))
    # Strict, because a quote that is never closed would swallow the rest of the file.
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        records = [(reader.line_num, record) for record in reader if record]
    except csv.Error as error:
        raise AttnshiftError(
            f"{path}, line {reader.line_num}: not valid csv: {error}",
            expected='fields that hold commas, quotes or newlines in quotes: "say ""yes"", twice"',
            remedy="export the file again with standard quoting",
        ) from error
    finally:
        csv.field_size_limit(limit)
    header = _header(path, records[0][1])
    rows = [_csv_row(path, line, header, record) for line, record in records[1:]]
    return Document(path, "csv", [record for _, record in records], rows)


def _header(path: Path, record: list[str]) -> list[str]:
    names = [name.strip() for name in record]
    named = [name for name in names if name]
    if not named or len(set(named)) < len(named):
        raise AttnshiftError(
            f"{path}, line 1: {_excerpt(record)} is no header",
            expected="column names, each of them once",
            remedy="add a first line that names the columns",
        )
    return names


def _csv_row(path: Path, line: int, header: list[str], record: list[str]) -> Row:
    if len(record) > len(header):
        raise AttnshiftError(
            f"{path}, line {line}: {len(record)} fields under {len(header)} column names",
            expected="no more fields than the header names",
            remedy="put fields that hold commas in quotes",
        )
    # Spreadsheets leave out empty fields at the end; pandas leaves its index without a name.
    values = record + [""] * (len(header) - len(record))
    return {name: value for name, value in zip(header, values, strict=True) if name}


def _excerpt(value: Any, length: int = 60) -> str:
    quoted = repr(value)
    return quoted if len(quoted) <= length else quoted[: length - 1] + "…"


_READERS: dict[str, Callable[[Path, str], Document]] = {
    ".json": _json_document,
    ".jsonl": _jsonl_document,
    ".ndjson": _jsonl_document,
    ".csv": _csv_document,
}
