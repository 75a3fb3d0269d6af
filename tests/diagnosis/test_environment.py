"""Checks of the machine, on machines that lack something."""

from __future__ import annotations

import builtins
import tempfile
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from attnshift.diagnosis import environment as machine
from attnshift.diagnosis.check import Check
from attnshift.diagnosis.doctor import doctor


@pytest.fixture(scope="module")
def here() -> dict[str, Check]:
    return {check.name: check for check in machine.environment()}


def test_the_machine_that_runs_the_tests(here):
    names = "python packages extras libraries devices memory threads browser temporary_files hub_cache"
    assert list(here) == names.split()
    assert not [check for check in here.values() if check.status == "fail"]
    assert f"torch {torch.__version__}" in here["packages"].seen


def test_a_python_that_is_too_old(monkeypatch):
    monkeypatch.setattr(machine.platform, "python_version", lambda: "3.9.1")
    assert machine._python().status == "fail"
    assert "3.9.1" in machine._python().seen


def test_versions_that_do_not_fit(monkeypatch):
    real = machine.version

    def version(package: str) -> str:
        if package == "xarray":
            raise PackageNotFoundError(package)
        return "4.44.0" if package == "transformers" else real(package)

    monkeypatch.setattr(machine, "version", version)
    found = machine._packages()
    assert found.status == "fail"
    assert "transformers 4.44.0, supported is" in found.seen
    assert "xarray is missing" in found.seen
    assert found.remedy.startswith("pip install ")
    assert "'transformers" in found.remedy


def test_an_extra_that_is_missing(monkeypatch):
    real = machine.version

    def version(package: str) -> str:
        if package in ("kaleido", "submitit"):
            raise PackageNotFoundError(package)
        return real(package)

    monkeypatch.setattr(machine, "version", version)
    found = machine._extras()
    assert found.status == "ok"
    assert "figures lacks kaleido" in found.seen
    assert "slurm lacks submitit" in found.seen
    assert found.remedy == "pip install 'attnshift[figures,slurm]' if wanted"


def test_an_attnshift_that_is_only_imported(monkeypatch):
    def nowhere(package: str) -> object:
        raise PackageNotFoundError(package)

    monkeypatch.setattr(machine, "requires", nowhere)
    monkeypatch.setattr(machine, "metadata", nowhere)
    for check in (machine._python(), machine._packages(), machine._extras()):
        assert check.status == "skipped"
        assert "pip install" in check.remedy


def test_libraries_that_do_not_go_together_end_it(monkeypatch):
    real = builtins.__import__

    def broken(name: str, *rest: object, **more: object) -> object:
        if name == "attnshift.tracing.job":
            raise ImportError("cannot import name 'GenerationMixin'\nfrom transformers")
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", broken)
    found = doctor("a run that isn't looked at")
    assert found.status == "fail"
    told = next(check for check in found.environment if check.name == "libraries")
    assert told.seen == "they can't be imported: ImportError: cannot import name 'GenerationMixin'"
    assert (found.run, found.folder, found.tokens, found.data) == (None, (), (), ())


def test_gpus(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda i: f"card {i}")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda i: (int(70e9), int(80e9)))
    assert machine._devices().seen == "2 GPU: card 0, 70.0 GB of 80.0 GB free; card 1, 70.0 GB of 80.0 GB free"


def test_a_gpu_that_torch_cannot_use(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(machine.shutil, "which", lambda name: f"/usr/bin/{name}")
    found = machine._devices()
    assert found.status == "warn"
    assert "/usr/bin/nvidia-smi" in found.seen
    assert torch.__version__ in found.seen


def test_a_control_group_that_leaves_little(monkeypatch):
    monkeypatch.setattr(machine, "free_host_bytes", lambda: int(2e8))
    found = machine._memory()
    assert found.status == "warn"
    assert found.seen.startswith("0.2 GB can be had: a control group allows less")


def test_more_threads_than_cores(monkeypatch):
    monkeypatch.setattr(machine, "_cores", lambda: 1)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 64)
    found = machine._threads()
    assert found.status == "warn"
    assert found.remedy == "export OMP_NUM_THREADS=1"


def test_browsers(monkeypatch, tmp_path):
    monkeypatch.setattr("attnshift.figures.export.find_browser", lambda: None)
    assert machine._browser().status == "warn"
    broken = tmp_path / "chrome"
    broken.write_text("#!/bin/sh\nexit 3\n")
    broken.chmod(0o755)
    monkeypatch.setattr("attnshift.figures.export.find_browser", lambda: str(broken))
    assert machine._browser().status == "warn"
    assert str(broken) in machine._browser().seen
    broken.write_text("#!/bin/sh\necho Chromium 99.0 built on something\n")
    assert machine._browser() == Check("browser", "ok", f"{broken}: Chromium 99.0")


def test_temporary_files(monkeypatch, tmp_path):
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    assert machine._temporary().status == "warn"
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path / "gone"))
    found = machine._temporary()
    assert found.status == "fail"
    assert "TMPDIR" in found.remedy


def test_the_hubs_cache(monkeypatch, tmp_path):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert machine._hub().status == "warn"
    (Path(tmp_path) / "models--EleutherAI--pythia-70m").mkdir()
    found = machine._hub()
    assert found.status == "ok"
    assert "1 models (EleutherAI/pythia-70m)" in found.seen
