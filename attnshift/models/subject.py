"""What is observed: a model in memory, whoever put it there, and what of it is trained."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, Protocol

import torch
from torch import nn

from attnshift.checkpoints.optimizer import SecondMoments
from attnshift.errors import AttnshiftError

_WRAPPERS = re.compile(r"\.(?:base_layer|original_module|modules_to_save\.default)(?=\.|$)")
_ADAPTER = re.compile(r"\.lora_|\.ia3_|\.hada_|\.lokr_|\.vera_|\.boft_|\.oft_")


class Subject(Protocol):
    """A causal LM that uses the capturing attention and is in eval mode."""

    @property
    def model(self) -> Any:
        """The HF causal LM, adapter layers in place where there are any."""

    @property
    def device(self) -> torch.device:
        """Where its inputs go."""

    def trained_parameters(self) -> dict[str, nn.Parameter]:
        """The parameters whose gradients are measured, by their name in the plain model."""

    def second_moments(self) -> SecondMoments | None:
        """Adam's second moments of those; None where there are none."""


def plain_name(name: str) -> str:
    """The name that a tensor of a model with adapters has in the model without them."""
    return _WRAPPERS.sub("", name)


def of_base(name: str, adapter_on: bool) -> bool:
    """Whether a name is of the plain model: no adapter matrix, and of a module trained whole the copy in use."""
    unused = "original_module" if adapter_on else "modules_to_save"
    return f".{unused}." not in name and not _ADAPTER.search(name)


def base_parameters(model: Any, adapter_on: bool) -> dict[str, nn.Parameter]:
    """A model's parameters without its adapter's, in the model's order, by their name in the plain model."""
    return {plain_name(name): p for name, p in model.named_parameters() if of_base(name, adapter_on)}


def adapted_names(model: Any) -> set[str]:
    """Plain names of the weight matrices that an adapter changes and of the modules that it trains whole."""
    marks = (".base_layer.weight", ".modules_to_save.default", ".original_module.")
    return {plain_name(name) for name, _ in model.named_parameters() if any(mark in name for mark in marks)}


def matching(names: Mapping[str, Any], patterns: Sequence[str]) -> set[str]:
    """Names that one of the patterns (fnmatch) fits."""
    return {name for name in names if any(fnmatchcase(name, pattern) for pattern in patterns)}


def refuse_untrained(chosen: Collection[str], why: str) -> None:
    """Raise where no parameter is trained."""
    if not chosen:
        raise AttnshiftError(
            f"no parameter of the model is among the trained ones ({why})",
            expected="patterns like model.layers.*.self_attn.q_proj.weight under 'trained' in attnshift.json",
        )


def refuse_prompt_adapter(peft: Any, where: str) -> None:
    """Raise for an adapter that can't be told from its base."""
    if not hasattr(peft.base_model, "disable_adapter_layers"):
        raise AttnshiftError(
            f"{where}: adapters of the type {peft.peft_type} change the prompt, not the weights",
            expected="LoRA or another adapter of weight matrices",
        )


def no_moments_of_adapters(where: str) -> AttnshiftError:
    """What to raise where the preconditioned pushes of a run of adapters are asked for."""
    return AttnshiftError(
        f"{where} is about the adapter's own matrices",
        expected="full finetuning: pushes are taken with respect to the weights that the adapter changes",
        remedy="leave the preconditioned pushes out with --measures",
    )
