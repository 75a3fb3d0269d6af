"""The HF Trainer with the answer's loss, batches of equal size and log-spaced saves.

Callbacks are those of transformers (``TrainerCallback``): hand them to `train` or `finetune` as ``callbacks=[…]``.
Beside what the HF Trainer always tells a callback (``args``, ``state``, ``control``, ``model``, ``optimizer``, …):

- ``args.output_dir`` is the run's directory; `finetune` has written its ``attnshift.json``, with the data beside it,
  before the first step.
- ``processing_class`` is the tokenizer.
- ``train_dataloader.dataset`` is the `Rows` that are trained on. A callback may set ``rows.weights``, one number per
  example, at any step: the next batch's loss uses it. ``rows.examples`` are the examples, with their groups.
- The model is in train mode, and the global random numbers are the training's: who measures in between restores both.
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from attnshift.atomic import os_errors
from attnshift.checkpoints.layout import numbered_step
from attnshift.checkpoints.trainer_state import read_trainer_state
from attnshift.data.items import Example
from attnshift.models.forward import Target
from attnshift.training.batches import Batches
from attnshift.training.callback import ShiftCallback
from attnshift.training.loss import answer_loss, padded
from attnshift.training.schedule import Schedule
from attnshift.training.seeds import own_randomness


@dataclass(frozen=True)
class Settings:
    """How a model is trained, beside its data."""

    schedule: Schedule
    seed: int = 0
    """of dropout, and of whatever the model draws"""
    saved_steps: tuple[int, ...] = ()
    betas: tuple[float, float] = (0.9, 0.999)
    most_norm: float = 0.0
    """gradients are clipped to this norm; 0 for never"""
    bf16: bool = False
    """whether products are computed in bfloat16 beside float32 weights"""
    checkpointing: bool = False
    """whether activations are computed again in the backward, to save memory"""
    log_every: int = 10
    """steps; the log is trainer_state.json's, which is also written at saved steps"""


@dataclass
class Rows(Dataset[int]):
    """What is trained on: sequences whose tail has the loss."""

    targets: Sequence[Target]
    examples: Sequence[Example] = ()
    """of which the targets are the tokens; may be left out"""
    weights: Float[np.ndarray, "example"] | None = field(default=None, compare=False)
    """of the examples in the loss; None is 1 for all. May be set while training: it counts from the next batch on."""

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, position: int) -> int:
        return position

    def batch(self, positions: Sequence[int]) -> dict[str, Tensor]:
        """The tensors of a batch."""
        ids, labels = padded(self.targets[i] for i in positions)
        batch = {"input_ids": torch.from_numpy(ids), "labels": torch.from_numpy(labels)}
        if self.weights is not None:
            batch["weights"] = torch.from_numpy(np.asarray(self.weights)[list(positions)])
        return batch


def train(
    model: Any,
    rows: Rows,
    batches: Batches,
    settings: Settings,
    path: Path | None = None,
    *,
    trained: Collection[str] | None = None,
    undecayed: Collection[str] = (),
    tokenizer: Any = None,
    callbacks: Sequence[TrainerCallback] = (),
    report_to: Sequence[str] = (),
) -> None:
    """Train a model in place by the HF Trainer; what it saves are checkpoints as the HF Trainer leaves them.

    The global random numbers of Python, numpy and torch are afterwards as they were before.

    Parameters
    ----------
    model
        A transformers causal LM, or a PEFT model around one; it is trained where it is.
    rows, batches
        The data, and which of them make which batch.
    settings
        Schedule, seed, saved steps, …
    path
        Where checkpoints go. If there are some with a trainer state, training goes on from the last of them,
        bit by bit as if it had never stopped. None keeps nothing.
    trained
        Names of the parameters that are trained; default: all that require gradients.
    undecayed
        Names of those among them that weight decay leaves alone, beside biases and norms.
    tokenizer
        Saved with every checkpoint, told to callbacks.
    callbacks
        Of transformers; see the module.
    report_to
        Where the HF Trainer logs: ``tensorboard``, ``wandb``, …

    Raises OSError where a checkpoint can't be saved; the last complete one is left to go on from.
    """
    place = nullcontext(str(path)) if path else tempfile.TemporaryDirectory()
    with own_randomness(settings.seed), _only(model, trained), place as folder:
        trainer = _AnswerTrainer(
            model=model,
            args=_arguments(model, batches, settings, folder, report_to),
            train_dataset=rows,
            optimizers=_optimizer(model, settings, undecayed),
            callbacks=[_Saves(settings, tokenizer), *callbacks],
        )
        trainer.batches = batches
        trainer.callback_handler.processing_class = tokenizer
        trainer.remove_callback(PrinterCallback)
        for callback in callbacks:
            if isinstance(callback, ShiftCallback):
                callback.attach(trainer)
        last = None if path is None else last_complete(path)
        trainer.train(resume_from_checkpoint=None if last is None else str(last))
        model.zero_grad()
    model.eval()


