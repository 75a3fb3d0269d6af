"""A row that tells another example: the same columns, the same turns, another context and another answer."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from attnshift.data.conversations import has_turns, retold
from attnshift.data.fields import parsed
from attnshift.data.formats import numbered_examples
from attnshift.data.items import Example
from attnshift.data.rows import Row
from attnshift.errors import AttnshiftError

_NOTHING = "\ue000"
"""Stands for a text that is taken out: no name can be made of it."""


@dataclass(frozen=True)
class Retelling:
    """How the rows of a file tell their examples."""

    path: Path
    mapping: Mapping[str, str]

    def told(self, row: Row, old: Example, new: Example) -> Row:
        """The row of ``old`` telling ``new``, which has another context and another answer; ids aren't written.

        Raises AttnshiftError where the row, read again, wouldn't be that example.
        """
        rewritten = self._rewritten(row, old, new)
        again = next(iter(numbered_examples(self.path, [rewritten], self.mapping).values()), None)
        if again is None or (again.context, again.question, again.answer) != (new.context, old.question, new.answer):
            raise AttnshiftError(
                f"{self.path}: the row of {old.id!r} can't be written with another answer",
                expected="columns or turns that hold context and answer as they are",
                remedy="save the file with the columns context, question, answer",
            )
        return rewritten

    def elsewhere(self, row: Row, example: Example) -> str:
        """What a row says beside the context and the answer of its example."""
        return "\n\n".join(texts_in(self._rewritten(row, example, replace(example, context=_NOTHING, answer=_NOTHING))))

    def _rewritten(self, row: Row, old: Example, new: Example) -> Row:
        if has_turns([row]):
            return retold(row, old.context, new.context, new.answer, self.mapping.get("context"))
        if "context" in self.mapping:
            context = self.mapping["context"]
        else:
            context = "input" if "context" not in row and "input" in row else "context"
        return {**row, context: new.context, **self._answer(row, new)}

    def _answer(self, row: Row, new: Example) -> Row:
        if "answer" in self.mapping:
            return {self.mapping["answer"]: new.answer}
        if "answer" in row and "question" in {**row, **self.mapping}:
            return {"answer": new.answer}
        if "output" in row and "instruction" in row:
            return {"output": new.answer}
        start = new.context.find(new.answer)
        answers = {"text": [new.answer], "answer_start": [start]}
        nested = parsed(row.get("answers"))
        as_list = isinstance(nested, list)
        value: Any = [{"text": new.answer, "answer_start": start}] if as_list else answers
        return {"answers": json.dumps(value) if isinstance(row.get("answers"), str) else value}


def texts_in(value: Any) -> Iterator[str]:
    """Every text in a row, however deep."""
    value = parsed(value)
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from texts_in(each)
    elif isinstance(value, list):
        for each in value:
            yield from texts_in(each)
