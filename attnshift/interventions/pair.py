"""Two checkpoints of one architecture: the source, which gives, and the target, which receives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from attnshift.checkpoints.checkpoint import Checkpoint, classify
from attnshift.checkpoints.layout import numbered_step
from attnshift.checkpoints.manifest import FILE_NAME as MANIFEST
from attnshift.checkpoints.run import Run, find_run
from attnshift.errors import AttnshiftError
from attnshift.stats.sides import PLACES, side_step
from attnshift.tracing.dataset import open_trace


@dataclass(frozen=True)
class Side:
    """A checkpoint and the run that it is read as a part of."""

    run: Run
    checkpoint: Checkpoint

    @property
    def digest(self) -> str:
        """Digest of its weights."""
        return self.run.digests[self.checkpoint.step]

    @property
    def config_folder(self) -> Path:
        """Where its model's configuration lies: for an adapter that is its base."""
        if self.checkpoint.kind == "full":
            return self.checkpoint.path
        assert self.run.base is not None  # noqa: S101  (find_run refuses adapters without a base)
        return self.run.base

    @property
    def adapted(self) -> bool:
        """Whether it is a model with an adapter beside it, on (an adapter's checkpoint) or off (its base)."""
        return any(each.kind == "adapter" for each in self.run.checkpoints)

    def about(self) -> dict[str, str | int]:
        """What a result says of it."""
        return {
            "path": str(self.checkpoint.path),
            "step": self.checkpoint.step,
            "kind": self.checkpoint.kind,
            "digest": self.digest,
        }


@dataclass(frozen=True)
class Pair:
    """The two checkpoints of an intervention."""

    source: Side
    target: Side

    @property
    def of_one_run(self) -> bool:
        """Whether both are checkpoints of the same run."""
        return self.source.run.path == self.target.run.path


def find_pair(
    source: str | int | Path,
    target: str | int | Path,
    run: str | Path | None = None,
    base: str | None = None,
    trace: str | Path | None = None,
) -> Pair:
    """Find two checkpoints.

    Parameters
    ----------
    source, target
        The folder of a checkpoint or, with ``run``, a step, ``start``, ``peak`` or ``end``. A folder that lies in a run
        (beside a manifest, or numbered as trainers number them) is read as a part of it: with its base, template, data.
    run
        The run whose steps are named.
    base
        Step 0, or the base of adapters: a directory or a hub name.
    trace
        The trace that ``peak`` is read from; ``trace/`` in the run by default.

    Raises
    ------
    AttnshiftError
        For a step or folder that isn't there, ``peak`` without a trace, and two checkpoints with the same weights.
    """
    found: dict[Path, Run] = {}

    def opened(place: str | Path) -> Run:
        path = Path(place).resolve()
        if path not in found:
            found[path] = find_run(place, base=base, allow_download=base is not None)
        return found[path]

    whole = None if run is None else opened(run)
    pair = Pair(*(_side(str(name), whole, opened, trace) for name in (source, target)))
    if pair.source.digest == pair.target.digest and pair.source.checkpoint.kind == pair.target.checkpoint.kind:
        raise AttnshiftError(
            f"source and target have the same weights: {pair.source.checkpoint.path}, {pair.target.checkpoint.path}",
            expected="two checkpoints that differ",
        )
    return pair


def _side(name: str, run: Run | None, opened: Callable[[str | Path], Run], trace: str | Path | None) -> Side:
    if not Path(name).is_dir() and (name in PLACES or name.isdecimal()):
        if run is None:
            raise AttnshiftError(
                f"the checkpoint {name!r} is named by its place in a run, and no run is named",
                expected="a checkpoint's folder, or --run RUN beside it",
            )
        return Side(run, _at_step(run, name, trace))
    path = Path(name).resolve()
    within = opened(path.parent) if _lies_in_run(path) else opened(name)
    for checkpoint in within.checkpoints:
        if checkpoint.path.resolve() == path:
            return Side(within, checkpoint)
    step = within.aliases.get(path.name)
    if step is not None:
        return Side(within, next(c for c in within.checkpoints if c.step == step))
    raise within.broken.get(numbered_step(path.name) or -1) or AttnshiftError(
        f"{name!r} is no checkpoint of its run {str(within.path)!r}",
        expected=f"one of {', '.join(c.path.name for c in within.checkpoints)}",
        remedy="name a step with --run, or the folder itself",
    )


def _lies_in_run(path: Path) -> bool:
    return classify(path) is not None and ((path.parent / MANIFEST).is_file() or numbered_step(path.name) is not None)


def _at_step(run: Run, name: str, trace: str | Path | None) -> Checkpoint:
    steps: Mapping[int, Checkpoint] = {c.step: c for c in run.checkpoints}
    if name == "start":
        return run.checkpoints[0]
    if name == "end":
        return run.checkpoints[-1]
    step = _peak(run, trace) if name == "peak" else int(name)
    if step not in steps:
        raise run.broken.get(step) or AttnshiftError(
            f"there is no step {step} in {run.path}", expected=f"one of {', '.join(map(str, steps))}"
        )
    return steps[step]


def _peak(run: Run, place: str | Path | None) -> int:
    """The earliest step of highest counterfactual accuracy in the run's trace."""
    path = run.path / "trace" if place is None else Path(place)
    try:
        trace = open_trace(path)
        place_of_peak = side_step(trace, "peak", "counterfactual_accuracy")
    except AttnshiftError as error:
        raise AttnshiftError(
            f"the peak of {run.path} is not known: {str(path)!r} is no trace with counterfactual_accuracy",
            expected="a trace of the run",
            remedy=f"attnshift trace --ckpts {run.path}, --trace DIR if it lies elsewhere, or name a step",
        ) from error
    return int(trace["step"].values[place_of_peak])
