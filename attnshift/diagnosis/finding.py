"""A defect of data, and where it was found."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, NamedTuple, TypeVar

from attnshift.data.items import Example, Item
from attnshift.diagnosis.check import Status

Row = TypeVar("Row", Item, Example)
Datapoint = Item | Example

SHOWN: Final = 5
"""Ids that a finding names."""


class Hit(NamedTuple):
    """A datapoint with a defect."""

    id: str
    seen: str
    """what shows it, quoted"""


@dataclass(frozen=True)
class Defect:
    """What may be wrong with data."""

    name: str
    """stable; docs/doctor.md lists them all"""
    effect: str
    """what it does to the numbers"""
    remedy: str
    status: Status = "warn"
    """what a finding of it comes to: *ok* where it is only to be known"""


@dataclass(frozen=True)
class Sought(Generic[Row]):
    """A defect and how it is looked for."""

    defect: Defect
    find: Callable[[Sequence[Row]], list[Hit]]


@dataclass(frozen=True)
class Finding:
    """A defect as it was found in some data; with a count of 0 it wasn't."""

    name: str
    status: Status
    count: int
    """datapoints that have it"""
    of: int
    """datapoints that were looked at"""
    ids: tuple[str, ...]
    """the first few of them"""
    seen: str
    """what shows it in the first, quoted; of a skipped one why"""
    effect: str
    """what it does to the numbers"""
    remedy: str

    @property
    def share(self) -> float:
        """The part of the data that has it."""
        return self.count / self.of if self.of else 0.0


def found(defect: Defect, hits: Sequence[Hit], of: int) -> Finding:
    """The finding that some hits make among so many datapoints."""
    return Finding(
        name=defect.name,
        status=defect.status if hits else "ok",
        count=len(hits),
        of=of,
        ids=tuple(hit.id for hit in hits[:SHOWN]),
        seen=hits[0].seen if hits else "",
        effect=defect.effect,
        remedy=defect.remedy,
    )


def skipped(defect: Defect, why: str) -> Finding:
    """The finding of a defect that couldn't be looked for."""
    return Finding(defect.name, "skipped", 0, 0, (), why, defect.effect, defect.remedy)


def excerpt(text: str, length: int = 60) -> str:
    """The beginning of a text, quoted."""
    return repr(text if len(text) <= length else text[: length - 1] + "…")


def repeats(rows: Sequence[Row], key: Callable[[Row], object], seen: Callable[[Row, Row], str]) -> list[Hit]:
    """Rows whose key an earlier row has already; ``seen`` tells of the earlier one and this one."""
    first: dict[object, Row] = {}
    hits = []
    for row in rows:
        earlier = first.setdefault(key(row), row)
        if earlier is not row:
            hits.append(Hit(row.id, seen(earlier, row)))
    return hits
