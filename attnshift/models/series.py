"""A run's checkpoints, and each of them as a model."""

from __future__ import annotations

from collections.abc import Iterator
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
        return f"Series({str(self.run.path)!r}, steps {', '.join(map(str, self.steps))})"

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{c.step}</td><td>{'' if c.epoch is None else f'{c.epoch:.2f}'}</td>"
            f"<td>{c.kind}</td><td>{escape(str(c.path))}</td></tr>"
            for c in self.run.checkpoints
        )
        return f"<table><tr><th>step</th><th>epoch</th><th>kind</th><th>path</th></tr>{rows}</table>"


def open_series(path: str | Path, base: str | None = None) -> Series:
    """The checkpoints of a run directory.

    Parameters
    ----------
    path
        A run as the HF Trainer writes it (full checkpoints or PEFT adapters), or a single checkpoint.
    base
        Step 0: a local directory or a hub name. Only a name given here is ever downloaded.
    """
    return Series(find_run(path, base=base, allow_download=base is not None))
