"""What is wrong with conflict items or with examples, before a model sees them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, Final, Literal, cast, get_args

from attnshift.checkpoints.manifest import Manifest
from attnshift.data.formats import Reading, read_examples, read_items
from attnshift.data.inputs import sample
from attnshift.data.items import Example, Item
from attnshift.data.overlap import remove_overlap
from attnshift.data.prompts import Encoder
from attnshift.diagnosis.check import html_table
from attnshift.diagnosis.encoded import encoded_findings, unencoded_findings
from attnshift.diagnosis.examples import EXAMPLE_DEFECTS
from attnshift.diagnosis.finding import Defect, Finding, Hit, found
from attnshift.diagnosis.items import ITEM_DEFECTS
from attnshift.errors import AttnshiftError
from attnshift.tracing.job import encoder_of

Kind = Literal["items", "examples"]

TOKENISED: Final = 2000
"""Datapoints whose tokens are looked at, sampled from a larger set: the shares say as much, in seconds."""

ROW_DEFECTS: Final = (
    Defect("empty_field", "these rows are skipped", "fill the field in, or name its column with --map"),
    Defect("unreadable_row", "these rows are skipped", "write them as the other rows are"),
)
"""What is wrong with rows of a file that become no datapoint."""

OVERLAP: Final = Defect(
    "overlap",
    "training names what the evaluation is about: what is taken for memory may have been learnt in finetuning",
    "attnshift overlap drops these examples, and says which and why",
)
"""What is wrong with examples that name what conflict items ask about."""


@dataclass(frozen=True, repr=False)
class Lint:
    """What was looked for in some data, and what was found."""

    name: str
    """the file, or what the data are"""
    kind: Kind
    rows: int
    """of the file, those included that can't be used"""
    findings: tuple[Finding, ...]
    """one of every defect that was looked for, those that weren't found included"""

    @property
    def found(self) -> tuple[Finding, ...]:
        """The findings that there are."""
        return tuple(each for each in self.findings if each.count)

    def __getitem__(self, name: str) -> Finding:
        """The finding of a defect. Raises KeyError for one that isn't looked for in such data."""
        for finding in self.findings:
            if finding.name == name:
                return finding
        raise KeyError(name)

    def __repr__(self) -> str:
        head = f"{self.name}: {self.rows} {self.kind}"
        return "\n".join([head, *(f"  {each.status:7} {_line(each)}" for each in self.found)])

    def _repr_html_(self) -> str:
        """A table: defect, count, share, first ids, what shows it, what it does, what to do."""
        heads = ("status", "defect", "count", "share", "first", "seen", "effect", "remedy")
        rows = [
            (f.status, f.name, str(f.count), f"{f.share:.1%}", ", ".join(f.ids), f.seen, f.effect, f.remedy)
            for f in self.found
        ]
        return html_table(f"{self.name}: {self.rows} {self.kind}", heads, rows)


def lint(
    data: str | PathLike[str] | Sequence[Item] | Sequence[Example],
    kind: Kind = "items",
    *,
    mapping: Mapping[str, str] | None = None,
    tokenizer: Any = None,
    template: str | None = None,
    window: int | None = None,
) -> Lint:
    """Look for what makes numbers mean something else than they seem to.

    Parameters
    ----------
    data
        Conflict items or examples, or a file of them. Of a file rows that can't be used are told too.
    kind
        What a file holds: ``items`` or ``examples``.
    mapping
        For columns of a file with other names, as for `load_items`.
    tokenizer, template, window
        The models': with a tokenizer first tokens, spaces and lengths are looked at (of a sample, where there are more
        than 2,000 datapoints), as the template (the tokenizer's chat template, else ``plain``) renders them;
        ``window`` is in tokens.

    Raises
    ------
    AttnshiftError
        The file can't be read or has no row that can be used, there are no data, or the template can't be used.
    """
    encoder = None if tokenizer is None else encoder_of(Manifest(), tokenizer, window, template)
    if isinstance(data, str | PathLike):
        if kind not in get_args(Kind):
            raise AttnshiftError(f"there are no data of the kind {kind!r}", expected="items or examples")
        path = Path(data)
        reading: Reading[Any] = read_items(path, mapping) if kind == "items" else read_examples(path, mapping)
        return lint_reading(path.name, kind, reading, encoder)
    rows = list(data)
    for each in (Item, Example):
        if rows and all(isinstance(row, each) for row in rows):
            reading = Reading(len(rows), dict(enumerate(rows, 1)), {})
            return lint_reading("data", "items" if each is Item else "examples", reading, encoder)
    raise AttnshiftError(
        f"there is nothing to look at in {str(data)[:80]!r}",
        expected="a file, or items or examples as load_items and load_examples give them",
    )


def lint_reading(
    name: str,
    kind: Kind,
    reading: Reading[Any],
    encoder: Encoder | None,
    why_not: str = "no tokenizer was given",
    among: Sequence[Item] = (),
) -> Lint:
    """The same of a file that was read; ``why_not`` says why there is no encoder.

    ``among``: conflict items that examples should not be about.
    """
    rows: list[Any] = list(reading.datapoints.values())
    skipped_rows = _skipped(reading)
    findings = [found(each, skipped_rows.pop(each.name, []), reading.rows) for each in ROW_DEFECTS]
    for sought in cast(Sequence[Any], ITEM_DEFECTS if kind == "items" else EXAMPLE_DEFECTS):
        without = skipped_rows.pop(sought.defect.name, [])
        findings.append(found(sought.defect, [*without, *sought.find(rows)], len(rows) + len(without)))
    if encoder is None:
        findings += unencoded_findings(Item if kind == "items" else Example, why_not)
    else:
        findings += encoded_findings(sample(rows, TOKENISED, 0), encoder)
    if kind == "examples" and among:
        findings.append(overlap(rows, among))
    return Lint(name, kind, reading.rows, tuple(findings))


def overlap(examples: Sequence[Example], items: Sequence[Item]) -> Finding:
    """Which training examples name an entity of the items' questions."""
    train = [example for example in examples if example.split == "train"]
    dropped = remove_overlap(train, items, ["question"]).dropped if train else ()
    return found(OVERLAP, [Hit(each.id, each.reason) for each in dropped], len(train))


def _skipped(reading: Reading[Any]) -> dict[str, list[Hit]]:
    """Rows that became no datapoint, by defect."""
    hits: dict[str, list[Hit]] = {}
    for (defect, reason), numbers in reading.skipped.items():
        hits.setdefault(defect, []).extend(Hit(f"row {number}", f"a row {reason}") for number in numbers)
    return hits


def _line(finding: Finding) -> str:
    return f"{finding.name}: {finding.count} of {finding.of} ({finding.share:.1%}), such as {finding.seen}"
