"""Instruction-finetuning examples in the forms they are published in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from attnshift.data.conversations import conversation
from attnshift.data.fields import Formats, RowError, label, parsed, renamed, required, text
from attnshift.data.items import Example, Group, Split
from attnshift.data.rows import Row
from attnshift.errors import AttnshiftError


def example(row: Row, stem: str, number: int) -> Example:
    """Make an example of row ``number`` (from 1) of the file ``stem``; its columns are named as the fields."""
    split = label(row, "split").lower() or "train"
    return Example(
        id=label(row, "id") or f"{stem}:{number}",
        question=required(row, "question"),
        answer=required(row, "answer"),
        context=text(row, "context"),
        # The example itself rejects other groups and splits.
        group=cast("Group | None", label(row, "group") or None),
        stratum=label(row, "stratum") or stem,
        split=cast("Split", "heldout" if split in _HELD_OUT else split),
    )


def squad(row: Row) -> Row:
    """Take the first of SQuAD's answers; an unanswerable question has none."""
    answers = parsed(row.get("answers"))
    if isinstance(answers, str) and answers.lstrip().startswith(("{", "[")):
        raise RowError("with answers that are neither JSON nor a Python literal")
    if isinstance(answers, dict):
        answers = answers.get("text")
    several = answers if isinstance(answers, list) else [answers]
    texts = [answer.get("text") if isinstance(answer, dict) else answer for answer in several]
    return {"answer": next((answer for answer in texts if answer not in (None, "")), "")}


def unnested(path: Path, rows: list[Row]) -> list[tuple[Row, Row]]:
    """Make one row per question of SQuAD's articles; other rows stay as they are. Beside it the object it is in."""
    questions = [question for row in rows for question in _questions(path, row)]
    if not questions:
        raise AttnshiftError(f"{path}: there are no questions in its paragraphs", expected="at least one question")
    return questions


def _questions(path: Path, row: Row) -> Iterator[tuple[Row, Row]]:
    # Other sets have a column of this name beside the question.
    if "paragraphs" not in row or "question" in row:
        yield row, row
        return
    for paragraph in _objects(path, row, "paragraphs"):
        for question in _objects(path, paragraph, "qas"):
            yield {"context": paragraph.get("context"), **question}, question


def _objects(path: Path, row: Row, column: str) -> list[Row]:
    value: Any = row.get(column)
    if isinstance(value, list) and all(isinstance(entry, dict) for entry in value):
        return value
    raise AttnshiftError(
        f"{path}: {column!r} is {type(value).__name__}, not a list of objects",
        expected='SQuAD\'s nesting: {"paragraphs": [{"context": "…", "qas": [{"question": "…", "answers": […]}]}]}',
        remedy="flatten the file to the columns context, question, answers",
    )


_HELD_OUT = ("heldout", "held_out", "validation", "test")

# The first that fits: a file may hold its conversations next to a question and an answer made from them.
EXAMPLE_FORMATS: Formats = {
    ("messages",): conversation,
    ("conversations",): conversation,
    ("question", "answer"): renamed(),
    ("instruction", "output"): renamed(question="instruction", context="input", answer="output"),
    ("context", "question", "answers"): squad,
}
