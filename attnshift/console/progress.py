"""A finetuning while it runs."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import Any

from transformers import TrainerCallback

from attnshift.console.units import seconds_text


class ProgressCallback(TrainerCallback):  # type: ignore[misc]  # transformers has no types
    """Says on stderr how training goes: a bar on a terminal, a line per checkpoint elsewhere."""

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Start the clock."""
        self._started, self._first, self._loss = time.perf_counter(), state.global_step, float("nan")
        self._bar: Any = None
        if sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(total=state.max_steps, initial=state.global_step, unit="step", file=sys.stderr)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Move the bar."""
        if self._bar is not None:
            self._bar.update()

    def on_log(self, args: Any, state: Any, control: Any, logs: Mapping[str, float], **_: Any) -> None:
        """Keep the loss."""
        self._loss = logs.get("loss", self._loss)
        if self._bar is not None:
            self._bar.set_postfix(loss=f"{self._loss:.3f}")

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Tell of a checkpoint."""
        if self._bar is None:
            done = state.global_step - self._first
            left = (time.perf_counter() - self._started) / done * (state.max_steps - state.global_step)
            told = f"step {state.global_step}/{state.max_steps} · loss {self._loss:.3f} · {seconds_text(left)} left"
            print(told, file=sys.stderr, flush=True)  # noqa: T201  (this is the console)

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Close the bar."""
        if self._bar is not None:
            self._bar.close()
