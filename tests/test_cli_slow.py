"""The command line as a process of its own: killed and interrupted in the middle, then run again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from attnshift.tracing.netcdf import read_netcdf
from attnshift.tracing.store import Store

pytestmark = pytest.mark.slow

STEPS = [0, 2, 4, 6, 8, 10, 12]
PATIENCE = 600
"""Seconds; importing alone takes a while on a busy machine."""


def start(command: Sequence[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", "from attnshift.cli import main; main()", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def finish(command: Sequence[str]) -> dict[str, list[int]]:
    process = start(command)
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, err
    return json.loads(out)


def stop_at_first_step(command: Sequence[str], out: Path, by: signal.Signals) -> tuple[int, str]:
    """Send a signal as soon as the first step's file is there; the exit status and stderr."""
    process = start(command)
    deadline = time.monotonic() + PATIENCE
    while not Store(out).steps():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.send_signal(by)
    return process.wait(PATIENCE), process.communicate()[1]


def arguments(run: Path, out: Path) -> list[str]:
    files = ["--conflicts", run.parent / "cf.json", "--ift", run.parent / "alpaca.json"]
    options = ["--base", run.parent / "base", "--max-new-tokens", "8", "--device", "cpu", "--json"]
    return [str(word) for word in ["trace", "--ckpts", run, *files, *options, "--out", out]]


def assert_bit_identical(here: Path, there: Path) -> None:
    assert Store(here).steps() == Store(there).steps() == STEPS
    for name in ["inputs.nc", *(Store(here).file(step).name for step in STEPS)]:
        a, b = read_netcdf(here / name), read_netcdf(there / name)
        assert set(a.variables) == set(b.variables)
        assert name == "inputs.nc" or "attention_mass" in a
        for variable in a.variables:
            x, y = a[variable].values, b[variable].values
            assert x.dtype == y.dtype, variable
            if x.dtype.kind in "fiub":
                assert x.tobytes() == y.tobytes(), (name, variable)
            else:
                np.testing.assert_array_equal(x, y, err_msg=f"{name}: {variable}")


def assert_resumes(command: Sequence[str], out: Path) -> None:
    """The same command computes what is missing and touches nothing else."""
    kept = {step: Store(out).file(step).stat().st_mtime_ns for step in Store(out).steps()}
    assert 1 <= len(kept) < len(STEPS)
    resumed = finish(command)
    assert resumed["kept"] == list(kept)
    assert resumed["computed"] == [step for step in STEPS if step not in kept]
    assert {step: Store(out).file(step).stat().st_mtime_ns for step in kept} == kept
    assert not list(out.glob(".*.tmp"))


@pytest.mark.parametrize("lora", [False, True], ids=["full", "lora"])
def test_killed_then_resumed_is_bit_identical(made, tmp_path, lora):
    run = made("llama", lora=lora, steps=12)
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    status, _ = stop_at_first_step(arguments(run, killed), killed, signal.SIGKILL)
    assert status == -signal.SIGKILL
    assert_resumes(arguments(run, killed), killed)
    assert finish(arguments(run, whole))["computed"] == STEPS
    assert_bit_identical(killed, whole)


def test_control_c_ends_with_130_and_is_resumable(made, tmp_path):
    run = made("llama", lora=False, steps=12)
    status, err = stop_at_first_step(arguments(run, tmp_path), tmp_path, signal.SIGINT)
    assert status == 130, err
    assert "interrupted" in err
    assert "Traceback" not in err
    assert_resumes(arguments(run, tmp_path), tmp_path)
