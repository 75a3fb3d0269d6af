"""The same trace from a Ray cluster that loses a node, and from SLURM jobs; what can't be had is refused at once."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import time
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import gettempdir
from threading import Thread
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
from tiny_traces import assert_same, options, series

import attnshift
from attnshift.measures.measure import Measure, Observation
from attnshift.tracing.backends import ray_cluster
from attnshift.tracing.backends.choice import choose_backend
from attnshift.tracing.backends.cluster import split_share

SOME = ["margin", "attention_mass", "loss", "gradient_norm"]

PROMPT = {"RAY_worker_niceness": "0"}
"""Ray's workers give way to everything else on a machine: tests have others beside them."""


@pytest.fixture(scope="module")
def run(made) -> Path:
    return made("llama")


@dataclass(frozen=True)
class Stuck(Measure):
    """A log-probability; on one node of a cluster it says that it is there and waits to be killed, others wait."""

    folder: str

    name, unit, dims, needs = "stuck", "nats", ("item",), frozenset({"context_answer"})

    def compute(self, seen: Observation) -> np.ndarray:
        ray = sys.modules.get("ray")
        if ray is not None and ray.is_initialized():
            doomed, there = (Path(self.folder) / name for name in ("doomed", "there"))
            if ray.get_runtime_context().get_node_id() == doomed.read_text():
                there.touch()
                time.sleep(300)
            deadline = time.monotonic() + 120
            while not there.exists() and time.monotonic() < deadline:
                time.sleep(0.05)
        return np.nansum(seen.get("context_answer").logprob, -1)


