"""How a model is finetuned: everything beside the model and the data."""

from __future__ import annotations

from dataclasses import dataclass

from attnshift.data.groups import PAPER, Rule
from attnshift.data.overlap import SOURCES
from attnshift.errors import AttnshiftError
from attnshift.training.arms import ARMS
from attnshift.training.schedule import Schedule, log_spaced


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How a model is finetuned, beside the model and the data."""

    arm: str = "full"
    """one of ARMS"""
    lora: int | None = None
    """rank of adapters; None trains the weights themselves"""
    lora_alpha: float | None = None
    """their scale times the rank; twice the rank by default"""
    steps: int | None = None
    epochs: float = 1.0
    """passes over the full arm's examples, where no number of steps is given: the same steps for every arm"""
    learning_rate: float | None = None
    """at its highest; 2e-4 for adapters and 2e-5 otherwise"""
    warmup: int | None = None
    """steps; 3 % of all by default"""
    weight_decay: float = 0.0
    batch_size: int = 16
    """examples in a batch of the full arm; every arm's batches hold as many tokens as that"""
    micro_batches: int = 1
    """pieces that a batch is computed in, one after the other, where it doesn't fit into memory"""
    most_norm: float = 1.0
    """gradients are clipped to this norm; 0 for never"""
    betas: tuple[float, float] = (0.9, 0.999)
    seed: int = 0
    """of the order of the data, of adapters and dropout, and of what an arm draws"""
    saves: int = 13
    """checkpoints, evenly in log step"""
    template: str | None = None
    """``plain``, ``alpaca``, ``chat`` or a Jinja file; default: the tokenizer's chat template, else ``plain``"""
    target_eos: bool = True
    """whether targets end with EOS"""
    max_length: int | None = None
    """tokens; longer examples are left out. The model's window by default."""
    max_new_tokens: int | None = None
    """for the manifest: the length of generations when the run is traced"""
    ratio: float = 0.1
    """counterfactual part of the training set, for ``augmented``"""
    overlap: tuple[str, ...] = SOURCES
    """what of the conflict items an example must not name, for ``no-overlap``"""
    split: Rule = PAPER
    """which examples are non-critical, where the data doesn't say"""
    dtype: str = "auto"
    """of the weights; as they are stored by default"""
    bf16: bool = False
    """whether products are computed in bfloat16 beside float32 weights"""
    checkpointing: bool = False
    """whether activations are computed again in the backward, to save memory"""

    def __post_init__(self) -> None:
        if self.arm not in ARMS:
            raise AttnshiftError(f"there is no arm {self.arm!r}", expected=f"one of {', '.join(ARMS)}")
        for name in ("steps", "epochs", "learning_rate", "batch_size", "micro_batches", "saves"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise AttnshiftError(f"{name.replace('_', ' ')}: {value}", expected="more than 0")

    def schedule(self, full: int) -> Schedule:
        """Steps and learning rates, where the full arm has so many examples."""
        steps = self.steps or max(1, round(self.epochs * full / self.batch_size))
        rate = self.learning_rate or (2e-5 if self.lora is None else 2e-4)
        warmup = max(1, round(0.03 * steps)) if self.warmup is None else self.warmup
        return Schedule(steps, rate, warmup, self.weight_decay, self.batch_size)

    def saved_steps(self, steps: int) -> tuple[int, ...]:
        """Which of so many steps are kept."""
        return log_spaced(max(1, steps // 50), steps, self.saves)
