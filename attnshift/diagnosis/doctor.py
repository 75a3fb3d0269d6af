"""Everything that should be known before a number is trusted; loads no weights."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from attnshift.data.formats import read_examples, read_items
from attnshift.diagnosis.check import STATUSES, Check, Status, html_table
from attnshift.diagnosis.environment import LIBRARIES, environment
from attnshift.errors import AttnshiftError

if TYPE_CHECKING:
    from attnshift.diagnosis.lint import Lint


@dataclass(frozen=True)
class Diagnosis:
    """What was checked, and what it came to."""

    run: Path | None
    """the run's folder; None where only the machine was looked at"""
    environment: tuple[Check, ...]
    folder: tuple[Check, ...]
    """of the run's checkpoints, base and manifest"""
    tokens: tuple[Check, ...]
    """of its tokenizer and template"""
    data: tuple[Lint, ...]

    @property
    def counts(self) -> dict[Status, int]:
        """How many checks and findings came to what."""
        checks = (*self.environment, *self.folder, *self.tokens)
        met = Counter([c.status for c in checks] + [f.status for lint in self.data for f in lint.findings])
        return {status: met[status] for status in STATUSES}

    @property
    def status(self) -> Status:
        """The most urgent that there is of fail, warn and ok."""
        return next((s for s in STATUSES if s != "skipped" and self.counts[s]), "ok")

    def _repr_html_(self) -> str:
        """A table of the checks, and one per file of data."""
        rows = [
            (check.status, check.name, check.seen, check.remedy)
            for check in (*self.environment, *self.folder, *self.tokens)
        ]
        caption = "machine" if self.run is None else f"machine, and {self.run}"
        tables = [html_table(caption, ("status", "check", "seen", "remedy"), rows)]
        return "".join([*tables, *(lint._repr_html_() for lint in self.data)])


def doctor(
    run: str | PathLike[str] | None = None,
    *,
    conflicts: Sequence[str | PathLike[str]] = (),
    ift: Sequence[str | PathLike[str]] = (),
    template: str | None = None,
    base: str | None = None,
    revisions: Sequence[str] = (),
    tokenizer: str | PathLike[str] | None = None,
    item_mapping: Mapping[str, str] | None = None,
    example_mapping: Mapping[str, str] | None = None,
    tell: Callable[[str], None] | None = None,
) -> Diagnosis:
    """Check the machine, a run with its tokenizer and template, and data.

    Parameters
    ----------
    run
        A run directory. Without files its own data are looked at, or else the sets that ship, as `trace` would.
    conflicts, ift
        Files of conflict items and of examples.
    template, base, revisions, tokenizer
        As for `trace`; the tokenizer is a folder. With revisions the run is a model's name on the hub.
    item_mapping, example_mapping
        For columns with other names.
    tell
        Called with a line before anything is downloaded.

    Raises
    ------
    AttnshiftError
        Something that was named isn't there or can't be read at all: a run without a checkpoint, a file, a tokenizer.
    """
    if run is None:
        _check_options(bool(conflicts or ift), template, base or ",".join(revisions), tokenizer)
    machine = tuple(environment())
    if any(check.name == LIBRARIES and check.status == "fail" for check in machine):
        return Diagnosis(None, machine, (), (), ())  # nothing further can be imported
    from attnshift.diagnosis.examination import DataFile, ModelOptions, examine_data, examine_run

    files = [DataFile(Path(each).name, "items", read_items(each, item_mapping)) for each in conflicts]
    files += [DataFile(Path(each).name, "examples", read_examples(each, example_mapping)) for each in ift]
    if run is None:
        return Diagnosis(None, machine, (), (), examine_data(files, template, tokenizer))
    model = ModelOptions(base, revisions, template, tokenizer)
    found = examine_run(run, files, model, tell)
    return Diagnosis(found.run, machine, found.folder, found.tokens, found.data)


def _check_options(
    with_files: bool, template: str | None, of_a_run: str | None, tokenizer: str | PathLike[str] | None
) -> None:
    """Raise for options that nothing would be done with where no run is named."""
    if of_a_run:
        raise AttnshiftError(f"--base or --revisions {of_a_run} without a run", expected="a run to read with it")
    for option, value in (("--template", template), ("--tokenizer", tokenizer)):
        if value is not None and not (with_files and tokenizer is not None):
            raise AttnshiftError(
                f"{option} {value} is for a run or for data that are read through a tokenizer",
                expected="a run directory, or --tokenizer DIR beside --conflicts or --ift",
            )
