"""Every arm from the command to the figure, on a tiny Llama with a BPE tokenizer."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from made import base_of, data_of

from attnshift import cli
from attnshift.training.arms import ARMS

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    return base_of(tmp_path_factory.mktemp("arms") / "base", chat=True)


@pytest.fixture
def command(monkeypatch, capsys) -> Callable[..., str]:
    """Runs the command line, which must succeed; what it printed."""

    def run(*arguments: object) -> str:
        monkeypatch.setattr(sys, "argv", ["attnshift", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        printed = capsys.readouterr()
        assert not ended.value.code, printed.err
        return printed.out

    return run


@pytest.mark.parametrize(("arm", "lora"), [*((arm, None) for arm in ARMS), ("full", 4), ("qk", 4)])
def test_from_command_to_figure(arm, lora, base, command, tmp_path):
    data, conflicts = data_of(tmp_path)
    run, figure = tmp_path / "run", tmp_path / "figure.json"
    files = ("--base", base, "--data", data, "--conflicts", conflicts, "-o", run)
    length = ("--steps", 6, "--batch-size", 8, "--saves", 2, "--lr", 1e-3, "--max-new-tokens", 4, "--device", "cpu")
    only = ("--arm", arm, "--overlap", "question", "--ratio", 0.2, *(("--lora", lora) if lora else ()))
    command("finetune", *files, *length, *only)
    traced = json.loads(command("trace", "--ckpts", run, "--json", "--device", "cpu"))
    assert traced["computed"] == [0, 1, 6]
    assert traced["failed"] == {}
    command("plot", run / "trace", "inversion", "-o", figure)
    drawn = json.loads(figure.read_text())
    assert any(len(curve.get("x", ())) for curve in drawn["data"])
