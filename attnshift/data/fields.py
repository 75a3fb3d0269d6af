"""From the columns of a row to the fields of an item or an example."""

from __future__ import annotations

import ast
import json
import math
import re
import warnings
from collections.abc import Callable
from typing import Any, Literal

from attnshift.data.rows import Row

Formats = dict[tuple[str, ...], Callable[[Row], Row]]
"""from the columns that tell a format to what fills in the fields that have other names there"""


Defect = Literal["empty_field", "equal_answers", "unreadable_row"]
"""Why a row can't be used: a field that it can't do without is empty, both answers are the same, or something else."""


class RowError(Exception):
    """A row that can't be used; the message completes "2 rows skipped: 2 …"."""

    def __init__(self, reason: str, defect: Defect = "unreadable_row") -> None:
        self.defect: Defect = defect
        super().__init__(reason)


def renamed(**columns: str) -> Callable[[Row], Row]:
    """Fill fields in from columns of other names: ``renamed(question="instruction")``."""
    return lambda row: {field: row[column] for field, column in columns.items() if column in row}


def text(row: Row, field: str) -> str:
    """The text of a field as it is written there; empty where it is missing or blank."""
    return _as_text(row.get(field), field)


def required(row: Row, field: str) -> str:
    """The text of a field that a row can't do without."""
    value = text(row, field)
    if not value:
        article = "an" if field[0] in "aeiou" else "a"
        raise RowError(f"without {article} {field.replace('_', ' ')}", "empty_field")
    return value


def label(row: Row, field: str) -> str:
    """A name rather than prose: the whitespace around it says nothing."""
    return text(row, field).strip()


def aliases(row: Row, field: str) -> tuple[str, ...]:
    """Other spellings: a list, a list written as a string, or a single string."""
    given = row.get(field)
    value = parsed(given)
    several = value if isinstance(value, list) else [given]
    names = (_as_text(alias, field).strip() for alias in several)
    return tuple(name for name in names if name)


def parsed(value: Any) -> Any:
    """A list or object that a csv file holds as a string, in JSON or as Python prints it; else the value itself."""
    if not isinstance(value, str):
        return value
    for parse in (json.loads, ast.literal_eval):
        try:
            # Python warns about the escapes of text that was never meant as Python.
            with warnings.catch_warnings(action="ignore"):
                found = parse(value.strip())
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            continue
        if isinstance(found, list | dict):
            return found
    return value


def _as_text(value: Any, field: str) -> str:
    name = field.replace("_", " ")
    if value is None or (isinstance(value, float) and math.isnan(value)):  # NaN is how pandas writes a missing value
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise RowError(f"with {_KINDS.get(type(value), 'something else than text')} as {name}")
    written = str(value)
    if _SURROGATE.search(written):
        raise RowError(f"with half a Unicode character in {name}")
    return written if written.strip() else ""


_SURROGATE = re.compile("[\ud800-\udfff]")
_KINDS = {bool: "true or false", list: "a list", dict: "an object"}
