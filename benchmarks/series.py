"""Going from checkpoint to checkpoint: beside reading the bytes, and beside loading a model anew."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from itertools import cycle
from pathlib import Path
from typing import Any

import torch

from benchmarks.bench import Bench, largest_difference
from benchmarks.clock import Cost, timed
from benchmarks.models import QUICK, STANDARD, Shape
from benchmarks.rows import Goal, Row, Section
from benchmarks.rundir import RANK, first_checkpoints, read_into, weight_bytes, write_adapter_run, write_run

COUNTS = (1, 4, 16, 64)
SHORT = 4
"""times as many pairs for what takes milliseconds, which a busy machine disturbs most"""

READING_GOALS = (Goal("time", 1.5),)
ADAPTER_GOALS = (Goal("time", 0.020),)


def series(bench: Bench) -> Section:
    """One swap of full weights."""
    shape, notes = _shape_on_disk(bench)
    run = write_run(bench.folder / "full", shape, 2, bench.device)
    what = f"Skeleton.load, {weight_bytes(run / 'checkpoint-1') / 2**20:.0f} MiB"
    reading = bench.compare(
        "checkpoint swap beside reading",
        (what, _swapper(run, bench)),
        ("readinto a buffer, warm page cache", _reader(run)),
        READING_GOALS,
        memory=False,
        pairs=SHORT * bench.pairs,
    )
    loading = bench.compare(
        "checkpoint swap beside loading anew",
        (f"{what}, then one token", _used(_swapper(run, bench))),
        ("AutoModelForCausalLM.from_pretrained, then one token", _used(_loader(run, bench))),
        difference=_weight_difference,
        pairs=SHORT * bench.pairs,
    )
    return Section([reading, loading], notes)


def adapters(bench: Bench) -> Section:
    """One swap of a LoRA adapter."""
    run = write_adapter_run(bench.folder / "lora", QUICK if bench.quick else STANDARD, 2)
    what = f"Skeleton.load, LoRA r={RANK}, every linear layer"
    return Section([bench.alone("adapter swap", what, _swapper(run, bench), ADAPTER_GOALS, SHORT * bench.pairs)])


def many(bench: Bench) -> Section:
    """Series of more and more checkpoints with tiny weights: what each of them costs beyond its bytes."""
    counts = COUNTS[:2] if bench.quick else COUNTS
    run = write_run(bench.folder / "many", QUICK, counts[-1])
    folders = {count: first_checkpoints(run, count, bench.folder / f"many-{count}") for count in counts}
    return Section([_through(bench, folder, count) for count, folder in folders.items()])


def _through(bench: Bench, folder: Path, count: int) -> Row:
    """Opening a series and loading all of it, as a cost per checkpoint."""
    from attnshift import open_series
    from attnshift.models.skeleton import Skeleton

    def work() -> None:
        run = open_series(folder).run
        skeleton = Skeleton(run, None, bench.device)
        for checkpoint in run.checkpoints:
            skeleton.load(checkpoint)

    work()
    costs = [timed(work, bench.device) for _ in range(bench.pairs)]
    each = [Cost(cost.cpu / count, cost.wall / count) for cost in costs]
    name = f"series of {count}, per checkpoint"
    return Row(name, "open_series and every load, tiny weights", "", each, clock=bench.clock)


def _swapper(run: Path, bench: Bench) -> Callable[[], Any]:
    """A function that makes one skeleton the run's second checkpoint, its first, its second, …"""
    from attnshift import open_series
    from attnshift.models.skeleton import Skeleton

    opened = open_series(run).run
    skeleton = Skeleton(opened, None, bench.device)
    first, second = (checkpoint for checkpoint in opened.checkpoints if checkpoint.step > 0)
    skeleton.load(first)
    following = cycle((second, first))

    def swap() -> Any:
        skeleton.load(next(following))
        return skeleton.model

    return swap


def _reader(run: Path) -> Callable[[], None]:
    buffer = memoryview(bytearray(weight_bytes(run / "checkpoint-1")))
    following = cycle([run / "checkpoint-2", run / "checkpoint-1"])
    return lambda: read_into(buffer, next(following))


def _used(load: Callable[[], Any]) -> Callable[[], Any]:
    """A mapped file is read when its weights are first used, so they are."""

    @torch.no_grad()
    def load_and_use() -> Any:
        model = load()
        model(input_ids=torch.zeros((1, 1), dtype=torch.long, device=model.device), use_cache=False)
        return model

    return load_and_use


def _loader(run: Path, bench: Bench) -> Callable[[], Any]:
    from transformers import AutoModelForCausalLM

    following = cycle([run / "checkpoint-2", run / "checkpoint-1"])

    def load() -> Any:
        return AutoModelForCausalLM.from_pretrained(next(following), dtype="auto").to(bench.device).eval()

    return load


def _weight_difference(ours: Any, theirs: Any) -> float:
    live = theirs.state_dict()
    return max(largest_difference(tensor, live[name]) for name, tensor in ours.state_dict().items())


def _shape_on_disk(bench: Bench) -> tuple[Shape, list[str]]:
    """The shape to measure with if two checkpoints of it fit the disk, else the standard one."""
    shape = bench.shape
    needed = 3 * shape.parameters * shape.dtype.itemsize
    if needed < shutil.disk_usage(bench.folder).free:
        return shape, []
    return STANDARD, [f"Swaps use the small standard shape: there is no room for {needed / 2**30:.0f} GiB on the disk."]
