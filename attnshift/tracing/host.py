"""Memory that this process may still take: the machine's, within it what a container or a cluster job allows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psutil

_OWN, _ROOT = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")

# cgroups(7): by version, the folder of the memory controller, its limit, what is used, and in memory.stat the pages of
# files, which the kernel drops before it refuses anything.
_UNIFIED = ("", "memory.max", "memory.current", ("active_file", "inactive_file"))
_LEGACY = ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes", ("total_active_file", "total_inactive_file"))


def free_host_bytes() -> int:
    """What can be had without swapping, page caches included: the machine's or, if less, the control group's."""
    return min([int(psutil.virtual_memory().available), *group_rooms(_OWN, _ROOT)])


def group_rooms(own: Path, root: Path) -> Iterator[int]:
    """What each control group that this process is in leaves, in bytes; nothing where none sets a limit.

    ``own`` lists the process's groups, ``root`` is where their files are mounted. A container may see its own group as
    the root, so that the path in ``own`` leads nowhere: every folder on the way there that has the files counts.
    """
    try:
        lines = own.read_text(encoding="utf-8").splitlines()
    except OSError:  # no Linux
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        folder, limit, used, cached = _LEGACY if controllers else _UNIFIED
        base = root / folder
        inner = base / path.lstrip("/")
        for group in (inner, *inner.parents):
            if group.is_relative_to(base) and (room := _room(group, limit, used, cached)) is not None:
                yield room


def _room(group: Path, limit: str, used: str, cached: tuple[str, str]) -> int | None:
    try:
        most, now = ((group / name).read_text(encoding="utf-8").strip() for name in (limit, used))
        stat = dict(line.split() for line in (group / "memory.stat").read_text(encoding="utf-8").splitlines())
    except (OSError, ValueError):
        return None
    if not most.isdigit():  # "max"
        return None
    return max(0, int(most) - int(now) + sum(int(stat.get(name, 0)) for name in cached))
