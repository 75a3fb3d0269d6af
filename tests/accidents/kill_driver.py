"""Kills `attnshift trace` again and again: a process that has imported everything forks one that works and dies.

``python kill_driver.py RUN DIRECTORY SEED KILLS [SIGNAL]…``: an undisturbed trace into ``DIRECTORY/whole``, then
rounds of kills and resumptions in ``DIRECTORY/0``, ``DIRECTORY/1``, …, each to its end. With signals these are sent
instead, after some time. Says on stdout what happened, as JSON.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import psutil

os.environ["HF_HUB_OFFLINE"] = "1"

MODES = ("time", "time", "time", "event", "event", "half a file")
UNDISTURBED = "undisturbed"
SECONDS = 1.2
"""of processor time, within which a process is killed; a trace of three checkpoints takes about 1.4"""
EVENTS = 36
"""files opened, renamed and removed in the output's directory, within which one is killed; a whole trace has 35"""

Marks = dict[str, tuple[int, int]]


def arguments(run: Path, out: Path) -> list[str]:
    files = ["--conflicts", run.parent / "cf.json", "--ift", run.parent / "alpaca.json"]
    options = ["--base", run.parent / "base", "--max-new-tokens", "4", "--limit", "6", "--device", "cpu"]
    return [str(word) for word in ["trace", "--ckpts", run, *files, *options, "--out", out]]


def run_command(words: list[str]) -> int:
    from attnshift.cli import main

    sys.argv = ["attnshift", *words]
    try:
        main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def forked(action: Callable[[], int], log: Path) -> int:
    """The id of a process that does it, speaking into a log."""
    child = os.fork()
    if child:
        return child
    status = 70
    try:
        handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(handle, 1)
        os.dup2(handle, 2)
        status = action()
    finally:
        os._exit(status)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def dies_at_event(out: Path, number: int) -> None:
    """Have this process killed at its n-th opening, renaming or removing in the output's directory."""
    left = [number]

    def count(event: str, about: tuple[object, ...]) -> None:
        if event in ("open", "os.rename", "os.remove", "os.mkdir") and str(about[0]).startswith(str(out)):
            left[0] -= 1
            if not left[0]:
                die()

    sys.addaudithook(count)


def dies_in_file(number: int, share: float) -> None:
    """Have this process killed when a part of its n-th file is on disk."""
    left, write = [number], Path.write_bytes

    def half(self: Path, content: memoryview) -> int:
        left[0] -= 1
        if left[0]:
            return write(self, content)
        with self.open("wb") as file:
            file.write(content[: int(share * len(content))])
        die()
        return 0

    Path.write_bytes = half  # type: ignore[assignment]


def stopped(words: list[str], out: Path, mode: str, rng: random.Random, log: Path) -> tuple[int, float]:
    """Run until it is killed or ends by itself: its wait status, and its processor time."""
    seconds, number, share = rng.uniform(0.05, SECONDS), rng.randint(1, EVENTS), rng.random()
    seconds, by = float("inf") if mode == UNDISTURBED else seconds, getattr(signal, mode, signal.SIGKILL)

    def action() -> int:
        if mode == "event":
            dies_at_event(out, number)
        if mode == "half a file":
            dies_in_file(1 + number % 5, share)
        return run_command(words)

    child = forked(action, log)
    process, used, status = psutil.Process(child), 0.0, None
    while status is None:
        used = sum(process.cpu_times()[:2])
        if mode not in ("event", "half a file") and used >= seconds:
            os.kill(child, by)
            seconds = float("inf")
        time.sleep(0.003)
        ended, found = os.waitpid(child, os.WNOHANG)
        status = found if ended else None
    return status, used


def check(status: int, mode: str, said: str) -> bool:
    """Whether it was stopped; if so by what was sent, and without a word too many."""
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL, said
        return True
    code = os.waitstatus_to_exitcode(status)
    assert "Traceback" not in said, said
    assert "bug in attnshift" not in said, said
    if code == 0:
        return False
    assert code == {"SIGINT": 130, "SIGTERM": 143}[mode], (code, said)
    assert said.splitlines()[-1].startswith("interrupted; "), said
    return True


def marks(out: Path) -> Marks:
    """The files of a trace that are under their names, each with what changes when it is written again."""
    files = list(out.glob("*.nc")) if out.is_dir() else []
    return {file.name: (file.stat().st_ino, file.stat().st_mtime_ns) for file in files}


def main() -> None:
    from attnshift.tracing.netcdf import read_netcdf

    run, directory, seed, kills = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    rng, log, modes = random.Random(seed), directory / "log", sys.argv[5:] or MODES
    said = os.dup(1)
    os.dup2(2, 1)
    begun = time.process_time()
    assert run_command(arguments(run, directory / "whole")) == 0
    whole = time.process_time() - begun
    steps = [name for name in marks(directory / "whole") if name.startswith("step-")]
    counts: Counter[str] = Counter()
    before_any, spent, rounds, finished = 0, 0.0, 0, True
    while sum(counts.values()) < kills or not finished:
        if finished:
            out, rounds = directory / str(rounds), rounds + 1
        held, mode = marks(out), rng.choice(modes) if sum(counts.values()) < kills else UNDISTURBED
        log.write_bytes(b"")
        status, used = stopped(arguments(run, out), out, mode, rng, log)
        was_killed, now = check(status, mode, log.read_text()), marks(out)
        kept = {name: mark for name, mark in held.items() if name.startswith("step-")}
        assert kept.items() <= now.items(), f"computed again: {kept} {now}"
        for name in now:
            read_netcdf(out / name)
        spent, finished = spent + used, not was_killed
        if was_killed:
            counts[mode] += 1
            before_any += not any(name.startswith("step-") for name in now)
        else:
            assert set(steps) <= set(now)
    facts = {"kills": dict(counts), "before_any_step": before_any, "rounds": rounds}
    facts |= {"seconds_of_one_trace": round(whole, 2), "seconds_in_all": round(spent, 2)}
    os.write(said, json.dumps(facts).encode())


if __name__ == "__main__":
    main()
