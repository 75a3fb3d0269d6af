"""Reliance on the context, measured while a Trainer trains."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import xarray as xr
from transformers import TrainerCallback

from attnshift.data.inputs import Inputs
from attnshift.data.items import Example, Item
from attnshift.data.roles import CONTEXT_ROLES, KEY_ROLES
from attnshift.errors import AttnshiftError
from attnshift.measures.measure import Measure
from attnshift.models.whole import refuse_parts
from attnshift.tracing.live import LiveTrace, live_trace

PREFIX: Final = "shift/"
"""of the names that scalars are logged by"""

PER_DOUBLING: Final = 2
"""Measured steps per doubling of the step, where they are evenly spaced in log step."""

Failure = Literal["raise", "record"]


class ShiftCallback(TrainerCallback):  # type: ignore[misc]  # transformers is untyped here
    """Writes a trace while the HF Trainer (or a trainer built on it, such as TRL's) trains.

    At each of its steps the model in memory is measured by the code that `attnshift.trace` uses, and one cell is
    written; the trace can be opened at any time. The training isn't touched: losses and weights are the same, to the
    last bit, as without it. Weights are measured in the precision that they have in memory (float32 beside
    ``bf16=True``), as the checkpoints that are saved at these steps would be, so `attnshift.trace` of the saved
    checkpoints with the same options extends the trace. Step 0 is the model before training; of adapters, the base.

        shift = attnshift.ShiftCallback(items=items, examples=examples)
        trainer = Trainer(model, args, train_dataset=rows, processing_class=tokenizer)
        shift.attach(trainer)  # or callbacks=[shift], which logs to trainer.state.log_history alone
        trainer.train()
        shift.trace()

    Parameters
    ----------
    items, examples, measures, limit, seed, template, target_eos, rows, token_budget, gradients_on_cpu, max_new_tokens
        As in `attnshift.trace`. Without a ``template`` what the run's manifest or the tokenizer says: give the one that
        the training data was written in.
    out
        Directory of the trace; default: ``trace/`` in the trainer's ``output_dir``.
    steps
        ``"log"``: the first step and then two per doubling, evenly in log step; an int: every so many; or the steps
        themselves. Step 0 and the last one are always among them.
    tokenizer
        Instead of the trainer's ``processing_class``.
    on_failure
        What a step that can't be measured does: ``"raise"`` an error that ends training, or ``"record"`` it in the
        trace's ``failed`` attribute and train on.

    Raises (when training begins)
    -----------------------------
    AttnshiftError
        For bad input; for a model that isn't whole in one process (FSDP, DeepSpeed, several processes, DataParallel),
        whose saved checkpoints `attnshift trace` measures instead; for a directory that holds another training's trace.
        A training that is resumed goes on with its trace.
    """

    def __init__(
        self,
        *,
        items: Sequence[Item] | None = None,
        examples: Sequence[Example] | None = None,
        out: str | Path | None = None,
        measures: Sequence[str | Measure] | None = None,
        steps: Literal["log"] | int | Sequence[int] = "log",
        limit: int | None = None,
        seed: int = 0,
        template: str | None = None,
        tokenizer: Any = None,
        target_eos: bool | None = None,
        rows: str = "last",
        token_budget: int | None = None,
        gradients_on_cpu: bool = False,
        max_new_tokens: int | None = None,
        on_failure: Failure = "raise",
    ) -> None:
        self.steps, self.on_failure = _checked_steps(steps), _checked_failure(on_failure)
        self._options: dict[str, Any] = {
            "items": items,
            "examples": examples,
            "out": out,
            "measures": measures,
            "limit": limit,
            "seed": seed,
            "template": template,
            "target_eos": target_eos,
            "rows": rows,
            "token_budget": token_budget,
            "gradients_on_cpu": gradients_on_cpu,
            "max_new_tokens": max_new_tokens,
        }
        self._tokenizer = tokenizer
        self._trainer: Any = None
        self._live: LiveTrace | None = None
        self._measured_at = -1

    def attach(self, trainer: Any) -> ShiftCallback:
        """Add the callback to a trainer and log its scalars as the trainer logs its loss, to all that it reports to."""
        if not any(each is self for each in trainer.callback_handler.callbacks):
            trainer.add_callback(self)
        self._trainer = trainer
        return self

    def trace(self) -> xr.Dataset:
        """The trace so far, as `attnshift.open_trace` opens it."""
        if self._live is None:
            raise AttnshiftError("nothing is measured yet", expected="a training that has begun")
        return self._live.open()

    def on_train_begin(
        self, args: Any, state: Any, control: Any, model: Any = None, processing_class: Any = None, **others: Any
    ) -> None:
        """Settle everything, and measure step 0."""
        refuse_parts(model, _stated_parts(args))
        tokenizer = self._tokenizer or processing_class
        if tokenizer is None:
            raise AttnshiftError(
                "the trainer has no tokenizer", expected="processing_class=tokenizer, or ShiftCallback(tokenizer=…)"
            )
        self._live = live_trace(model, tokenizer, Path(args.output_dir).resolve(), **self._options)
        self._live.begin_at(state.global_step)
        self._live.model.optimizer = others.get("optimizer")
        self._measured_at = state.global_step
        if state.global_step == 0:
            self._measure(state, control)

    def on_step_end(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        """Measure, if it is one of the steps."""
        if control.should_training_stop or self._is_due(state.global_step, state.max_steps):
            self._measure(state, control)

    def on_train_end(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        """Measure the last step, if the model still is what it was after it."""
        best_loaded = args.load_best_model_at_end and state.best_model_checkpoint is not None
        if self._measured_at < state.global_step and not best_loaded:
            self._measure(state, control)

    def _is_due(self, step: int, last: int) -> bool:
        if step == last:
            return True
        if isinstance(self.steps, int):
            return step % self.steps == 0
        return step in (log_steps(last) if self.steps == "log" else self.steps)

    def _measure(self, state: Any, control: Any) -> None:
        assert self._live is not None  # noqa: S101  (training has begun)
        step, self._measured_at = state.global_step, state.global_step
        try:
            values = self._live.measure(step, state.epoch)
        except Exception as error:
            if self.on_failure == "record":
                self._live.record_failure(step, error)
                return
            if isinstance(error, AttnshiftError):
                raise
            raise AttnshiftError(
                f"step {step} can't be measured: {type(error).__name__}: {error}",
                remedy="ShiftCallback(on_failure='record') notes such a step and trains on",
            ) from error
        assert self._live.inputs is not None  # noqa: S101  (settled by the first step that was measured)
        if found := scalars(values, self._live.inputs):
            self._log({PREFIX + name: value for name, value in found.items()}, state, control)

    def _log(self, logs: dict[str, float], state: Any, control: Any) -> None:
        if self._trainer is None:
            epoch = {} if state.epoch is None else {"epoch": state.epoch}
            state.log_history.append({**logs, **epoch, "step": state.global_step})
            return
        wanted = control.should_log  # logging resets it, and the loss is still to be logged
        self._trainer.log(logs)
        control.should_log = wanted


def log_steps(last: int) -> frozenset[int]:
    """Step 1 and then PER_DOUBLING steps per doubling up to ``last``, evenly in log step."""
    if last < 1:
        return frozenset()
    count = math.floor(PER_DOUBLING * math.log2(last)) + 1
    return frozenset({round(2 ** (i / PER_DOUBLING)) for i in range(count)} | {last})


def scalars(values: Mapping[str, np.ndarray], inputs: Inputs) -> dict[str, float]:
    """One number each of what was measured at a step: means over items, and by group over training examples."""
    found = {
        name: float(np.nanmean(values[name]))
        for name in ("counterfactual_accuracy", "parametric_accuracy", "margin")
        if name in values
    }
    if "attention_mass" in values:
        roles = [KEY_ROLES.index(role) for role in CONTEXT_ROLES]
        found["context_mass"] = float(values["attention_mass"][..., roles].sum(-1).mean())
    for group in inputs.groups:
        if "loss" in values:
            found[f"loss_{group}"] = float(values["loss"][inputs.train_positions(group)].mean())
        if "gradient_norm" in values:
            found[f"gradient_norm_{group}"] = float(values["gradient_norm"][inputs.groups.index(group)])
    return found


def _checked_steps(steps: str | int | Sequence[int]) -> Literal["log"] | int | frozenset[int]:
    if steps == "log":
        return "log"
    if isinstance(steps, int) and not isinstance(steps, bool) and steps > 0:
        return steps
    if isinstance(steps, Sequence) and not isinstance(steps, str) and all(isinstance(s, int) and s >= 0 for s in steps):
        return frozenset(steps)
    raise AttnshiftError(f"steps are {steps!r}", expected="'log', a number of steps, or a list of steps")


def _checked_failure(on_failure: str) -> Failure:
    if on_failure not in ("raise", "record"):
        raise AttnshiftError(f"on_failure is {on_failure!r}", expected="'raise' or 'record'")
    return "raise" if on_failure == "raise" else "record"


def _stated_parts(args: Any) -> str:
    """What the trainer's arguments say of several processes, devices or shards; empty for one whole model."""
    if args.deepspeed:
        return "it is trained by DeepSpeed"
    if args.fsdp:
        return "it is trained by FSDP"
    if args.world_size > 1:
        return f"{args.world_size} processes train it"
    if args.n_gpu > 1:
        return f"DataParallel copies it to {args.n_gpu} GPUs"
    return ""
