"""The demo: build a run of the organism, trace it like any other run, draw it, say what happened."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from attnshift.stats.verdict import Verdict

Say = Callable[[str], None]

THREADS = 2
"""at most: matrices this small are slower on more"""


@dataclass(frozen=True)
class Demo:
    """Where a demo's things are, and what it found."""

    run: Path
    trace: Path
    report: Path
    verdict: Verdict
    caveats: tuple[str, ...]


def demo(
    out: str | Path = "demo",
    seed: int = 0,
    arm: str = "full",
    base: str | Path | None = None,
    say: Say | None = None,
    progress: Callable[[Any], None] | None = None,
) -> Demo:
    """Build, trace and report a run of the model organism in ``out``: ``run/``, ``trace/`` and ``report.html``.

    Run it again and what is there is kept. A seed's data are the same everywhere; its numbers depend on the processor
    and on the number of threads (at most THREADS), since training amplifies the last digit. ``base`` is another run of
    the same seed whose pretrained model is taken over. ``say`` is called with a line per stage, ``progress`` with every
    checkpoint traced.

    Raises AttnshiftError for an unknown arm, and where ``out`` holds something else or can't be written.
    """
    from attnshift.models.series import open_series
    from attnshift.organism.build import build_run
    from attnshift.organism.recipe import find_arm
    from attnshift.report.page import write_report
    from attnshift.stats.verdict import verdict
    from attnshift.tracing.trace import trace

    out, say = Path(out), say or (lambda _: None)
    with _few_threads(THREADS):
        run = build_run(out / "run", find_arm(arm), seed, None if base is None else Path(base), say)
        say("tracing its checkpoints")
        traced = trace(open_series(run), out=out / "trace", progress=progress)
    notes, found = caveats(run), verdict(traced)
    report = write_report(traced, out / "report.html", f"The model organism, arm “{arm}”, seed {seed}", notes, found)
    return Demo(run, out / "trace", report, found, notes)


def demo_seeds(
    out: str | Path, seeds: Sequence[int], arm: str = "full", workers: int = 1, say: Say | None = None
) -> dict[int, Demo]:
    """Do the demo for several seeds, each in ``out/seed-N``; `open_traces` joins what they leave.

    ``workers`` processes share the seeds. Raises as `demo` does.
    """
    say = say or (lambda _: None)
    found: dict[int, Demo] = {}
    tasks = [(Path(out) / f"seed-{seed}", seed, arm) for seed in seeds]
    # Spawned, since torch's threads don't survive a fork.
    pooled = ProcessPoolExecutor(workers, mp_context=get_context("spawn")) if workers > 1 else nullcontext()
    with pooled as pool:
        for seed, one in zip(seeds, (pool.map if pool else map)(_one_seed, tasks), strict=True):
            found[seed] = one
            say(f"seed {seed}: {one.verdict.sentences()[0]}")
    return found


def caveats(run: Path) -> tuple[str, ...]:
    """What must be said wherever a run of the organism is shown."""
    from attnshift.organism.build import stratum_shares
    from attnshift.organism.examples import COUNTERFACTUAL, UNSETTLED

    shares = stratum_shares(run)
    unsettled = shares.get(UNSETTLED, 0.0)
    if unsettled:
        driver = (
            f"{100 * unsettled:.1f} % of the training examples have a context that does not settle their target, and "
            "they drive the fall: without them (arm “settled”) there is none. Examples whose context merely repeats "
            "what the model knows bring no fall by themselves. That is narrower than the paper's claim for real models."
        )
    else:
        driver = "Every training example's context settles its target."
    told = [driver]
    if counterfactual := shares.get(COUNTERFACTUAL, 0.0):
        told.append(
            f"{100 * counterfactual:.1f} % of the training examples contradict memory on purpose: counterfactual "
            "augmentation, of one relation alone."
        )
    told += [
        "Not every conflict is answered with one of the two cities, and recall without a context dips and mostly "
        "recovers: a part of the return to memory is recall coming back (logprob_parametric_closed_book in the trace).",
        "One template, facts of one token, a model of two layers at most: a demonstration of a mechanism, no evidence "
        "about large language models. A generation is one token long, since nothing trains the model to stop.",
    ]
    return tuple(told)


@contextmanager
def _few_threads(most: int) -> Iterator[None]:
    """Compute with at most so many threads, then with as many as before."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(min(before, most))
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _one_seed(task: tuple[Path, int, str]) -> Demo:
    from attnshift.models.quiet import quiet_libraries

    quiet_libraries()
    out, seed, arm = task
    with _few_threads(1):  # seeds side by side gain more from the cores than threads do
        return demo(out, seed, arm)
