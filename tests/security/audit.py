"""What a process does to the outside, as Python's audit hooks tell it.

A hook can't be taken back, so it records only when asked to.

As a program: ``python audit.py EVENTS COMMANDS`` runs command lines (a JSON list of lists) with every way to the
network cut from the first import on, and writes to EVENTS how each ended and what it tried.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NETWORK = ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto", "urllib.Request")
_recording: list[tuple[str, str]] | None = None


def _hook(name: str, arguments: tuple) -> None:
    if _recording is None or not name.startswith(("socket.", "open", "urllib.", "pickle.", "os.system", "import")):
        return
    _recording.append((name, str(arguments[0]) if name in ("open", "import") else repr(arguments)))
    if name in NETWORK:
        raise OSError("there is no network here")


sys.addaudithook(_hook)


@contextmanager
def recorded() -> Iterator[list[tuple[str, str]]]:
    """Record what happens; a try to reach the network is recorded, and fails."""
    global _recording
    _recording = events = []
    try:
        yield events
    finally:
        _recording = None


def opened(events: list[tuple[str, str]], below: Path) -> set[str]:
    """The files in a folder that were opened."""
    return {argument for name, argument in events if name == "open" and argument.startswith(str(below))}


def network(events: list[tuple[str, str]]) -> list[tuple[str, str]]:
    return [event for event in events if event[0] in NETWORK]


def main(out: str, commands: str) -> None:
    told = []
    for command in json.loads(commands):
        sys.argv = ["attnshift", *command]
        with recorded() as events:
            from attnshift import cli

            try:
                cli.main()
            except SystemExit as ended:
                told.append({"code": ended.code or 0, "network": network(events)})
    Path(out).write_text(json.dumps(told), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