def last_complete(path: Path) -> Path | None:
    """The last checkpoint that training can go on from: the trainer state is written after everything else."""
    steps = {step: folder for folder in path.glob("*") if (step := numbered_step(folder.name)) is not None}
    return next((steps[s] for s in sorted(steps, reverse=True) if read_trainer_state(steps[s]).step == s), None)


class _AnswerTrainer(Trainer):  # type: ignore[misc]  # transformers has no types
    """The Trainer, with our batches and our loss."""

    batches: Batches
    model_accepts_loss_kwargs = True
    loss_is_scaled_for_ga = True

    def get_train_dataloader(self) -> DataLoader[int]:
        # A generator of its own: the loader draws a seed that nobody needs from the one that dropout uses.
        made = {"batch_sampler": self.batches, "collate_fn": self.train_dataset.batch, "generator": torch.Generator()}
        return _Loader(self.train_dataset, **made)

    def compute_loss(
        self, model: Any, inputs: dict[str, Tensor], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Tensor:
        """The answer's loss; a batch that comes in one piece is divided by its own number of tokens."""
        count = num_items_in_batch if self.args.gradient_accumulation_steps > 1 else None
        return answer_loss(model, inputs["input_ids"], inputs["labels"], inputs.get("weights"), count)

    def _save_checkpoint(self, *arguments: Any, **options: Any) -> None:
        with os_errors():
            super()._save_checkpoint(*arguments, **options)

    def floating_point_ops(self, inputs: dict[str, Tensor]) -> int:
        """Not counted: it would take a tenth of a tiny model's step."""
        return 0


class _Loader(DataLoader[int]):
    """Tells its batches which epoch it is; without a process or a device of its own."""

    def set_epoch(self, epoch: int) -> None:
        self.batch_sampler.set_epoch(epoch)  # type: ignore[union-attr]


class _Saves(TrainerCallback):  # type: ignore[misc]  # as above
    """Saves and logs at the wanted steps, with the tokenizer and without the pickled arguments."""

    def __init__(self, settings: Settings, tokenizer: Any) -> None:
        self.settings, self.tokenizer = settings, tokenizer

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        control.should_save = state.global_step in self.settings.saved_steps
        control.should_log = control.should_save or state.global_step % self.settings.log_every == 0

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        (folder / "training_args.bin").unlink(missing_ok=True)
        if self.tokenizer is not None:
            with os_errors():
                self.tokenizer.save_pretrained(folder)


@contextmanager
def _only(model: Any, trained: Collection[str] | None) -> Iterator[None]:
    """Let only the trained parameters have gradients, for a while."""
    frozen = [
        p for name, p in model.named_parameters() if p.requires_grad and trained is not None and name not in trained
    ]
    for parameter in frozen:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in frozen:
            parameter.requires_grad_(True)


def _optimizer(
    model: Any, settings: Settings, undecayed: Collection[str]
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    """AdamW on whatever has gradients, at the schedule's rates."""
    schedule = settings.schedule
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    decayed = [(name, p) for name, p in named if p.ndim > 1 and name not in undecayed] if schedule.weight_decay else []
    others = [(name, p) for name, p in named if name not in {name for name, _ in decayed}]
    groups = [{"params": decayed, "weight_decay": schedule.weight_decay}, {"params": others, "weight_decay": 0.0}]
    # A base rate of 1, so that the schedule's rate is the rate to the last bit.
    optimizer = torch.optim.AdamW([g for g in groups if g["params"]], lr=1.0, betas=settings.betas, fused=True)
    return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, lambda done: schedule.rate(done + 1))


def _arguments(
    model: Any, batches: Batches, settings: Settings, folder: str, report_to: Sequence[str]
) -> TrainingArguments:
    """What the HF Trainer is told; it saves and logs when `_Saves` says so."""
    checkpointing = next(name for name in _CHECKPOINTING if name in {f.name for f in fields(TrainingArguments)})
    arguments = TrainingArguments(
        **{checkpointing: True} if settings.checkpointing else {},
        output_dir=folder,
        max_steps=settings.schedule.steps,
        per_device_train_batch_size=settings.schedule.batch,
        gradient_accumulation_steps=batches.micro,
        max_grad_norm=settings.most_norm,
        seed=settings.seed,
        bf16=settings.bf16,
        use_cpu=model.device.type == "cpu",
        save_strategy="no",
        logging_strategy="no",
        report_to=list(report_to),
        remove_unused_columns=False,
        disable_tqdm=True,
    )
    arguments._n_gpu = min(1, arguments.n_gpu)  # several GPUs are for one model that is spread over them
    return arguments


_CHECKPOINTING = ("activation_checkpointing", "gradient_checkpointing")
"""the argument's name, the newer one first"""
