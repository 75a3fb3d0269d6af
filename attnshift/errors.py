"""The one error that users meet: what was given, what was expected, what to do."""

from __future__ import annotations


class AttnshiftError(Exception):
    """Bad input, told in one short block.

    Parameters
    ----------
    problem
        What is wrong; quotes the input.
    expected
        What would have been right.
    remedy
        What to do about it.
    """

    def __init__(self, problem: str, *, expected: str = "", remedy: str = "") -> None:
        self.problem, self.expected, self.remedy = problem, expected, remedy
        super().__init__(problem)

    def __str__(self) -> str:
        told = (("", self.problem), ("  expected: ", self.expected), ("  try: ", self.remedy))
        # A line each, whatever lines a quoted name or a library's message has.
        return "\n".join(start + " ".join(text.split("\n")) for start, text in told if text or not start)


class CheckpointError(AttnshiftError):
    """One checkpoint can't be read; the others of its run may well be fine."""


def came_of_interrupt(error: BaseException | None) -> bool:
    """Whether an error was raised while a Ctrl-C was on its way out: some library's clean-up stumbled over it."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None