@pytest.fixture(scope="module")
def nodes(tmp_path_factory):
    """A cluster of two nodes behind a token; ``lose()`` kills the second one."""
    token = tmp_path_factory.mktemp("token") / "token"
    token.write_text("a1" * 32)
    settings = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token), "RAY_USAGE_STATS_ENABLED": "0"}
    settings |= {"RAY_health_check_period_ms": "1000", "RAY_health_check_failure_threshold": "3"}  # a loss is noticed
    settings |= PROMPT
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setenv(name, value)
        process = subprocess.Popen(
            [sys.executable, Path(__file__).parents[1] / "ray_nodes.py"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        address, second = process.stdout.readline().split()
        started = psutil.Process(process.pid).children(recursive=True)

        def lose() -> None:
            process.stdin.write("lose\n")
            process.stdin.flush()
            assert process.stdout.readline() == "lost\n"

        try:
            yield SimpleNamespace(address=address, second=second, lose=lose)
        finally:
            process.communicate()
            assert not psutil.wait_procs(started, timeout=30)[1], "Ray's processes are left behind"


@pytest.mark.slow
def test_ray_asks_for_no_gpu_that_is_not_there(nodes):
    with pytest.raises(attnshift.AttnshiftError) as error:
        choose_backend("ray", 2, {"address": nodes.address, "gpus": "1"}).__enter__()
    assert "no node of the Ray cluster has gpus=1" in error.value.problem
    assert "2 nodes: 1 CPUs and 0 GPUs" in error.value.problem
    assert error.value.remedy == "--device cpu"


@pytest.mark.slow
def test_ray_refuses_a_wrong_token_at_once(nodes, run, tmp_path):
    wrong = tmp_path / "token"
    wrong.write_text("b2" * 32)
    ended = subprocess.run(
        [sys.executable, "-c", _ENTER, nodes.address],
        env={**os.environ, "RAY_AUTH_TOKEN_PATH": str(wrong)},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert ended.stdout.startswith(f"the Ray cluster at '{nodes.address}' refuses this token"), ended
    assert "ray get-auth-token" in ended.stdout
    assert ended.stderr == ""


_ENTER = """
import sys
from attnshift.errors import AttnshiftError
from attnshift.tracing.backends.choice import choose_backend
try:
    choose_backend("ray", 1, {"address": sys.argv[1]}).__enter__()
except AttnshiftError as error:
    print(error)
"""


@pytest.mark.slow
def test_a_ray_cluster_that_loses_a_node_in_the_middle_gives_the_same_variables(nodes, run, tmp_path):
    """The node is killed while a checkpoint is measured on it; the other node does it again."""
    (tmp_path / "doomed").write_text(nodes.second)
    measures = [*SOME, Stuck(str(tmp_path))]
    killer = Thread(target=lambda: _when(tmp_path / "there", nodes.lose), daemon=True)
    killer.start()
    seen = []
    from_ray = attnshift.trace(
        series(run),
        **options(run, tmp_path / "ray", measures=measures),
        backend="ray",
        cluster={"address": nodes.address},
        progress=lambda said: seen.append((said.step, said.error)),
    )
    killer.join(30)
    assert not killer.is_alive()
    assert sorted(seen) == [(0, ""), (2, ""), (4, "")]
    assert_same(from_ray, attnshift.trace(series(run), **options(run, tmp_path / "local", measures=measures)))


def _when(file: Path, action) -> None:
    while not file.exists():
        time.sleep(0.05)
    action()


@pytest.mark.slow
def test_ray_on_this_machine_by_the_command_line(run, tmp_path):
    """A cluster that is started for it, in an environment without any setting; the token goes with the process."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    words = ["trace", "--ckpts", run, "--conflicts", run.parent / "cf.json", "--out", tmp_path / "t", "--steps", "2"]
    words += ["--measures", "margin", "--backend", "ray", "--workers", "1"]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")} | PROMPT
    clean |= {"RAY_TMPDIR": gettempdir()}  # where paths are short enough for its sockets
    ended = subprocess.run(
        [sys.executable, "-m", "attnshift", *map(str, words)],
        env={**clean, "TMPDIR": str(folder), "HOME": str(folder)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ended.returncode == 0, ended
    local = options(run, tmp_path / "local", measures=["margin"], steps=[2], examples=None, max_new_tokens=None)
    assert_same(attnshift.open_trace(tmp_path / "t"), attnshift.trace(attnshift.open_series(run), **local))
    assert not list(folder.glob("attnshift-ray-*"))
    assert not (folder / ".ray").exists()


@pytest.mark.slow
def test_slurm_jobs_run_as_processes_give_the_same_variables(run, tmp_path):
    """One of them is killed with SIGKILL over its work and submitted again."""
    (tmp_path / "died").mkdir()
    measures = [*SOME, Once(str(tmp_path / "died"))]
    local = attnshift.trace(series(run), **options(run, tmp_path / "local", measures=measures))
    (tmp_path / "died" / "armed").touch()
    from_jobs = attnshift.trace(
        series(run),
        **options(run, tmp_path / "jobs", measures=measures),
        backend="slurm",
        workers=2,
        cluster={"executor": "local", "time": 5},
    )
    assert_same(from_jobs, local)
    assert [each.name for each in (tmp_path / "died").iterdir()] == ["dead"]
    (folder,) = (tmp_path / "jobs" / "jobs").iterdir()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(each.stat().st_mode) for each in folder.glob("*.pkl") if "_" not in each.name} == {0o600}


@dataclass(frozen=True)
class Once(Measure):
    """A log-probability; the first process that is armed for it dies."""

    folder: str

    name, unit, dims, needs = "once", "nats", ("item",), frozenset({"context_answer"})

    def compute(self, seen: Observation) -> np.ndarray:
        armed = Path(self.folder) / "armed"
        if armed.exists():
            armed.rename(armed.with_name("dead"))
            os.kill(os.getpid(), 9)
        return np.nansum(seen.get("context_answer").logprob, -1)


@pytest.mark.parametrize(
    ("name", "cluster", "told", "helps"),
    [
        ("ray", {"address": "127.0.0.1:1"}, "no Ray cluster can be reached at '127.0.0.1:1'", "ray status"),
        ("ray", {"address": "nonsense"}, "'nonsense'", "host:port"),
        ("ray", {"partition": "gpu"}, "Ray isn't told that", "address"),
        ("ray", {"gpus": "many"}, "gpus=many", "a number"),
        ("ray", {"cpus": "0"}, "cpus=0", "a number"),
        ("slurm", {"gpus": "0.5"}, "whole GPUs", "a whole number"),
        ("slurm", {}, "no sbatch", "executor=local"),
        ("slurm", {"executor": "cloud"}, "executor=cloud", "slurm or local"),
        ("slurm", {"time": "soon"}, "time=soon", "minutes"),
    ],
)
def test_what_a_cluster_cannot_do_is_refused_at_once(name, cluster, told, helps, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(attnshift.AttnshiftError) as error:
        choose_backend(name, 2, cluster).__enter__()
    assert told in error.value.problem
    assert helps in str(error.value)


@pytest.mark.parametrize(("name", "library"), [("ray", "ray"), ("slurm", "submitit")])
def test_a_library_that_is_not_installed_is_named(name, library, monkeypatch):
    for module in (ray_cluster, __import__("attnshift.tracing.backends.slurm", fromlist=["slurm"])):
        monkeypatch.setattr(module, "find_spec", lambda name: None if name == library else find_spec(name))
    with pytest.raises(attnshift.AttnshiftError) as error:
        choose_backend(name)
    assert "isn't installed" in error.value.problem
    assert error.value.remedy == f"pip install 'attnshift[{name}]'"


def test_an_option_that_sbatch_does_not_have_is_refused(run, tmp_path):
    with pytest.raises(attnshift.AttnshiftError, match="can't say that to SLURM") as error:
        attnshift.trace(
            series(run),
            **options(run, tmp_path, measures=["margin"]),
            backend="slurm",
            cluster={"executor": "local", "colour": "red"},
        )
    assert "colour" in error.value.problem


@pytest.mark.parametrize(
    ("cluster", "device", "gpus"),
    [({}, None, None), ({}, "cpu", 0), ({}, "cuda", 1), ({"gpus": "8"}, "auto", 8), ({"gpus": "0.5"}, None, 0.5)],
)
def test_devices_and_gpus_say_the_same(cluster, device, gpus):
    assert split_share(cluster, device)[0].gpus == gpus


def test_checkpoints_that_share_a_gpu_share_its_memory():
    assert choose_backend("ray", None, {"gpus": "0.25"}).share == 4
    assert choose_backend("ray", None, {"gpus": "2"}).share == 1


@pytest.mark.parametrize(("cluster", "device"), [({"gpus": "1"}, "cpu"), ({}, "cuda:1"), ({"gpus": "1.5"}, None)])
def test_devices_that_a_cluster_cannot_honour_are_refused(cluster, device):
    with pytest.raises(attnshift.AttnshiftError):
        split_share(cluster, device)


def test_a_token_that_we_make_is_for_nobody_else(monkeypatch, tmp_path):
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_AUTH_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    settings = ray_cluster._settings("local")
    token = Path(settings["RAY_AUTH_TOKEN_PATH"])
    assert stat.S_IMODE(token.stat().st_mode) == 0o600
    assert stat.S_IMODE(token.parent.stat().st_mode) == 0o700
    assert len(token.read_text()) == 64
    assert settings["RAY_AUTH_MODE"] == "token"
    assert ray_cluster._settings("local")["RAY_AUTH_TOKEN_PATH"] == str(token)


def test_a_token_that_is_there_is_used_and_a_wish_for_none_kept(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_AUTH_MODE"):
        monkeypatch.delenv(name, raising=False)
    assert "RAY_AUTH_MODE" not in ray_cluster._settings("10.0.0.1:6379")
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text("c3")
    for address in ("local", "10.0.0.1:6379"):
        settings = ray_cluster._settings(address)
        assert settings["RAY_AUTH_MODE"] == "token"
        assert "RAY_AUTH_TOKEN_PATH" not in settings
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    assert ray_cluster._settings("local")["RAY_AUTH_MODE"] == "disabled"
