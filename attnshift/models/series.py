"""A run's checkpoints, and each of them as a model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attnshift.checkpoints.checkpoint import Checkpoint
from attnshift.checkpoints.run import Run, find_run
from attnshift.checkpoints.tokenizer import load_tokenizer, tokenizer_dir
from attnshift.errors import AttnshiftError

if TYPE_CHECKING:
    from attnshift.models.skeleton import Skeleton


@dataclass(frozen=True)
class Step:
    """One checkpoint of a series."""

    run: Run
    checkpoint: Checkpoint

    def model(self, *, dtype: Any = None, device: str = "cpu") -> Any:
        """A transformers model of its own with these weights, in eval mode, adapters in place.

        ``device="auto"`` spreads it over all GPUs.
        """
        return self._skeleton(dtype, device).model

    def bridge(self, *, dtype: Any = None, device: str = "cpu") -> Any:
        """The same as a TransformerLens bridge; adapters are merged into its own copy of the weights."""
        from attnshift.models.bridge import bridge_of

        return bridge_of(self._skeleton(dtype, device).merged())

    def _skeleton(self, dtype: Any, device: str) -> Skeleton:
        from attnshift.models.placement import place
        from attnshift.models.skeleton import Skeleton

        placement = place(device)
        skeleton = Skeleton(self.run, dtype, placement.device, placement.spread)
        skeleton.load(self.checkpoint)
        skeleton.model.set_attn_implementation(skeleton.usual_attention)
        return skeleton


@dataclass(frozen=True)
class Series:
    """Checkpoints in the order of their steps; ``series[500]`` is the one at step 500."""

    run: Run

    @property
    def steps(self) -> tuple[int, ...]:
        """Optimizer steps, ascending."""
        return tuple(checkpoint.step for checkpoint in self.run.checkpoints)

    def __len__(self) -> int:
        return len(self.run.checkpoints)

    def __iter__(self) -> Iterator[Step]:
        return (Step(self.run, checkpoint) for checkpoint in self.run.checkpoints)

    def __getitem__(self, step: int) -> Step:
        """The checkpoint at an optimizer step (not at a position)."""
        for checkpoint in self.run.checkpoints:
            if checkpoint.step == step:
                return Step(self.run, checkpoint)
        raise AttnshiftError(f"there is no step {step}", expected=f"one of {', '.join(map(str, self.steps))}")

    @cached_property
    def tokenizer(self) -> Any:
        """The run's tokenizer, looked for in the last checkpoint, the run, ``final/`` and the base."""
        return load_tokenizer(tokenizer_dir(self.run))

    def __repr__(self) -> str:
        return f"Series({self.run.hub or str(self.run.path)!r}, steps {', '.join(map(str, self.steps))})"

    def _repr_html_(self) -> str:
        """A table: step, epoch, folder inside the run, kind, megabytes of weights, folders with the same weights."""
        heads = ("step", "epoch", "checkpoint", "kind", "MB", "the same weights")
        rows = [heads, *(self._row(checkpoint) for checkpoint in self.run.checkpoints)]
        cells = ("".join(f"<td>{escape(cell)}</td>" for cell in row) for row in rows)
        return f"<table>{''.join(f'<tr>{row}</tr>' for row in cells)}</table>".replace("td>", "th>", 2 * len(heads))

    def _row(self, checkpoint: Checkpoint) -> tuple[str, ...]:
        aliases = [name for name, step in self.run.aliases.items() if step == checkpoint.step]
        megabytes = sum(file.stat().st_size for file in checkpoint.files) / 1e6
        epoch = "" if checkpoint.epoch is None else f"{checkpoint.epoch:.2f}"
        inside = checkpoint.path.is_relative_to(self.run.path)
        place = checkpoint.path.relative_to(self.run.path) if inside else checkpoint.path
        return (
            str(checkpoint.step),
            epoch,
            checkpoint.revision or str(place),
            checkpoint.kind,
            f"{megabytes:.1f}",
            ", ".join(aliases),
        )


def open_series(
    path: str | Path,
    base: str | None = None,
    revisions: Sequence[str] = (),
    tell: Callable[[str], None] | None = None,
    ready: Callable[[Path], bool] | None = None,
) -> Series:
    """The checkpoints of a run directory, or revisions of a model on the hub.

    Parameters
    ----------
    path
        A run as a trainer writes it (full checkpoints or PEFT adapters), or a single checkpoint; with ``revisions`` a
        model's name on the hub.
    base
        Step 0: a local directory or a hub name. Only what is named here and in ``revisions`` is ever downloaded.
    revisions
        Such as ``["step1000", "step3000"]``: what the local cache lacks is downloaded, one after the other.
    tell
        Called with a line before each of these downloads.
    ready
        Only the run's folders for which it is true are looked at: for a run that is still being written.
    """
    download = base is not None
    return Series(find_run(path, base, allow_download=download, revisions=revisions, tell=tell, ready=ready))
