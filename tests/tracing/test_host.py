"""Memory that may be taken: the machine's or a control group's, whichever is less."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from attnshift.tracing import host
from attnshift.tracing.host import free_host_bytes, group_rooms


def group(folder: Path, limit: str, used: int, cached: int, legacy: bool = False) -> None:
    names = ("memory.limit_in_bytes", "memory.usage_in_bytes") if legacy else ("memory.max", "memory.current")
    prefix = "total_" if legacy else ""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / names[0]).write_text(f"{limit}\n")
    (folder / names[1]).write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon 5\n{prefix}active_file {cached}\n{prefix}inactive_file 1\n")


def own(folder: Path, text: str) -> Path:
    file = folder / "own"
    file.write_text(text)
    return file


def test_a_group_leaves_its_limit_less_what_is_used_but_for_files(tmp_path):
    group(tmp_path / "slice" / "job", "1000", 600, 99)
    assert list(group_rooms(own(tmp_path, "0::/slice/job\n"), tmp_path)) == [500]


def test_every_group_on_the_way_counts_and_max_is_no_limit(tmp_path):
    group(tmp_path / "slice" / "job", "max", 600, 0)
    group(tmp_path / "slice", "5000", 4999, 0)
    group(tmp_path, "9000", 1000, 9)
    assert list(group_rooms(own(tmp_path, "0::/slice/job\n"), tmp_path)) == [2, 8010]


def test_legacy_groups_and_containers_whose_path_leads_nowhere(tmp_path):
    group(tmp_path / "memory", "800", 700, 0, legacy=True)
    text = "4:memory:/docker/abc\n3:cpuset:/docker/abc\n1:name=systemd:/\n"
    assert list(group_rooms(own(tmp_path, text), tmp_path)) == [101]


def test_an_exhausted_group_leaves_nothing(tmp_path):
    group(tmp_path, "10", 700, 0)
    assert list(group_rooms(own(tmp_path, "0::/\n"), tmp_path)) == [0]


def test_without_groups_or_their_files_the_machine_decides(tmp_path):
    assert list(group_rooms(tmp_path / "absent", tmp_path)) == []
    assert list(group_rooms(own(tmp_path, "0::/slice/job\n"), tmp_path)) == []


def test_the_least_of_machine_and_groups(tmp_path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(host, "_OWN", tmp_path / "absent")
    assert free_host_bytes() == pytest.approx(psutil.virtual_memory().available, rel=0.2)
    group(tmp_path, "4096", 0, 0)
    monkeypatch.setattr(host, "_OWN", own(tmp_path, "0::/\n"))
    monkeypatch.setattr(host, "_ROOT", tmp_path)
    assert free_host_bytes() == 4097
