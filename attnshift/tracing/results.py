"""Results per checkpoint and item that were made elsewhere, as rows of files."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from attnshift.data.fields import RowError, aliases, label, text
from attnshift.data.rows import Row, read_rows
from attnshift.errors import AttnshiftError
from attnshift.scoring.labels import LABELS

COLUMNS: dict[str, tuple[str, ...]] = {
    "step": ("step", "checkpoint", "global_step"),
    "item": ("item", "item_id", "id"),
    "epoch": ("epoch",),
    "generation": ("generation", "output", "response", "model_output"),
    "answer_label": ("answer_label", "label"),
    "logprob_context_answer": ("logprob_context_answer", "context_logprob", "counterfactual_logprob"),
    "logprob_parametric_answer": ("logprob_parametric_answer", "parametric_logprob", "memory_logprob"),
    "logprob_parametric_closed_book": ("logprob_parametric_closed_book",),
    "margin": ("margin",),
    "counterfactual_accuracy": ("counterfactual_accuracy",),
    "parametric_accuracy": ("parametric_accuracy",),
    "known_item": ("known_item", "known"),
    "context": ("context",),
    "question": ("question",),
    "context_answer": ("context_answer", "counterfactual_answer", "answer"),
    "parametric_answer": ("parametric_answer", "memory_answer"),
    "context_aliases": ("context_aliases",),
    "parametric_aliases": ("parametric_aliases",),
    "stratum": ("stratum", "category"),
    "cluster": ("cluster",),
    "conflict_type": ("conflict_type",),
}
"""The columns that are read, by what they mean; the first that a file has counts."""

TEXTS = ("generation", "answer_label")
NUMBERS = (
    "logprob_context_answer",
    "logprob_parametric_answer",
    "logprob_parametric_closed_book",
    "margin",
    "counterfactual_accuracy",
    "parametric_accuracy",
)
MEASURED = (*TEXTS, *NUMBERS)
OF_ITEM = (
    "context", "question", "context_answer", "parametric_answer", "context_aliases", "parametric_aliases", "stratum",
    "cluster", "conflict_type", "known_item",
)  # fmt: skip


@dataclass(frozen=True)
class Result:
    """One item at one step; what the row doesn't have is missing from the mappings."""

    step: int
    item: str
    epoch: float
    """NaN where it isn't stated"""
    measured: Mapping[str, str | float]
    about: Mapping[str, Any]
    """what the row says of the item itself"""
    place: str
    """file and row, for people"""


def load_results(paths: Sequence[str | Path], mapping: Mapping[str, str] | None = None) -> list[Result]:
    """Read the results of json, jsonl or csv files: a row per step and item.

    Parameters
    ----------
    paths
        The files. One that has no column for the step has it in its name: ``results-500.jsonl``.
    mapping
        For columns with other names than COLUMNS: from what a column means to its name.

    Raises
    ------
    AttnshiftError
        A file can't be read, a row has no step or item, a value isn't what its column holds, a step has an item twice,
        or nothing is measured.
    """
    named = mapping or {}
    columns = {meaning: (named[meaning],) if meaning in named else names for meaning, names in COLUMNS.items()}
    for meaning, column in named.items():
        if meaning not in COLUMNS:
            raise AttnshiftError(
                f"{meaning}={column}: results have no field {meaning!r}",
                expected=f"one of {', '.join(COLUMNS)}",
            )
    results = [
        _result(Path(path), number, row, columns) for path in paths for number, row in enumerate(read_rows(path), 1)
    ]
    _refuse_twice(results)
    if not any(result.measured for result in results):
        raise AttnshiftError(
            f"{paths[0]}: nothing is measured in its rows",
            expected=f"one of the columns {', '.join(MEASURED)}",
            remedy="name the column: --map generation=COLUMN",
        )
    return results


def _result(path: Path, number: int, row: Row, columns: Mapping[str, tuple[str, ...]]) -> Result:
    place = f"{path}, row {number}"
    named = {meaning: next((name for name in names if name in row), None) for meaning, names in columns.items()}
    found: Row = {meaning: row[name] for meaning, name in named.items() if name is not None}
    try:
        item = label(found, "item")
        if not item:
            raise RowError("has no item")
        measured: dict[str, str | float] = {}
        if text(found, "generation") or isinstance(found.get("generation"), str):
            measured["generation"] = str(found["generation"])
        if said := label(found, "answer_label").lower():
            measured["answer_label"] = _label(said)
        for name in NUMBERS:
            if (value := _number(found, name)) is not None:
                measured[name] = value
        epoch = _number(found, "epoch")
        return Result(_step(path, found), item, math.nan if epoch is None else epoch, measured, _about(found), place)
    except RowError as reason:
        raise AttnshiftError(
            f"{place}: it {reason}",
            expected="a row per step and item, with columns such as step, item, generation, logprob_context_answer",
            remedy="name other columns with --map: step=global_step",
        ) from reason


def _step(path: Path, found: Row) -> int:
    stated = found.get("step")
    written = path.stem if stated is None or stated == "" else str(stated).strip().removesuffix(".0")
    numbers = re.findall(r"\d+", written)
    plain = re.fullmatch(r"(?:[A-Za-z][A-Za-z_/-]*)?\d+", written) if stated is not None else numbers
    if not plain or len(numbers) != 1:
        where = "names no step and the name of its file none alone" if stated is None else f"has the step {stated!r}"
        raise RowError(f"{where}: a step is a whole number such as 500 or checkpoint-500")
    return int(numbers[0])


def _label(said: str) -> str:
    if said not in LABELS:
        raise RowError(f"has the label {said!r}, none of {', '.join(LABELS)}")
    return said


def _number(found: Row, name: str) -> float | None:
    """A number; None where the value is missing, empty or NaN."""
    given = found.get(name)
    if given is None or (isinstance(given, str) and not given.strip()):
        return None
    try:
        value = float(given)
    except (TypeError, ValueError):
        raise RowError(f"has {given!r} as {name}, which is no number") from None
    if math.isnan(value):
        return None
    if name.startswith("logprob") and value > 0:
        raise RowError(f"has {given!r} as {name}: a log-probability is never above 0")
    if name.endswith("accuracy") and value not in (0, 1):
        raise RowError(f"has {given!r} as {name}, which is 0 or 1 for one item")
    if math.isinf(value) and not name.startswith("logprob"):
        raise RowError(f"has {given!r} as {name}, which is not finite")
    return value


def _about(found: Row) -> dict[str, Any]:
    about: dict[str, Any] = {}
    for name in OF_ITEM:
        if name.endswith("aliases"):
            value: Any = aliases(found, name)
        elif name == "known_item":
            value = _truth(found)
        else:
            value = label(found, name)
        if value not in ("", (), None):
            about[name] = value
    return about


def _truth(found: Row) -> bool | None:
    said = str(found.get("known_item", "")).strip().lower().removesuffix(".0")
    if said in ("", "none", "nan"):
        return None
    if said not in ("0", "1", "true", "false"):
        raise RowError(f"has {found['known_item']!r} as known_item, which is 0 or 1")
    return said in ("1", "true")


def _refuse_twice(results: Sequence[Result]) -> None:
    first: dict[tuple[int, str], str] = {}
    for result in results:
        earlier = first.setdefault((result.step, result.item), result.place)
        if earlier != result.place:
            raise AttnshiftError(
                f"{result.place}: step {result.step} has the item {result.item!r} already ({earlier})",
                expected="one row per step and item",
                remedy="drop one of them, or give the items ids of their own",
            )
