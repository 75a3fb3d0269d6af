"""A whole trace beside the model's work that it can't do without."""

from __future__ import annotations

from itertools import count

from benchmarks.bare import BareWork
from benchmarks.bench import Bench
from benchmarks.rows import Goal, Section
from benchmarks.sweep import EXAMPLES, ITEMS, make_sweep

CHECKPOINTS = 20
GOALS = (Goal("time", 1.15),)


def trace(bench: Bench) -> Section:
    """All measures of a series beside the same forwards, generations, backwards and reads in plain transformers."""
    import attnshift
    from attnshift.tracing.job import prepare

    checkpoints = 3 if bench.quick else CHECKPOINTS
    opened, options = make_sweep(bench, checkpoints)
    options["device"], number = bench.device, count()
    bare = BareWork(prepare(opened, out=bench.folder / "unused", **options), bench.device)
    row = bench.compare(
        f"trace of {checkpoints} checkpoints, {ITEMS} items, {EXAMPLES} examples",
        ("attnshift.trace", lambda: attnshift.trace(opened, out=bench.folder / f"trace-{next(number)}", **options)),
        ("its forwards, generations, backwards and reads, plain", bare.run),
        GOALS,
        memory=False,
        pairs=min(3, bench.pairs),
    )
    return Section([row])
