"""Conflict items in the forms they are published in."""

from __future__ import annotations

import re

from attnshift.data.fields import Formats, RowError, aliases, label, parsed, renamed, required
from attnshift.data.items import Item, normalise
from attnshift.data.rows import Row


def item(row: Row, stem: str, number: int) -> Item:
    """Make an item of row ``number`` (from 1) of the file ``stem``; its columns are named as the fields."""
    context_answer = required(row, "context_answer").strip()
    parametric_answer = required(row, "parametric_answer").strip()
    if normalise(context_answer) == normalise(parametric_answer):
        raise RowError("where both answers are the same", "equal_answers")
    return Item(
        id=label(row, "id") or f"{stem}:{number}",
        context=required(row, "context"),
        question=required(row, "question"),
        context_answer=context_answer,
        parametric_answer=parametric_answer,
        context_aliases=aliases(row, "context_aliases"),
        parametric_aliases=aliases(row, "parametric_aliases"),
        stratum=label(row, "stratum") or stem,
        cluster=label(row, "cluster"),
        conflict_type=label(row, "conflict_type"),
    )


def memo_trap(row: Row) -> Row:
    """Split a memo-trap prompt into its instruction clause and its stem.

    ``Write a quote that ends in the word "heavy": Absence makes the heart grow`` asks for another
    ending than the memorised one; the clause plays the context, the stem the question.
    """
    prompt = _PROMPT.fullmatch(required(row, "prompt").strip())
    if prompt is None:
        raise RowError("whose prompt is not an instruction, a quoted word, a colon and a stem")
    classes, index = parsed(row.get("classes")), label(row, "answer_index").removesuffix(".0")
    if not isinstance(classes, list) or len(classes) != 2:
        raise RowError("whose classes are not two endings")
    if index not in ("0", "1"):
        raise RowError("whose answer index is neither 0 nor 1")
    instructed, memorised = classes if index == "0" else reversed(classes)
    return {
        "context": prompt["clause"],
        "question": prompt["stem"],
        "context_answer": instructed,
        "parametric_answer": memorised,
    }


_PROMPT = re.compile(r'(?P<clause>.*?["“][^"“”]+["”])\s*:\s*(?P<stem>.+)', re.DOTALL)

ITEM_FORMATS: Formats = {
    ("context", "question", "context_answer", "parametric_answer"): renamed(),
    ("context", "question", "answer", "memory_answer"): renamed(
        context_answer="answer", parametric_answer="memory_answer"
    ),
    ("context", "question", "counterfactual_answer", "parametric_answer"): renamed(
        context_answer="counterfactual_answer"
    ),
    ("context", "question", "answer", "parametric_answer"): renamed(context_answer="answer"),
    ("prompt", "classes", "answer_index"): memo_trap,
}
