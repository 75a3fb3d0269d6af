"""Several processes on this machine, one for each device; a process that dies costs nothing but its time."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, suppress
from multiprocessing import Pipe
from multiprocessing.connection import wait
from typing import Any

import torch

from attnshift.errors import AttnshiftError, CheckpointError
from attnshift.tracing.backends.backend import ATTEMPTS, Backend, Done, E, repeat_warnings
from attnshift.tracing.backends.elsewhere import packed
from attnshift.tracing.job import Job
from attnshift.tracing.prefetch import read_ahead

# With the parent's module path and without its main module, which may be a script that would run again.
_PROGRAM = """
import json, sys
sys.path[:], handle, device, threads = json.loads(sys.argv[1])
from attnshift.tracing.backends.worker import main
main(handle, device, threads)
"""


class Processes(Backend):
    """So many worker processes: one GPU each, or shares of one CPU's threads and memory."""

    def __init__(self, workers: int, device: str | None = None) -> None:
        self._devices = devices_for(workers, device)
        self.device = self._devices[0]
        self.share = workers if self.device == "cpu" else 1
        self._threads = max(1, torch.get_num_threads() // workers)
        self._workers: list[_Worker] = []
        self._stillborn = 0
        """workers that died before they were ready, one after the other"""

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            worker.end()
        self._workers = []

    def perform(self, job: Job, errands: Sequence[E]) -> Generator[tuple[E, Done], None, None]:
        """As they end. An errand over which a worker dies is begun again by another one, `ATTEMPTS` times in all."""
        sent, open_errands = packed(job), len(errands)
        deaths: Counter[int] = Counter()
        again: list[E] = []
        try:
            with closing(read_ahead(errands)) as fresh:
                while open_errands:
                    self._start(open_errands)
                    for worker in self._ended():
                        errand, done = worker.errand, worker.receive()
                        if done is None:  # it died
                            fate = worker.fate()
                            self._workers.remove(worker)
                            deaths[id(errand)] += 1
                            if deaths[id(errand)] < ATTEMPTS:
                                again.append(errand)
                                continue
                            done = Done(0.0, error=_deadly(fate))
                        open_errands -= 1
                        repeat_warnings(done)
                        yield errand, done
                    for worker in self._workers:
                        if worker.idle and (errand := again.pop() if again else next(fresh, None)) is not None:
                            worker.give(sent, errand)
        finally:
            for worker in [each for each in self._workers if each.errand is not None]:
                worker.end()
                self._workers.remove(worker)

    def _start(self, wanted: int) -> None:
        """Start as many workers as there are devices and work for."""
        taken = Counter(worker.device for worker in self._workers)
        free = list((Counter(self._devices) - taken).elements())
        for device in free[: max(0, min(wanted, len(self._devices)) - len(self._workers))]:
            self._workers.append(_Worker(device, self._threads))

    def _ended(self) -> Iterator[_Worker]:
        """Wait for what workers say, and yield those that are through with an errand, dead or alive."""
        waiting = {worker.pipe: worker for worker in self._workers if not worker.idle}
        for pipe in wait(list(waiting)) if waiting else ():
            worker = waiting[pipe]  # type: ignore[index]  # wait() returns what it was given
            if worker.ready:
                yield worker
            elif worker.get_ready():
                self._stillborn = 0
            else:
                self._workers.remove(worker)
                self._lament(worker)

    def _lament(self, worker: _Worker) -> None:
        """Raise AttnshiftError if workers keep dying before they are ready."""
        fate, self._stillborn = worker.fate(), self._stillborn + 1
        if self._stillborn >= ATTEMPTS:
            raise AttnshiftError(
                f"worker processes can't be started: the last of {ATTEMPTS} {fate}",
                expected="memory for the libraries alone, and what the process says above",
                remedy="--workers 1",
            )


class _Worker:
    """One worker process, seen from the parent."""

    def __init__(self, device: str, threads: int) -> None:
        self.device, self.ready = device, False
        self.errand: Any = None
        self._job = b""
        self.pipe, theirs = Pipe()
        said = json.dumps([sys.path, theirs.fileno(), device, threads])
        self._process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, said],
            stdin=subprocess.PIPE,  # while it is open, the parent is alive
            stdout=2,  # standard output is the parent's
            pass_fds=[theirs.fileno()],
            env={**os.environ, "OMP_NUM_THREADS": str(threads)},
            start_new_session=True,  # Ctrl-C is for the parent, which ends its workers
        )
        theirs.close()

    @property
    def idle(self) -> bool:
        """Whether it can be given something to do."""
        return self.ready and self.errand is None

    def get_ready(self) -> bool:
        """Hear whether it has started, or died instead."""
        with suppress(EOFError, OSError):
            self.pipe.recv_bytes()
            self.ready = True
        return self.ready

    def give(self, job: bytes, errand: Any) -> None:
        """Send it on an errand; the job is sent when it is another one than before."""
        self.errand = errand
        try:
            self.pipe.send_bytes(pickle.dumps((b"" if job == self._job else job, packed(errand))))
        except OSError:  # it is dead, as receiving will tell
            return
        self._job = job

    def receive(self) -> Done | None:
        """What came of its errand; None where it died over it."""
        try:
            done: Done = pickle.loads(self.pipe.recv_bytes())  # noqa: S301  (from a process that we started)
        except (EOFError, OSError):
            return None
        self.errand = None
        return done

    def fate(self) -> str:
        """How it died, as the end of a sentence. Ends what is left of it."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=10)  # the pipe is closed a moment before
        self.end()
        code = self._process.wait()
        if code >= 0:
            return f"ended with code {code}"
        return f"was killed by {signal.Signals(-code).name}" + ("; memory may have run out" if code == -9 else "")

    def end(self) -> None:
        """End it, whatever it does."""
        self._process.kill()
        self._process.wait()
        self.pipe.close()
        if self._process.stdin is not None:
            self._process.stdin.close()


def devices_for(workers: int, device: str | None) -> list[str]:
    """A device for each worker: a GPU of its own, or the CPU that they share.

    Raises AttnshiftError where there are fewer GPUs than workers, and for a single device that isn't a CPU.
    """
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device == "cpu" or (device is None and not gpus):
        return ["cpu"] * workers
    if device not in (None, "cuda"):
        raise AttnshiftError(
            f"--device {device} with --workers {workers}: workers need a device each",
            expected="--device cuda for one GPU per worker, or --device cpu for a share of its threads",
            remedy="--workers 1",
        )
    if gpus < workers:
        raise AttnshiftError(
            f"--workers {workers}: this machine has {gpus} GPU{'s' * (gpus != 1)}",
            expected="at most as many workers as GPUs",
            remedy=f"--workers {max(1, gpus)}" if gpus else "--device cpu",
        )
    return [f"cuda:{i}" for i in range(workers)]


def _deadly(fate: str) -> CheckpointError:
    return CheckpointError(
        f"its worker died {ATTEMPTS} times over it; the last one {fate}",
        expected="memory for the weights and for a batch, per worker",
        remedy="fewer --workers, a smaller --token-budget, or --dtype bfloat16",
    )
