"""Measuring a run that is still being written: round after round, until its training is over."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from attnshift.checkpoints.growing import Growing, Look
from attnshift.errors import AttnshiftError
from attnshift.tracing.dataset import read_failures, write_failures
from attnshift.tracing.job import Job
from attnshift.tracing.store import Store
from attnshift.tracing.trace import Outcome

INTERVAL = 10.0
"""Seconds between two looks at the run."""
SILENCE = 60.0
"""Minutes without a change after which a training counts as over."""

Ready = Callable[[Path], bool]


@dataclass(frozen=True)
class Followed:
    """How following a run ended."""

    job: Job
    """of the last round"""
    outcome: Outcome
    """of all rounds together"""
    over: str
    """why it ended"""
    deleted: tuple[int, ...]
    """steps whose folder was deleted before they were measured"""


def follow(
    growing: Growing,
    job_of: Callable[[Ready | None], Job],
    measure: Callable[[Job], Outcome],
    tell: Callable[[str], None],
    *,
    minutes: float = SILENCE,
    clock: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
) -> Followed:
    """Measure what becomes complete, until the training is over or nothing was written for so many minutes.

    Meanwhile only complete folders are touched. The last round is over everything, as without following.

    Parameters
    ----------
    growing
        The run.
    job_of
        Prepares a round over the folders that are ready, or (None) over all.
    measure
        Does it.
    tell
        Called with a line about every round.
    minutes
        How long nothing may be written.
    clock, sleep
        The time in seconds, and waiting for so many.

    Raises AttnshiftError as `trace` does.
    """
    tell(f"following {growing.root} until its final weights, its last step, or {minutes:g} minutes without a change")
    begun: frozenset[Path] = frozenset()
    computed: set[int] = set()
    deleted: set[int] = set()
    last_change = clock()
    while True:
        look = growing.look()
        last_change = clock() if look.changed else last_change
        over = look.over or _silent(clock() - last_change, minutes)
        new = look.numbered - begun
        if over or new:
            tell(f"the last round: {over}" if over else f"complete: {', '.join(sorted(folder.name for folder in new))}")
            job = job_of(None) if over else _job(job_of, look, tell)
            begun = frozenset(filter(Path.is_dir, look.numbered))
            if job is not None:
                outcome = measure(job)
                gone = _forget_deleted(growing, job.store, outcome)
                computed, deleted = computed | set(outcome.computed), deleted | gone
                if over:
                    return Followed(job, _whole(outcome, computed, gone), over, tuple(sorted(deleted - computed)))
        sleep(INTERVAL)


def _silent(seconds: float, minutes: float) -> str:
    return f"nothing was written for {minutes:g} minutes" if seconds >= 60 * minutes else ""


def _job(job_of: Callable[[Ready | None], Job], look: Look, tell: Callable[[str], None]) -> Job | None:
    """A round while the run is written; None where it has to wait for more.

    What is trained shows in the difference of two checkpoints, unless they are adapters or the manifest says it. A
    folder that goes away while it is read is no mistake of the run's.
    """
    try:
        job = job_of(look.complete.__contains__)
    except AttnshiftError as error:
        if all(folder.is_dir() for folder in look.complete):
            raise
        tell(f"a folder was deleted meanwhile: {error.problem}")
        return None
    run = job.series.run
    known = run.manifest.trained or len(run.checkpoints) > 1 or run.checkpoints[0].kind == "adapter"
    return job if known else None


def _forget_deleted(growing: Growing, store: Store, outcome: Outcome) -> set[int]:
    """Steps that failed because their folder was deleted; the trace doesn't keep them as failures."""
    gone = set(outcome.failed) & growing.deleted()
    if gone:
        with store.alone("failures"):
            left = {step: error for step, error in read_failures(store.path).items() if step not in gone}
            write_failures(store.path, left)
    return gone


def _whole(outcome: Outcome, computed: set[int], gone: set[int]) -> Outcome:
    """The last round's outcome with what earlier rounds computed."""
    return replace(
        outcome,
        computed=tuple(sorted(computed)),
        kept=tuple(step for step in outcome.kept if step not in computed),
        failed={step: error for step, error in outcome.failed.items() if step not in gone},
    )
