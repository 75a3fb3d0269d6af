"""What a trace still has to compute, and what would contradict what it already holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from attnshift.checkpoints.checkpoint import Checkpoint
from attnshift.checkpoints.run import Run
from attnshift.errors import AttnshiftError
from attnshift.measures.label import AnswerLabel
from attnshift.measures.measure import Measure
from attnshift.tracing.store import Header, Store


@dataclass(frozen=True)
class State:
    """The weights that a cell is about."""

    step: int
    """optimizer steps before them"""
    epoch: float | None
    place: str
    """the checkpoint's folder, or that they were measured in memory"""
    digest: str
    """as `checkpoints.fingerprint` takes it of the saved checkpoint"""


@dataclass(frozen=True)
class Cell:
    """The variables that one checkpoint lacks."""

    checkpoint: Checkpoint
    state: State
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
        state = State(checkpoint.step, checkpoint.epoch, str(checkpoint.path), digests[checkpoint.step])
        cells.append(Cell(checkpoint, state, missing_measures(store, state, recipe, measures)))
    return cells


def missing_measures(
    store: Store, state: State, recipe: Mapping[str, str], measures: Sequence[Measure]
) -> tuple[Measure, ...]:
    """The measures that the step's file lacks.

    Raises AttnshiftError for a stale file, naming what differs.
    """
    header = store.read_header(state.step)
    if header is not None:
        _refuse_stale(store, state, header, recipe, measures)
    return tuple(m for m in measures if header is None or m.name not in header.keys)


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


def other_steps(store: Store, run: Run) -> tuple[int, ...]:
    """Steps of the trace that the run doesn't have, or no longer.

    Raises AttnshiftError where the trace is of a run at another place, and no step but 0, a base that several runs may
    share, has the weights that it has here: then it isn't the same run moved.
    """
    held = {step: header.checkpoint for step in store.steps() if (header := store.read_header(step)) is not None}
    others = tuple(step for step in held if step not in run.digests.keys() | run.broken.keys())
    begun_for = str(store.stated().get("run") or run.path)
    trained = {step: digest for step, digest in held.items() if step}
    if trained and begun_for != str(run.path) and not trained.items() & run.digests.items():
        raise AttnshiftError(
            f"the trace in {str(store.path)!r} is of the run {begun_for}: none of its steps "
            f"{', '.join(map(str, trained))} has these weights in {run.path}",
            expected="the trace of this run, which may have been moved, or a directory without a trace",
            remedy="name another directory with --out",
        )
    return others


def _refuse_stale(
    store: Store,
    state: State,
    header: Header,
    recipe: Mapping[str, str],
    measures: Sequence[Measure],
) -> None:
    where = store.file(state.step)
    if header.checkpoint != state.digest:
        raise AttnshiftError(
            f"{where} was measured on other weights: {header.checkpoint} there, {state.digest} in {state.place} now",
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
