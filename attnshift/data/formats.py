"""Conflict items and instruction-finetuning examples, read from files in the forms found in the wild."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from os import PathLike
from pathlib import Path
from typing import Generic, TypeVar

from attnshift.data.conflicts import ITEM_FORMATS, item
from attnshift.data.conversations import has_turns, with_context
from attnshift.data.fields import Defect, Formats, RowError
from attnshift.data.instructions import EXAMPLE_FORMATS, example, unnested
from attnshift.data.items import Example, Item
from attnshift.data.rows import Row, read_rows
from attnshift.errors import AttnshiftError

Datapoint = TypeVar("Datapoint", Item, Example)


@dataclass(frozen=True)
class Reading(Generic[Datapoint]):
    """What the rows of a file gave."""

    rows: int
    datapoints: dict[int, Datapoint]
    """by the number of their row, from 1"""
    skipped: dict[tuple[Defect, str], list[int]]
    """rows that can't be used, by what is wrong with them and how it is told"""


def load_items(path: str | PathLike[str], mapping: Mapping[str, str] | None = None) -> list[Item]:
    """Read conflict items from a json, jsonl, csv or parquet file, or a saved dataset.

    The columns tell the format; columns beside them that are named as a field of `Item` are read too.

    ==============  ========================================================================
    this project's  context, question, context_answer, parametric_answer
    the paper's     context, question, answer, memory_answer (or parametric_answer)
    replication's   context, question, counterfactual_answer, parametric_answer
    memo-trap       prompt, classes, answer_index: the instruction clause is the context, the
                    stem the question and the two endings are the answers
    ==============  ========================================================================

    Parameters
    ----------
    path
        The file. Its stem is the stratum of items that state none, and names those without an id.
    mapping
        For columns with other names: from a field of `Item` to the column that holds it.

    Returns
    -------
    The items in the order of the file.

    Warns
    -----
    UserWarning
        Rows are skipped: they lack a field, or both of their answers are the same.

    Raises
    ------
    AttnshiftError
        The file can't be read, its format isn't known, an id is repeated, or no row can be used.
    """
    path = Path(path)
    return list(_usable(path, read_items(path, mapping)).values())


def load_examples(path: str | PathLike[str], mapping: Mapping[str, str] | None = None) -> list[Example]:
    """Read instruction-finetuning examples from a json, jsonl, csv or parquet file, or a saved dataset.

    The columns tell the format; columns beside them that are named as a field of `Example` are read too.

    ==============  ========================================================================
    messages        messages, each a role and a content: the first user turn is the question,
                    the assistant turn after it the answer
    ShareGPT        conversations, each turn a from and a value
    this project's  question, answer
    Alpaca          instruction, output, and the input as context
    SQuAD           context, question, answers: the first of them; nested in articles or flat
    ==============  ========================================================================

    Parameters
    ----------
    path
        The file. Its stem is the stratum of examples that state none, and names those without an id.
    mapping
        For columns with other names: from a field of `Example` to the column that holds it. In
        conversations the context may also be a role, or a marker ending in a colon that precedes it
        in the user turn; a context found in the user turn is no part of the question. Without a
        mapping conversations have no context.

    Returns
    -------
    The examples in the order of the file.

    Warns
    -----
    UserWarning
        Rows are skipped: they lack a question or an answer. Rows of a nested file are its questions.

    Raises
    ------
    AttnshiftError
        The file can't be read, its format isn't known, an id is repeated, a group or split isn't
        known, or no row can be used.
    """
    path = Path(path)
    return list(_usable(path, read_examples(path, mapping)).values())


def read_items(path: str | PathLike[str], mapping: Mapping[str, str] | None = None) -> Reading[Item]:
    """As `load_items`, but says nothing of skipped rows and lets ids repeat; for whoever looks for defects."""
    path = Path(path)
    return _read(path, read_rows(path), _checked(mapping, Item), ITEM_FORMATS, item)


def read_examples(path: str | PathLike[str], mapping: Mapping[str, str] | None = None) -> Reading[Example]:
    """As `load_examples`, but says nothing of skipped rows and lets ids repeat; for whoever looks for defects."""
    path = Path(path)
    rows, columns = _as_examples(path, [row for row, _ in unnested(path, read_rows(path))], mapping)
    return _read(path, rows, columns, EXAMPLE_FORMATS, example)


def numbered_examples(path: Path, rows: list[Row], mapping: Mapping[str, str] | None = None) -> dict[int, Example]:
    """The examples that `load_examples` makes of some rows of a file, by the number of their row, from 1."""
    rows, columns = _as_examples(path, rows, mapping)
    return _usable(path, _read(path, rows, columns, EXAMPLE_FORMATS, example))


def _as_examples(path: Path, rows: list[Row], mapping: Mapping[str, str] | None) -> tuple[list[Row], dict[str, str]]:
    """Rows, of conversations with their context; and the mapping of the other fields."""
    columns = _checked(mapping, Example)
    if has_turns(rows):
        rows = with_context(path, rows, columns.pop("context", None))
    return rows, columns


