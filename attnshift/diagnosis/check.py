"""A check, and what it came to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Final, Literal, get_args

from attnshift.errors import AttnshiftError

Status = Literal["fail", "warn", "ok", "skipped"]
STATUSES: Final[tuple[Status, ...]] = get_args(Status)
"""What a check can come to, the most urgent first. *fail*: a trace would be refused, or its numbers wrong or other than
they seem; *warn*: to be known before they are read; *skipped*: there was nothing to check it on."""


@dataclass(frozen=True)
class Check:
    """One check."""

    name: str
    """stable; docs/doctor.md lists them all"""
    status: Status
    seen: str
    """what was found, quoted"""
    remedy: str = ""
    """what to do about it"""


def failed(name: str, error: AttnshiftError) -> Check:
    """The check that an error makes of itself."""
    seen = f"{error.problem}; expected: {error.expected}" if error.expected else error.problem
    return Check(name, "fail", seen, error.remedy)


def some(names: Sequence[object], most: int = 5) -> str:
    """The first few of many."""
    return ", ".join(map(str, names[:most])) + (f", … ({len(names)} in all)" if len(names) > most else "")


def html_table(caption: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table for notebooks; nothing in it is markup."""
    head = "".join(f"<th>{escape(each)}</th>" for each in heads)
    lines = ("".join(f"<td>{escape(cell)}</td>" for cell in row) for row in rows)
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    return f"<table><caption>{escape(caption)}</caption><tr>{head}</tr>{body}</table>"
