"""Commands in forked processes: without room, killed on the way, or with their output somewhere else."""

from __future__ import annotations

import os
import resource
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from command_line import Done

from attnshift import cli

KILLED = -signal.SIGKILL


def forked(words: list[object], log: Path, before: Callable[[], None] = lambda: None, stdout: str = "") -> Done:
    """Run the command line in a process of its own, after something is done there; as one that was killed, -9."""
    child = os.fork()
    if child == 0:
        status = 70
        try:
            place = Path(stdout or log.with_suffix(".out"))
            sys.stdout = place.open("w", encoding="utf-8")
            sys.stderr = log.with_suffix(".err").open("w", encoding="utf-8", errors="backslashreplace")
            before()
            sys.argv = ["attnshift", *map(str, words)]
            cli.main()
        except SystemExit as end:
            status = int(end.code or 0)
        finally:
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
            os._exit(status)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    out = "" if stdout else log.with_suffix(".out").read_text(encoding="utf-8", errors="replace")
    return Done(status, out, log.with_suffix(".err").read_text(encoding="utf-8"))


def files_of_at_most(size: int) -> Callable[[], None]:
    """No file of the process may grow beyond so many bytes; what writes more is told so as of a full disk."""
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def killed_in_file(suffix: str) -> Callable[[], None]:
    """The process is killed when half of the first file that it writes for a name with this ending is on disk."""

    def patch() -> None:
        write = Path.write_bytes

        def half(self: Path, content: bytes) -> int:
            if suffix not in self.name:
                return write(self, content)
            with self.open("wb") as file:
                file.write(content[: len(content) // 2])
            os.kill(os.getpid(), signal.SIGKILL)
            return 0

        Path.write_bytes = half  # type: ignore[assignment,method-assign]

    return patch


def contents(directory: Path) -> dict[str, bytes]:
    """Every file below a directory but for locks."""
    files = (file for file in directory.rglob("*") if file.is_file() and file.suffix != ".lock")
    return {str(file.relative_to(directory)): file.read_bytes() for file in files}