def _checked(mapping: Mapping[str, str] | None, kind: type[Item] | type[Example]) -> dict[str, str]:
    names = [field.name for field in fields(kind)]
    for field, column in (mapping or {}).items():
        if field not in names:
            raise AttnshiftError(
                f"{field}={column}: {kind.__name__.lower()}s have no field {field!r}",
                expected=f"one of {', '.join(names)}",
                remedy="put the field first and the column of the file second: --map context=passage",
            )
    return dict(mapping or {})


def _read(
    path: Path,
    rows: list[Row],
    mapping: dict[str, str],
    formats: Formats,
    make: Callable[[Row, str, int], Datapoint],
) -> Reading[Datapoint]:
    filled = _recognise(path, rows, mapping, formats)
    reading: Reading[Datapoint] = Reading(len(rows), {}, {})
    for number, row in enumerate(rows, 1):
        try:
            mapped = {field: row.get(column) for field, column in mapping.items()}
            reading.datapoints[number] = make({**row, **filled(row), **mapped}, path.stem, number)
        except RowError as error:
            reading.skipped.setdefault((error.defect, str(error)), []).append(number)
        except AttnshiftError as error:
            problem = f"{path}, row {number}: {error.problem}"
            raise AttnshiftError(problem, expected=error.expected, remedy=error.remedy) from error
    _require_some(path, reading)
    return reading


def _usable(path: Path, reading: Reading[Datapoint]) -> dict[int, Datapoint]:
    """The datapoints by the number of their row; warns of those that were skipped."""
    if reading.skipped:
        count = reading.rows - len(reading.datapoints)
        told = f"{path.name}: {count} of {reading.rows} rows skipped: {_reasons(reading)}"
        warnings.warn(told, UserWarning, stacklevel=3)  # points at the caller of load_items or load_examples
    _require_distinct_ids(path, reading.datapoints)
    return reading.datapoints


def _recognise(path: Path, rows: list[Row], mapping: dict[str, str], formats: Formats) -> Callable[[Row], Row]:
    columns = dict.fromkeys(column for row in rows for column in row)
    listed = ", ".join(_short(column) for column in columns)
    for field, column in mapping.items():
        if column not in columns:
            raise AttnshiftError(
                f"{path}: there is no column {column!r} to read the {field} from",
                expected=f"one of {listed}",
                remedy=f"name the column: --map {field}=COLUMN",
            )
    for required, filled in formats.items():
        if columns.keys() | mapping.keys() >= set(required):
            return filled
    raise AttnshiftError(
        f"{path}: its columns fit no known format: {listed}",
        expected="; or ".join(", ".join(required) for required in formats),
        remedy="name the columns with --map field=column, such as --map context=passage; a csv needs a header",
    )


def _require_some(path: Path, reading: Reading[Datapoint]) -> None:
    if not reading.datapoints:
        raise AttnshiftError(
            f"{path}: no row can be used: {_reasons(reading)}",
            expected="rows with text in every field that is needed",
            remedy="check the columns, or name them with --map field=column",
        )


def _reasons(reading: Reading[Datapoint]) -> str:
    return ", ".join(f"{len(rows)} {reason} ({_listed(rows)})" for (_, reason), rows in reading.skipped.items())


def _listed(rows: list[int], most: int = 10) -> str:
    numbers = ", ".join(map(str, rows[:most]))
    return f"{'row' if len(rows) == 1 else 'rows'} {numbers}{', …' if len(rows) > most else ''}"


def _require_distinct_ids(path: Path, loaded: Mapping[int, Item] | Mapping[int, Example]) -> None:
    first: dict[str, int] = {}
    for number, datapoint in loaded.items():
        earlier = first.setdefault(datapoint.id, number)
        if earlier != number:
            raise AttnshiftError(
                f"{path}: rows {earlier} and {number} have the same id {datapoint.id!r}",
                expected="an id of its own for every row",
                remedy="rename one of them, or leave the ids out to number the rows",
            )


def _short(column: str, length: int = 40) -> str:
    return column if len(column) <= length else column[: length - 1] + "…"


def split_mapping(
    pairs: Sequence[str], *, with_items: bool, with_examples: bool
) -> tuple[dict[str, str], dict[str, str]]:
    """``field=column`` pairs as the mappings of `load_items` and `load_examples`: to each the fields that it knows.

    Raises AttnshiftError for a pair without ``=`` and for a field that nothing which is read has.
    """
    known = {Item: with_items, Example: with_examples}
    split: dict[type[Item] | type[Example], dict[str, str]] = {Item: {}, Example: {}}
    for pair in pairs:
        field, equals, column = pair.partition("=")
        takers = [kind for kind, wanted in known.items() if wanted and field in {f.name for f in fields(kind)}]
        if not equals or not column or not takers:
            names = sorted({f.name for kind, wanted in known.items() if wanted for f in fields(kind)})
            raise AttnshiftError(
                f"--map {pair!r} maps no field", expected=f"field=column, with a field of {', '.join(names)}"
            )
        for kind in takers:
            split[kind][field] = column
    return split[Item], split[Example]
