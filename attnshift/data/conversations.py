"""Conversations (messages, ShareGPT): the first question, its answer and the context that comes with it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from attnshift.data.fields import RowError, parsed
from attnshift.data.rows import Row
from attnshift.errors import AttnshiftError

Turn = tuple[str, Any]
"""a role (``user``, ``assistant``, ``system``, …) and what it says"""


def conversation(row: Row) -> Row:
    """Take the first user turn as the question, the assistant turn after it as the answer."""
    turns = _turns(row)
    asked = _first(turns, "user")
    if asked is None:
        raise RowError("without a user turn")
    answered = _first(turns, "assistant", start=asked)
    if answered is None:
        raise RowError("without an assistant turn")
    return {"question": turns[asked][1], "answer": turns[answered][1]}


def has_turns(rows: list[Row]) -> bool:
    """Whether the rows are conversations."""
    return any(column in row for row in rows for column in _COLUMNS)


def with_context(path: Path, rows: list[Row], source: str | None) -> list[Row]:
    """Give every conversation its context, taken out of the user turn if it stands there.

    Parameters
    ----------
    path
        The file that the rows are from.
    rows
        Conversations.
    source
        Where the context stands: another column, a role of the conversation, or a marker that ends
        in a colon (``Passage:``) and precedes the context in the user turn, up to a blank line.
        Without it there is no context, whatever columns the rows have.

    Raises
    ------
    AttnshiftError
        No conversation has a context there.
    """
    if source is None:
        return [{**row, "context": ""} for row in rows]
    columns = dict.fromkeys(column for row in rows for column in row)
    roles = dict.fromkeys(role for row in rows for role, _ in _turns(row))
    take = _from_column if source in columns else _from_role if _role(source) in roles else _from_marker
    taken = [_with_context(row, source, take) for row in rows]
    if not any(str(row["context"] or "").strip() for row in taken):
        raise AttnshiftError(
            f"{path}: no conversation has the context {source!r}",
            expected=f"a column ({', '.join(columns)}), a role ({', '.join(roles)}) "
            "or a marker in the user turns that ends in a colon, such as Passage:",
            remedy="name where the context stands, for example: --map context=system",
        )
    return taken


def retold(row: Row, old_context: str, new_context: str, answer: str, source: str | None) -> Row:
    """The same conversation about another context, wherever that stands up to the answer, and with another answer."""
    column = next(each for each in _COLUMNS if each in row)
    turns = [turn for turn in parsed(row[column]) if isinstance(turn, dict)]
    roles = [_role(turn.get("role", turn.get("from"))) for turn in turns]
    asked = roles.index("user")
    answered = roles.index("assistant", asked)
    told = []
    for place, turn in enumerate(turns):
        key = "content" if "content" in turn else "value"
        said = turn.get(key)
        if place == answered:
            said = answer
        elif place < answered and isinstance(said, str) and old_context.strip():
            said = said.replace(old_context.strip(), new_context.strip(), 1)
        told.append({**turn, key: said})
    context = {source: new_context} if source is not None and source in row else {}
    return {**row, **context, column: json.dumps(told, ensure_ascii=False) if isinstance(row[column], str) else told}


def _with_context(row: Row, source: str, take: Callable[[Row, Any, str], tuple[Any, Any]]) -> Row:
    turns = _turns(row)
    asked = _first(turns, "user")
    context, question = take(row, None if asked is None else turns[asked][1], source)
    if asked is not None:
        turns[asked] = ("user", question)
    return {**row, "messages": [{"role": role, "content": said} for role, said in turns], "context": context}


def _from_column(row: Row, question: Any, source: str) -> tuple[Any, Any]:
    context = row.get(source)
    if isinstance(context, str) and isinstance(question, str) and context.strip() and context.strip() in question:
        question = question.replace(context.strip(), "", 1).strip()
    return context, question


def _from_role(row: Row, question: Any, source: str) -> tuple[Any, Any]:
    turns = _turns(row)
    said = _first(turns, _role(source))
    return "" if said is None else turns[said][1], question


def _from_marker(row: Row, question: Any, source: str) -> tuple[Any, Any]:
    if not isinstance(question, str) or not source.endswith(":") or source not in question:
        return "", question
    before, _, rest = question.partition(source)
    context, *after = re.split(r"\n\s*\n", rest.lstrip(), maxsplit=1)
    return context.strip(), "\n\n".join(filter(None, (part.strip() for part in (before, *after))))


def _turns(row: Row) -> list[Turn]:
    said = parsed(row.get("messages", row.get("conversations")))
    turns = [turn for turn in said if isinstance(turn, dict)] if isinstance(said, list) else []
    return [(_role(turn.get("role", turn.get("from"))), turn.get("content", turn.get("value"))) for turn in turns]


def _role(name: Any) -> str:
    role = str(name).strip().lower()
    return {"human": "user", "gpt": "assistant"}.get(role, role)


def _first(turns: list[Turn], role: str, start: int = 0) -> int | None:
    return next((place for place in range(start, len(turns)) if turns[place][0] == role), None)


_COLUMNS = ("messages", "conversations")
