"""kill -9 at random points, again and again: the trace that comes out is the one of an undisturbed run, bit for bit."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import kill_driver
import numpy as np
import psutil
import pytest

from attnshift.tracing.dataset import open_trace
from attnshift.tracing.netcdf import read_netcdf

pytestmark = pytest.mark.slow

PATIENCE = 1800
"""Seconds; everything takes a while on a busy machine."""


def assert_same_bits(here: Path, there: Path) -> None:
    """The same files with the same variables and attributes, and nothing else in the folder but locks."""
    names = sorted(file.name for file in there.iterdir())
    assert sorted(file.name for file in here.iterdir()) == names
    for name in (name for name in names if not name.endswith(".lock")):
        if name == "failures.json":
            assert (here / name).read_bytes() == (there / name).read_bytes()
            continue
        a, b = read_netcdf(here / name), read_netcdf(there / name)
        assert a.attrs == b.attrs or json.dumps(a.attrs, default=str) == json.dumps(b.attrs, default=str)
        assert sorted(a.variables) == sorted(b.variables)
        for variable in a.variables:
            x, y = a[variable], b[variable]
            assert (x.dims, x.dtype, {k: str(v) for k, v in x.attrs.items()}) == (
                y.dims,
                y.dtype,
                {k: str(v) for k, v in y.attrs.items()},
            )
            if x.dtype.kind in "fiub":
                assert x.values.tobytes() == y.values.tobytes(), (name, variable)
            else:
                np.testing.assert_array_equal(x.values, y.values, err_msg=f"{name}: {variable}")


@pytest.mark.parametrize(("lora", "kills"), [(False, 50), (True, 10)], ids=["full", "lora"])
def test_killed_at_random_points_and_resumed(made, tmp_path, lora, kills):
    facts = driven(made("llama", lora=lora), tmp_path, kills)
    assert set(facts["kills"]) == set(kill_driver.MODES)
    whole = open_trace(tmp_path / "whole")
    assert open_trace(tmp_path / "0").drop_attrs().identical(whole.drop_attrs())
    assert whole.step.values.tolist() == [0, 2, 4]


def test_interrupted_at_random_points_and_resumed(made, tmp_path):
    facts = driven(made("llama"), tmp_path, 10, "SIGINT", "SIGTERM")
    assert set(facts["kills"]) == {"SIGINT", "SIGTERM"}


def driven(run: Path, directory: Path, kills: int, *signals: str) -> dict[str, Any]:
    """What the driver says of its kills, after every round's trace was compared with the undisturbed one."""
    words = [sys.executable, kill_driver.__file__, str(run), str(directory), "0", str(kills), *signals]
    done = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE, env=environment())
    assert done.returncode == 0, done.stderr[-5000:]
    facts = json.loads(done.stdout)
    print(facts)  # shown by pytest -s
    assert sum(facts["kills"].values()) >= kills
    for number in range(facts["rounds"]):
        assert_same_bits(directory / str(number), directory / "whole")
    return dict(facts)


def test_the_command_itself_killed_at_random_points(made, tmp_path):
    run, rng = made("llama"), random.Random(1)
    words = kill_driver.arguments(run, tmp_path / "killed")
    whole = started(kill_driver.arguments(run, tmp_path / "whole"))
    used = seconds_used(whole, float("inf"))
    assert whole.returncode == 0
    held: kill_driver.Marks = {}
    for share in (rng.uniform(0, 0.5), *(rng.uniform(0.7, 1) for _ in range(3))):
        process = started(words)
        seconds_used(process, share * used)
        assert process.returncode in (0, -signal.SIGKILL)
        now = kill_driver.marks(tmp_path / "killed")
        assert {name: mark for name, mark in held.items() if name != "inputs.nc"}.items() <= now.items()
        held = now
    last = started(words)
    seconds_used(last, float("inf"))
    assert last.returncode == 0
    assert_same_bits(tmp_path / "killed", tmp_path / "whole")


def started(words: list[str]) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "attnshift", *words]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment())


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1"}


def seconds_used(process: subprocess.Popen[bytes], most: float) -> float:
    """Wait for a process, or kill it after so much processor time; what it used."""
    watched, used, deadline = psutil.Process(process.pid), 0.0, time.monotonic() + PATIENCE
    while process.poll() is None:
        assert time.monotonic() < deadline
        try:
            used = sum(watched.cpu_times()[:2])
        except psutil.Error:  # it is over
            continue
        if used >= most:
            process.kill()
        time.sleep(0.005)
    return used
