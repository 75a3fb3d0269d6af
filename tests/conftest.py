from __future__ import annotations

import os
import signal
import sys
import warnings
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["HF_HUB_OFFLINE"] = "1"  # no test may reach for the network
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as shells start what runs in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)
sys.path.insert(0, str(Path(__file__).parent))

import pytest


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory):
    """Runs by the HF Trainer, made once per session: ``made("llama", lora=True)`` is the run's directory."""
    import torch
    from tiny import trainer_run

    torch.set_num_threads(1)
    runs: dict[tuple, Path] = {}

    def make(family: str = "llama", **options) -> Path:
        key = (family, *sorted(options.items()))
        if key not in runs:
            runs[key] = trainer_run(tmp_path_factory.mktemp(family) / "run", family, **options)
        return runs[key]

    return make


@pytest.fixture
def command(monkeypatch, capsys):
    """``command("inspect", run)`` runs the command line in this process and says how it ended."""
    from command_line import Done

    from attnshift import cli

    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)  # main() replaces it

    def run(*arguments: object) -> Done:
        monkeypatch.setattr(sys, "argv", ["attnshift", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        printed = capsys.readouterr()
        return Done(ended.value.code or 0, printed.out, printed.err)

    return run
