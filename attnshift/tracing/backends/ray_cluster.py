"""Checkpoints as tasks of a Ray cluster: an existing one, or one that is started here for as long as it takes."""

from __future__ import annotations

import atexit
import os
import secrets
import socket
import sys
from collections import Counter
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import Any

from attnshift.errors import AttnshiftError, CheckpointError
from attnshift.tracing.backends.backend import ATTEMPTS, Backend, Done, E, repeat_warnings
from attnshift.tracing.backends.cluster import Share, device_of, own_modules, split_share
from attnshift.tracing.backends.elsewhere import Post, packed
from attnshift.tracing.job import Job

_LOOK_AGAIN = 20.0
"""Seconds without an answer after which it is checked that some node could still give one."""

_CONNECT_SECONDS = 5.0


class Ray(Backend):
    """A task per errand. What Ray can't do is said before anything is submitted."""

    device = "cpu"

    def __init__(self, workers: int | None, cluster: Mapping[str, Any], device: str | None) -> None:
        self._share, rest = split_share(cluster, device)
        self._address = rest.pop("address", None) or os.environ.get("RAY_ADDRESS") or "local"
        if rest:
            raise AttnshiftError(
                f"--cluster {', '.join(rest)}: Ray isn't told that", expected="address, gpus, cpus, memory"
            )
        self._workers = workers
        self.share = round(1 / min(1.0, self._share.gpus or 1.0))
        self._open = ExitStack()
        if find_spec("ray") is None:
            raise AttnshiftError(
                "--backend ray: Ray isn't installed",
                expected="ray beside attnshift, of the cluster's version",
                remedy="pip install 'attnshift[ray]'",
            )

    def __enter__(self) -> Ray:
        with ExitStack() as stack:
            self._ray = stack.enter_context(_connected(self._address, self._share, self._workers))
            self._gpus = self._share.gpus
            if self._gpus is None:
                self._gpus = float(any(node.get("GPU", 0) >= 1 for node in self._nodes()))
            self._refuse_impossible()
            self._open = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def perform(self, job: Job, errands: Sequence[E]) -> Generator[tuple[E, Done], None, None]:
        """As they end. An errand whose worker or node is lost is submitted again, `ATTEMPTS` times in all."""
        ray, sent = self._ray, self._ray.put(packed(job))
        task = ray.remote(_attempt).options(
            num_gpus=self._gpus,
            num_cpus=self._share.cpus,
            memory=None if self._share.memory is None else int(self._share.memory * 1e9),
            max_retries=0,  # counted here: Ray would try for ever what runs out of memory
        )
        waiting, running = list(reversed(errands)), dict[Any, E]()
        losses: Counter[int] = Counter()
        try:
            while waiting or running:
                while waiting and (self._workers is None or len(running) < self._workers):
                    errand = waiting.pop()
                    reference = task.remote(sent, packed(errand), device_of(self._gpus or 0), self._share.cpus)
                    running[reference] = errand
                ended, _ = ray.wait(list(running), num_returns=1, timeout=_LOOK_AGAIN)
                if not ended:
                    self._refuse_impossible()
                for reference in ended:
                    errand = running.pop(reference)
                    done = self._answer(reference)
                    if isinstance(done, str):
                        losses[id(errand)] += 1
                        if losses[id(errand)] < ATTEMPTS:
                            self._refuse_impossible()
                            waiting.append(errand)
                            continue
                        done = Done(0.0, error=_lost(done))
                    repeat_warnings(done)
                    yield errand, done
        finally:
            for reference in running:
                ray.cancel(reference, force=True)

    def _answer(self, reference: Any) -> Done | str:
        """What came of a task, or how it was lost; raises AttnshiftError where attnshift isn't there at all."""
        exceptions = self._ray.exceptions
        try:
            done: Done = self._ray.get(reference)
        except exceptions.RayTaskError as error:  # an errand's own errors are in its `Done`
            raise AttnshiftError(
                f"the cluster's workers can't run attnshift: {str(error).strip().splitlines()[-1]}",
                expected="the same attnshift, torch and transformers on every node",
                remedy="pip install attnshift on the nodes, or a container with it",
            ) from error
        except exceptions.RayError as error:
            return f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"
        return done

    def _nodes(self) -> list[Mapping[str, float]]:
        return [node["Resources"] for node in self._ray.nodes() if node["Alive"]]

    def _refuse_impossible(self) -> None:
        """Raise where no node that is alive has what a checkpoint is to be given: Ray would wait for ever."""
        wanted = {"CPU": float(self._share.cpus), "GPU": float(self._gpus or 0)}
        wanted["memory"] = (self._share.memory or 0) * 1e9
        nodes = self._nodes()
        if any(all(node.get(name, 0) >= amount for name, amount in wanted.items()) for node in nodes):
            return
        has = ", ".join(f"{node.get('CPU', 0):g} CPUs and {node.get('GPU', 0):g} GPUs" for node in nodes[:4])
        asked = f"gpus={wanted['GPU']:g} cpus={wanted['CPU']:g}"
        asked += "" if self._share.memory is None else f" memory={self._share.memory:g}"
        raise AttnshiftError(
            f"no node of the Ray cluster has {asked} for a checkpoint; it has {len(nodes)} nodes: {has or 'none'}",
            expected="a node that has all of it",
            remedy="--device cpu" if wanted["GPU"] and not any(n.get("GPU") for n in nodes) else "ask for less",
        )


