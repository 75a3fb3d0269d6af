"""What the Hugging Face Trainer wrote about the progress of a run, in `trainer_state.json`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from attnshift.checkpoints.jsonfile import read_object
from attnshift.errors import AttnshiftError

FILE_NAME = "trainer_state.json"


@dataclass(frozen=True)
class TrainerState:
    """Progress as one file states it; what it doesn't state, or states badly, is None or left out."""

    step: int | None = None
    """Optimizer steps so far."""
    epoch: float | None = None
    """Passes over the training set so far."""
    history: Mapping[int, float] = field(default_factory=dict)
    """Step to epoch, from the log."""
    last: int | None = None
    """Optimizer steps that the training is to take in all."""


def read_trainer_state(directory: Path) -> TrainerState:
    """Read a folder's trainer_state.json. A missing or damaged one states nothing; never an error."""
    try:
        content = read_object(directory / FILE_NAME)
    except AttnshiftError:
        return TrainerState()
    log = content.get("log_history")
    entries = [entry for entry in log if isinstance(entry, dict)] if isinstance(log, list) else []
    stated = [(_step(entry.get("step")), _epoch(entry.get("epoch"))) for entry in entries]
    history = {step: epoch for step, epoch in stated if step is not None and epoch is not None}
    last = _step(content.get("max_steps"))
    return TrainerState(_step(content.get("global_step")), _epoch(content.get("epoch")), history, last or None)


def epochs_by_step(states: Iterable[TrainerState]) -> dict[int, float]:
    """Step to epoch, from everything that several files state; a file's own step wins over the logs."""
    states = list(states)
    logged = {step: epoch for state in states for step, epoch in state.history.items()}
    own = {state.step: state.epoch for state in states if state.step is not None and state.epoch is not None}
    return logged | own


def _step(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _epoch(value: object) -> float | None:
    valid = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if valid else None  # type: ignore[arg-type]
