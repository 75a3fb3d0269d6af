"""What a checkpoint is given on a cluster, as a user asks for it."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from attnshift.errors import AttnshiftError


@dataclass(frozen=True)
class Share:
    """A part of a machine for one checkpoint."""

    gpus: float | None
    """None: one where there are any"""
    cpus: int
    """also the threads that torch uses, which change numbers by rounding"""
    memory: float | None
    """gigabytes; None: whatever the cluster gives"""


def split_share(cluster: Mapping[str, Any], device: str | None) -> tuple[Share, dict[str, Any]]:
    """The share that ``gpus``, ``cpus``, ``memory`` and the device ask for, and what else the cluster is told.

    Raises AttnshiftError for what is no number, and for a device that contradicts the GPUs or names one of them.
    """
    rest = dict(cluster)
    gpus, cpus, memory = (_number(rest, name) for name in ("gpus", "cpus", "memory"))
    if device not in (None, "cpu", "cuda", "auto"):
        raise AttnshiftError(
            f"--device {device}: which GPU a checkpoint gets is the cluster's choice",
            expected="--device cpu, cuda or auto, or none",
            remedy="--cluster gpus=1 says how many",
        )
    if device == "cpu" and gpus:
        raise AttnshiftError(f"--device cpu contradicts --cluster gpus={gpus:g}", expected="one of them")
    if device is not None and gpus is None:
        gpus = 0.0 if device == "cpu" else 1.0
    return Share(gpus, int(cpus or 1), memory), rest


def device_of(gpus: float) -> str:
    """The device of a model that is given so many GPUs."""
    return "cpu" if not gpus else "cuda" if gpus <= 1 else "auto"


def own_modules() -> list[str]:
    """Where this process finds modules that aren't installed, for workers on machines that share its files."""
    installed = tuple({sys.prefix, sys.base_prefix})
    return [path or os.getcwd() for path in sys.path if not path.startswith(installed)]


def _number(options: dict[str, Any], name: str) -> float | None:
    given = options.pop(name, None)
    if given is None:
        return None
    try:
        value = float(given)
    except (TypeError, ValueError):
        value = -1.0
    whole = name != "memory" and (name == "cpus" or value > 1)
    if not 0 <= value < 1e6 or (whole and value != int(value)) or (name == "cpus" and value < 1):
        raise AttnshiftError(f"--cluster {name}={given} is no amount of {name}", expected="a number, such as 1")
    return value