@lru_cache(maxsize=1)
def _post(device: str, threads: int) -> Post:
    """This worker process's: its model serves the next task that it is given."""
    from attnshift.models.quiet import quiet_libraries

    quiet_libraries()
    return Post(device, threads)


def _attempt(job: bytes, errand: bytes, device: str, threads: int) -> Done:
    return _post(device, threads).attempt(job, errand)


@contextmanager
def _connected(address: str, share: Share, workers: int | None) -> Iterator[Any]:
    """Ray, connected. A connection that somebody has made already is used and left alone."""
    with ExitStack() as stack:
        connected = sys.modules["ray"].is_initialized() if "ray" in sys.modules else False
        if not connected:
            stack.enter_context(_environment(_settings(address)))
        import ray

        if connected:
            yield ray
            return
        quiet: dict[str, Any] = {
            "log_to_driver": False,
            "logging_level": "ERROR",
            "runtime_env": {"env_vars": {"PYTHONPATH": os.pathsep.join(own_modules())}},
        }
        if address == "local":
            cpus = max(os.cpu_count() or 1, share.cpus * (workers or 1))
            quiet |= {"num_cpus": cpus, "include_dashboard": False}
        elif address != "auto":
            _refuse_unreachable(address)
        try:
            with _silent_stderr():
                ray.init(address=address, **quiet)
        except Exception as error:  # of several kinds
            raise _refusal(address, error) from error
        stack.callback(ray.shutdown)
        yield ray


def _settings(address: str) -> dict[str, str]:
    """What Ray reads in the environment: a token for a cluster of our own, and that a token which is there counts."""
    settings = {"RAY_USAGE_STATS_ENABLED": "0"}
    if address != "local":
        settings["RAY_NUM_REDIS_GET_RETRIES"] = "3"  # seconds until a refusal is told
    if "RAY_AUTH_MODE" in os.environ:
        settings["RAY_AUTH_MODE"] = os.environ["RAY_AUTH_MODE"]
    named = any(os.environ.get(name) for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"))
    if named or (Path.home() / ".ray" / "auth_token").is_file():
        settings.setdefault("RAY_AUTH_MODE", "token")
    elif address == "local" and settings.get("RAY_AUTH_MODE") != "disabled":
        settings["RAY_AUTH_TOKEN_PATH"] = str(_own_token())
        settings["RAY_AUTH_MODE"] = "token"
    return settings


@lru_cache(maxsize=1)
def _own_token() -> Path:
    """A file with a new token that nobody else can read, while this process lives; Ray's own is for everybody to read.

    One for all of the clusters that this process starts: Ray reads it once.
    """
    folder = mkdtemp(prefix="attnshift-ray-")
    atexit.register(rmtree, folder, ignore_errors=True)
    path = Path(folder) / "token"
    with open(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w", encoding="ascii") as file:
        file.write(secrets.token_hex(32))
    return path


@contextmanager
def _environment(settings: Mapping[str, str]) -> Iterator[None]:
    """Set variables of the environment for a while."""
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


@contextmanager
def _silent_stderr() -> Iterator[None]:
    """Keep quiet what is written beside Python: Ray's core repeats each refused attempt."""
    with open(os.devnull, "w") as nowhere:
        kept = os.dup(2)
        try:
            os.dup2(nowhere.fileno(), 2)
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def _refuse_unreachable(address: str) -> None:
    """Raise where nothing listens at an address; Ray would look for more than a minute."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=_CONNECT_SECONDS):
            return
    except (OSError, ValueError) as error:
        raise AttnshiftError(
            f"no Ray cluster can be reached at {address!r}: {error}",
            expected="host:port of a running cluster (6379), or ray://host:port (10001) from outside of it",
            remedy="ray status on its head; without an address a cluster is started on this machine",
        ) from error


def _refusal(address: str, error: Exception) -> AttnshiftError:
    """What to say where a cluster is there and can't be used."""
    said = f"{error} {error.__cause__}"
    if "AuthToken" in said or "uthentication" in said:
        return AttnshiftError(
            f"the Ray cluster at {address!r} refuses this token, or that there is none",
            expected="the cluster's token in ~/.ray/auth_token, RAY_AUTH_TOKEN_PATH or RAY_AUTH_TOKEN",
            remedy="copy that file from the cluster's head (ray get-auth-token shows the token there)",
        )
    if address == "local":
        return AttnshiftError(
            f"a Ray cluster can't be started on this machine: {str(error).strip().splitlines()[0]}",
            remedy="--backend local, or the address of a running one with --cluster address=host:port",
        )
    return AttnshiftError(
        f"the Ray cluster at {address!r} can't be used: {str(error).strip().splitlines()[0]}",
        expected="a cluster of the same versions of Ray and Python",
        remedy="ray status on its head",
    )


def _lost(how: str) -> CheckpointError:
    return CheckpointError(
        f"its task was lost {ATTEMPTS} times; the last time {how}",
        expected="memory for the weights and for a batch",
        remedy="--cluster memory=GB per checkpoint, a smaller --token-budget, or --dtype bfloat16",
    )
