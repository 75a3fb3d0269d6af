"""What a trace still has to compute, and what would contradict what it already holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from attnshift.checkpoints.checkpoint import Checkpoint
from attnshift.errors import AttnshiftError
from attnshift.measures.label import AnswerLabel
from attnshift.measures.measure import Measure
from attnshift.tracing.store import Header, Store


@dataclass(frozen=True)
class Cell:
    """The variables that one checkpoint lacks."""

    checkpoint: Checkpoint
    missing: tuple[Measure, ...]


def plan_cells(
    store: Store,
    checkpoints: Sequence[Checkpoint],
    digests: Mapping[int, str],
    recipe: Mapping[str, str],
    measures: Sequence[Measure],
) -> list[Cell]:
    """A cell for every checkpoint, in order; one that lacks nothing is kept as it is.

    Raises AttnshiftError for a stale cell, naming what differs.
    """
    cells = []
    for checkpoint in checkpoints:
        header = store.read_header(checkpoint.step)
        if header is not None:
            _refuse_stale(store, checkpoint, header, digests[checkpoint.step], recipe, measures)
        missing = tuple(m for m in measures if header is None or m.name not in header.keys)
        cells.append(Cell(checkpoint, missing))
    return cells


def refuse_other_recipe(where: str, old: Mapping[str, str], new: Mapping[str, str]) -> None:
    """Raise where two recipes differ, naming each aspect that does."""
    differing = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    if differing:
        raise AttnshiftError(
            f"{where} was made differently: "
            + "; ".join(f"{n}: {old.get(n, 'none')} there, {new.get(n, 'none')} now" for n in differing),
            expected="the same data and settings as in the trace that is being continued",
            remedy="repeat the earlier options, or name another --out",
        )


def _refuse_stale(
    store: Store,
    checkpoint: Checkpoint,
    header: Header,
    digest: str,
    recipe: Mapping[str, str],
    measures: Sequence[Measure],
) -> None:
    where = store.file(checkpoint.step)
    if header.checkpoint != digest:
        raise AttnshiftError(
            f"{where} was measured on other weights: {header.checkpoint} there, {digest} in {checkpoint.path} now",
            expected="the checkpoint unchanged since it was measured",
            remedy=f"delete {where.name} to measure the new weights, or name another --out",
        )
    refuse_other_recipe(str(where), header.recipe, recipe)
    for measure in measures:
        old = header.keys.get(measure.name, measure.key)
        if old != measure.key:
            raise AttnshiftError(
                f"{where} holds {measure.name} by another formula: {old} there, {measure.key} now",
                remedy=f"attnshift rescore {store.path}"
                if measure.name == AnswerLabel.name
                else f"delete {where.name}, or name another --out",
            )
