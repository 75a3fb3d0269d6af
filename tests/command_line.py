"""How a command ended."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self):
        return json.loads(self.out)


Command = Callable[..., Done]


def is_one_block(done: Done, *quoted: object) -> bool:
    """A message on stderr alone that quotes the input, says what to do, and shows no inside."""
    assert done.code == 2, done.err
    assert done.out == ""
    assert "Traceback" not in done.err
    assert "bug in attnshift" not in done.err
    told = [line for line in done.err.splitlines() if not line.startswith("note: ")]
    assert told[0].startswith("error: ")
    assert 2 <= len(told) <= 4, done.err
    assert all(line.startswith(("  expected: ", "  try: ")) for line in told[1:]), done.err
    for each in quoted:
        assert str(each) in done.err
    return True
