"""Temporary names, what killed processes leave under them, and what a name may look like."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from errno import ENOSPC
from pathlib import Path

import pytest

from attnshift import atomic as whole
from attnshift.atomic import atomic, atomic_folder, os_errors, sweep, write_text

GONE = 2**22 + 1
"""No process has this id: Linux stops at 2**22."""

NAMES = ["plain.nc", "模型 ضبط e\u0301 🧪.html", "con", "a:b?*[x]|<>.csv", "trailing. ", "-rf", ".hidden", "長" * 80]


def leftover(directory: Path, name: str, process: int = GONE, host: str = whole._HOST) -> Path:
    file = directory / f".{name}.{host}.{process}.tmp"
    file.write_bytes(b"half")
    return file


def full(path: Path) -> None:
    path.write_text("ne")
    raise OSError(ENOSPC, "full")


@pytest.mark.parametrize("name", NAMES)
def test_any_name_can_be_written_and_again(tmp_path, name):
    for text in ("first", "second"):
        write_text(tmp_path / name, text)
        assert (tmp_path / name).read_bytes() == text.encode()
    with atomic_folder(tmp_path / f"{name}-folder") as folder:
        (folder / name).write_text("inside")
    assert sorted(os.listdir(tmp_path)) == sorted([name, f"{name}-folder"])


@pytest.mark.parametrize("name", NAMES)
def test_a_file_that_cannot_be_finished_is_as_it_was(tmp_path, name):
    write_text(tmp_path / name, "old")
    with pytest.raises(OSError, match="full"), atomic(tmp_path / name) as temporary:
        full(temporary)
    with pytest.raises(OSError, match="full"), atomic_folder(tmp_path / "folder") as folder:
        full(folder / name)
    assert os.listdir(tmp_path) == [name]
    assert (tmp_path / name).read_text() == "old"


def test_leftovers_of_the_dead_go_and_others_stay(tmp_path):
    alive = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        yesterday = leftover(tmp_path, "old.nc", host="elsewhere")
        os.utime(yesterday, (time.time() - 90_000,) * 2)
        dead = [leftover(tmp_path, "step-00000002.nc"), leftover(tmp_path, "模型.nc"), leftover(tmp_path, "x", 10**30)]
        folder = tmp_path / f".graft.{whole._HOST}.{GONE}.tmp"
        (folder / "deep").mkdir(parents=True)
        stay = [
            leftover(tmp_path, "mine.nc", os.getpid()),
            leftover(tmp_path, "theirs.nc", alive.pid),
            leftover(tmp_path, "other.nc", host="elsewhere"),
            tmp_path / ".some.1.tmp.txt",
            tmp_path / "step-00000002.nc",
        ]
        for file in stay[3:]:
            file.write_bytes(b"")
        sweep(tmp_path)
        assert not any(file.exists() for file in [*dead, yesterday, folder])
        assert all(file.exists() for file in stay)
    finally:
        alive.communicate(b"\n")


def test_elsewhere_only_leftovers_of_the_same_file_go(tmp_path):
    mine, other = leftover(tmp_path, "fig.html"), leftover(tmp_path, "fig.html.bak")
    write_text(tmp_path / "fig.html", "whole")
    assert not mine.exists()
    assert other.exists()
    with atomic_folder(tmp_path / "fig.html.bak"):
        pass
    assert not other.exists()


def test_a_clock_that_went_backwards_lets_leftovers_be(tmp_path):
    tomorrow = leftover(tmp_path, "x.nc", host="elsewhere")
    os.utime(tomorrow, (time.time() + 10**8,) * 2)
    sweep(tmp_path)
    assert tomorrow.exists()
    sweep(tmp_path / "nowhere")


def test_half_a_surrogate_pair_is_escaped_as_json_does(tmp_path):
    write_text(tmp_path / "x.json", '"caf\u00e9 \ud83d"')
    assert (tmp_path / "x.json").read_bytes() == '"café \\ud83d"'.encode()


def test_what_libraries_raise_becomes_an_oserror_and_interrupts_do_not():
    with pytest.raises(OSError, match="No space"), os_errors():
        raise RuntimeError("No space left on device (os error 28)")
    with pytest.raises(OSError, match="full") as raised, os_errors():
        raise OSError(ENOSPC, "full")
    assert raised.value.errno == ENOSPC
    with pytest.raises(KeyboardInterrupt), os_errors():
        raise KeyboardInterrupt
