"""Where a model's weights go: one device, or spread over every GPU."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import torch

from attnshift.errors import AttnshiftError

AUTO = "auto"
"""The device that stands for all GPUs together, or for the CPU where there is none."""


@dataclass(frozen=True)
class Placement:
    """The device that inputs go to and, where ``spread``, all its like together for the weights."""

    device: torch.device
    spread: bool = False
    """whether accelerate lays the layers out over several devices"""

    @property
    def devices(self) -> tuple[torch.device, ...]:
        """Every device that holds weights."""
        if not self.spread or self.device.type != "cuda":
            return (self.device,)
        return tuple(torch.device("cuda", i) for i in range(torch.cuda.device_count()))

    def __str__(self) -> str:
        return f"{AUTO} ({len(self.devices)} x {self.device.type})" if self.spread else str(self.device)


def place(device: str | torch.device | None) -> Placement:
    """The placement that a name stands for; by default a GPU if there is one.

    Raises AttnshiftError for a device that can't be used, and for ``auto`` on GPUs without accelerate.
    """
    found = torch.cuda.is_available()
    spread = found and str(device) == AUTO
    try:
        chosen = torch.device(("cuda" if found else "cpu") if device is None or str(device) == AUTO else device)
        torch.ones(1, device=chosen).item()
    except (RuntimeError, AssertionError) as error:
        raise AttnshiftError(
            f"the device {str(device)!r} can't be used: {str(error).splitlines()[0]}",
            expected="cpu, cuda, cuda:N, or auto for all GPUs together",
        ) from error
    if spread and find_spec("accelerate") is None:
        raise AttnshiftError(
            "the device 'auto' spreads a model over all GPUs by means of accelerate, which isn't installed",
            expected="accelerate beside attnshift",
            remedy="pip install accelerate, or name one device",
        )
    return Placement(chosen, spread)


def refuse_offloaded(model: Any, path: object) -> None:
    """Raise where accelerate left weights outside the GPUs: they can't be swapped in place."""
    left = [name for name, p in model.named_parameters() if p.device.type == "meta"]
    if left:
        raise AttnshiftError(
            f"{path} doesn't fit on the GPUs: accelerate offloads {len(left)} of its tensors, the first {left[0]}",
            expected="GPUs that hold all of the weights together",
            remedy="--dtype bfloat16, more GPUs, or --device cpu",
        )
