"""The demo and the notebook on what it wrote, as a newcomer runs them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import attnshift

ROOT = Path(__file__).parents[1]


def run(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, *command], cwd=ROOT, env=os.environ | environment, capture_output=True, text=True, timeout=1200
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done


@pytest.mark.slow
def test_demo_and_notebooks_run(tmp_path):
    run("-m", "analyses.first_light", "--out", str(tmp_path))
    trace = attnshift.open_trace(tmp_path / "trace")
    assert trace.step.values.tolist() == [0, 5, 10, 20, 40, 80]
    assert trace.sizes["item"] >= 150
    assert trace.sizes["example"] >= 200
    loss = trace.loss.sel(example=trace.split == "train").mean("example")
    assert float(loss[-1]) < float(loss[0]) - 1  # it was trained
    for name in ("inversion", "gradients", "margin"):
        assert (tmp_path / f"{name}.html").stat().st_size > 100_000
    for notebook in sorted((ROOT / "notebooks").glob("*.py")):
        run(str(notebook), ATTNSHIFT_DEMO=str(tmp_path))
