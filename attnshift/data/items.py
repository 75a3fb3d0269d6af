"""The two kinds of data: conflict items and instruction-finetuning examples."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, get_args

from attnshift.errors import AttnshiftError

Group = Literal["critical", "non_critical", "no_context"]
Split = Literal["train", "heldout"]

GROUPS: tuple[Group, ...] = get_args(Group)
SPLITS: tuple[Split, ...] = get_args(Split)


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """A knowledge conflict: the context says one thing, the model's memory another.

    In a memo-trap item the context is the instruction clause, the question is the stem and the
    answers are the two endings.
    """

    id: str
    context: str
    question: str
    context_answer: str
    parametric_answer: str
    context_aliases: tuple[str, ...] = ()
    """other spellings of the context's answer"""
    parametric_aliases: tuple[str, ...] = ()
    """other spellings of the memorised answer"""
    stratum: str = ""
    """where the item comes from; readers fill in the file's name"""
    cluster: str = ""
    """items that ask the same thing share it; the normalised question where none is given"""
    conflict_type: str = ""

    def __post_init__(self) -> None:
        _require_text(self, "context", "question", "context_answer", "parametric_answer")
        if normalise(self.context_answer) == normalise(self.parametric_answer):
            raise AttnshiftError(
                f"item {self.id!r}: both answers are {self.context_answer!r}",
                expected="a context answer that differs from the parametric one",
                remedy="drop the item: without a conflict there is nothing to measure",
            )
        if not self.cluster:
            object.__setattr__(self, "cluster", normalise(self.question))


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One instruction-finetuning datapoint; ``context`` is empty where it has none."""

    id: str
    question: str
    answer: str
    context: str = ""
    group: Group | None = None
    """None until grouped by closed-book loss"""
    stratum: str = ""
    split: Split = "train"
    """gradients use ``train``; losses are measured on both"""

    def __post_init__(self) -> None:
        _require_text(self, "question", "answer")
        if self.group is not None and self.group not in GROUPS:
            raise AttnshiftError(
                f"example {self.id!r} has the group {self.group!r}",
                expected=f"one of {', '.join(GROUPS)}, or none",
                remedy="rename the group, or leave it out to group by closed-book loss",
            )
        if self.split not in SPLITS:
            raise AttnshiftError(
                f"example {self.id!r} has the split {self.split!r}", expected=f"one of {', '.join(SPLITS)}"
            )


def normalise(text: str) -> str:
    """Lower-cased words, separated by single spaces."""
    return " ".join(re.findall(r"\w+", text.casefold())) or text.strip().casefold()


def _require_text(row: Item | Example, *fields: str) -> None:
    for field in fields:
        value = getattr(row, field)
        if not isinstance(value, str) or not value.strip():
            raise AttnshiftError(
                f"{type(row).__name__.lower()} {row.id!r}: {field} is {value!r}",
                expected="text that is not blank",
            )
