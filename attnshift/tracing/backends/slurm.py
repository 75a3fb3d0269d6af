"""Checkpoints as jobs of a SLURM array, by submitit; or as plain processes, to try a sweep out without SLURM."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import time
from collections import Counter
from collections.abc import Generator, Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from attnshift.errors import AttnshiftError, CheckpointError
from attnshift.tracing.backends.backend import ATTEMPTS, Backend, Done, E, repeat_warnings
from attnshift.tracing.backends.cluster import device_of, own_modules, split_share
from attnshift.tracing.backends.elsewhere import Post, packed
from attnshift.tracing.job import Job

FOLDER = "jobs"
"""In the trace's folder: submitit's scripts, what jobs write, and the job that they are sent."""

_MINUTES = 240
_LOOK_EVERY = {"slurm": 5.0, "local": 0.1}
"""Seconds between two looks at what has ended."""


class Slurm(Backend):
    """An array with a job per errand. Who stops it cancels its jobs; who is killed leaves them to end by themselves."""

    device = "cpu"

    def __init__(self, workers: int | None, cluster: Mapping[str, Any], device: str | None) -> None:
        share, rest = split_share(cluster, device)
        self._executor = str(rest.pop("executor", "slurm"))
        gpus = share.gpus if share.gpus is not None else float(self._executor == "slurm")
        if gpus != int(gpus):
            raise AttnshiftError(f"--cluster gpus={gpus:g}: SLURM gives whole GPUs", expected="a whole number")
        self._device, self._threads, self._workers = device_of(gpus), share.cpus, workers
        self._told: dict[str, Any] = {"timeout_min": _minutes(rest.pop("time", _MINUTES)), "cpus_per_task": share.cpus}
        self._told |= {"gpus_per_node": int(gpus)} if gpus else {}
        self._told |= {"mem_gb": share.memory} if share.memory is not None else {}
        self._told |= {f"slurm_{name}": value for name, value in rest.items()}
        self._folders: dict[Path, Path] = {}
        if self._executor not in _LOOK_EVERY:
            raise AttnshiftError(f"--cluster executor={self._executor} is none", expected="slurm or local")
        if find_spec("submitit") is None:
            raise AttnshiftError(
                "--backend slurm: submitit isn't installed",
                expected="submitit beside attnshift",
                remedy="pip install 'attnshift[slurm]'",
            )
        if self._executor == "slurm" and shutil.which("sbatch") is None:
            raise AttnshiftError(
                "--backend slurm: there is no sbatch here",
                expected="a machine from which jobs are submitted to SLURM",
                remedy="run this on the cluster's login node, or try it here with --cluster executor=local",
            )

    def perform(self, job: Job, errands: Sequence[E]) -> Generator[tuple[E, Done], None, None]:
        """As they end. An errand whose job is lost is submitted again, `ATTEMPTS` times in all."""
        if job.store.path not in self._folders:
            self._folders[job.store.path] = _new_folder(job.store.path / FOLDER)
        folder = self._folders[job.store.path]
        executor = self._executor_in(folder)
        sent = _put(folder, packed(job))
        waiting, running = list(errands), dict[Any, E]()
        losses: Counter[int] = Counter()
        try:
            while waiting or running:
                running |= self._submit(executor, sent, waiting, len(running))
                ended = [each for each in running if each.done()]
                if not ended:
                    time.sleep(_LOOK_EVERY[self._executor])
                for each in ended:
                    errand, done = running.pop(each), _answer(each)
                    if isinstance(done, str):
                        losses[id(errand)] += 1
                        if losses[id(errand)] < ATTEMPTS:
                            waiting.append(errand)
                            continue
                        done = Done(0.0, error=_lost(done))
                    repeat_warnings(done)
                    yield errand, done
        finally:
            for each in running:
                each.cancel()

    def _submit(self, executor: Any, sent: Path, waiting: list[E], running: int) -> dict[Any, E]:
        """Submit what waits: all of it to SLURM, which takes care of how many run at once; else what is allowed."""
        room = len(waiting)
        if self._workers is not None and self._executor == "local":
            room = max(0, self._workers - running)
        batch, waiting[:] = waiting[:room], waiting[room:]
        if not batch:
            return {}
        task = partial(_attempt, str(sent), self._device, self._threads, own_modules())
        return dict(zip(executor.map_array(task, [packed(each) for each in batch]), batch, strict=True))

    def _executor_in(self, folder: Path) -> Any:
        import submitit

        executor = submitit.AutoExecutor(folder=folder, cluster=self._executor)
        told = dict(self._told)
        if self._workers is not None:
            told["slurm_array_parallelism"] = self._workers
        try:
            executor.update_parameters(name="attnshift", **told)
        except (NameError, TypeError, ValueError) as error:
            raise AttnshiftError(
                f"--cluster can't say that to SLURM: {error}",
                expected="gpus, cpus, memory, time, or an option of sbatch such as partition=gpu",
            ) from error
        return executor


def _attempt(job: str, device: str, threads: int, modules: list[str], errand: bytes) -> Done:
    sys.path += [each for each in modules if each not in sys.path]
    from attnshift.models.quiet import quiet_libraries

    quiet_libraries()
    return Post(device, threads).attempt(Path(job).read_bytes(), errand)


def _answer(ended: Any) -> Done | str:
    """What came of a job, or how it was lost."""
    import submitit

    try:
        done: Done = ended.result()
    except (submitit.core.utils.UncompletedJobError, submitit.core.utils.FailedJobError) as error:
        last = str(error).strip().splitlines()[-1]
        return f"job {ended.job_id} ended as {ended.state} ({last}; {ended.paths.stderr})"
    return done


def _new_folder(parent: Path) -> Path:
    """A folder that nobody else can write to and that held nothing before: what jobs leave there is unpickled."""
    parent.mkdir(mode=0o700, exist_ok=True)
    return Path(mkdtemp(prefix=time.strftime("%Y%m%d-%H%M%S-"), dir=parent))


def _put(folder: Path, content: bytes) -> Path:
    """Write what all jobs are sent, once, for nobody else to read."""
    path = folder / f"{hashlib.blake2b(content, digest_size=8).hexdigest()}.pkl"
    temporary = path.with_suffix(f".{os.getpid()}")
    with open(os.open(temporary, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
    return temporary.replace(path)


def _minutes(given: Any) -> int:
    try:
        minutes = int(given)
    except (TypeError, ValueError):
        minutes = 0
    if minutes < 1:
        raise AttnshiftError(f"--cluster time={given} is no time", expected="minutes for one checkpoint, such as 240")
    return minutes


def _lost(how: str) -> CheckpointError:
    return CheckpointError(
        f"its job was lost {ATTEMPTS} times; the last time {how}",
        expected="memory and time for one checkpoint",
        remedy="--cluster memory=GB or time=MINUTES",
    )
