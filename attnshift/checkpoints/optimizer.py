"""Adam's second moments, as a checkpoint's ``optimizer.pt`` keeps them."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from attnshift.errors import AttnshiftError, CheckpointError

FILE_NAME = "optimizer.pt"

_NO_DECAY = re.compile(r"bias|layernorm|rmsnorm|(?:^|\.)norm(?:$|\.)|_norm(?:$|\.)", re.IGNORECASE)


@dataclass(frozen=True)
class SecondMoments:
    """Running means of squared gradients, bias-corrected."""

    values: Mapping[str, Tensor]
    """by parameter name"""
    epsilon: float


def read_second_moments(
    folder: Path, shapes: Mapping[str, torch.Size], trained: Collection[str], norms: Collection[str]
) -> SecondMoments | None:
    """Read the optimizer's state; None where the checkpoint kept none.

    The file numbers the parameters. They are told apart by the names that it may carry; else by the order in which
    the HF Trainer groups them: those with weight decay, then those without (biases and norms). Shapes must agree.

    Parameters
    ----------
    folder
        The checkpoint.
    shapes
        The shape of every parameter of the model, in the model's order.
    trained
        Those that are trained: the optimizer knows either all parameters or these.
    norms
        Those that belong to a ``torch.nn.LayerNorm``.

    Raises CheckpointError for a file that can't be read safely or belongs to another optimizer or other parameters.
    """
    path = folder / FILE_NAME
    if not path.is_file():
        return None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        groups: Sequence[Mapping[str, Any]] = state["param_groups"]
        numbers = [number for group in groups for number in group["params"]]
        moments = {number: _corrected(state["state"][number], group) for group in groups for number in group["params"]}
        names = [str(name) for group in groups for name in group.get("param_names", ())]
        epsilon = float(groups[0].get("eps", 1e-8))
    except Exception as error:  # whatever a foreign pickle makes torch raise
        raise CheckpointError(
            f"{path} can't be used: {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}",
            expected="the state of AdamW as torch saves it, exp_avg_sq for every trained parameter",
            remedy="leave the preconditioned pushes out with --measures",
        ) from error
    if not names:
        known = list(shapes) if len(shapes) == len(numbers) else [name for name in shapes if name in trained]
        names = _trainer_order(known, norms)
    found = dict(zip(names, (moments[number] for number in numbers), strict=False))
    fits = len(names) == len(numbers) and all(name in found for name in trained)
    if not fits or any(found[name].shape != shapes[name] for name in trained):
        raise CheckpointError(
            f"{path} holds the state of {len(numbers)} parameters, not that of the {len(trained)} trained ones",
            expected="the optimizer that trained this model, in the HF Trainer's order",
            remedy="leave the preconditioned pushes out with --measures",
        )
    return SecondMoments(found, epsilon)


def held_second_moments(optimizer: Any, trained: Mapping[str, Tensor]) -> SecondMoments | None:
    """Second moments of parameters by name, from an optimizer in memory; None before its first step.

    Raises AttnshiftError for an optimizer that keeps none of them.
    """
    if not optimizer.state:
        return None
    group_of = {id(p): group for group in optimizer.param_groups for p in group["params"]}
    try:
        # its state is a defaultdict: indexing a parameter that it lacks would put one in
        moments = {n: _corrected(dict(optimizer.state.get(p, {})), group_of[id(p)]) for n, p in trained.items()}
    except (KeyError, ValueError) as error:
        raise AttnshiftError(
            f"the optimizer in memory ({type(optimizer).__name__}) keeps no second moments: {error}",
            expected="AdamW, with exp_avg_sq for every trained parameter",
            remedy="leave the preconditioned pushes out of the measures",
        ) from error
    return SecondMoments(moments, float(optimizer.param_groups[0].get("eps", 1e-8)))


def _corrected(state: Mapping[str, Any], group: Mapping[str, Any]) -> Tensor:
    moment: Tensor = state["exp_avg_sq"]
    if not moment.is_floating_point():
        raise ValueError(f"second moments are stored as {moment.dtype}")
    return moment / (1 - float(group["betas"][1]) ** float(state["step"]))


def _trainer_order(names: Sequence[str], norms: Collection[str]) -> list[str]:
    decayed = [name for name in names if name not in norms and not _NO_DECAY.search(name)]
    return decayed + [name for name in names if name not in decayed]
