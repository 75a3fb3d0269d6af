"""What a result was measured on."""

from __future__ import annotations

import os
import platform
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from benchmarks.bench import Bench

PACKAGES = ("attnshift", "torch", "transformers", "transformer-lens", "peft", "nnsight")


def environment(bench: Bench) -> dict[str, Any]:
    """Versions, processor, threads and settings."""
    return {
        "date": date.today().isoformat(),
        "python": platform.python_version(),
        "packages": {name: found for name in PACKAGES if (found := _version(name))},
        "processor": _processor(),
        "processors": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name(bench.device) if bench.device.type == "cuda" else "cpu",
        "pairs": bench.pairs,
        "quick": bench.quick,
    }


def described(found: dict[str, Any]) -> str:
    """The same as a sentence."""
    packages = ", ".join(f"{name} {number}" for name, number in found["packages"].items())
    device = found["processor"] if found["device"] == "cpu" else f"{found['device']} ({found['processor']})"
    quick = " Tiny shapes: these numbers say nothing." if found["quick"] else ""
    return (
        f"Measured on {found['date']}: {device}, {found['processors']} processors, {found['threads']} thread(s), "
        f"{found['pairs']} pairs; Python {found['python']}, {packages}.{quick}"
    )


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
