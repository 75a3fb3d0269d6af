"""The machine and what is installed on it."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, metadata, requires, version
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from attnshift.diagnosis.check import Check
from attnshift.tracing.host import free_host_bytes

ROOM = 1e9
"""Bytes of memory, and of disk for temporary files, below which there is little that can be done."""

LIBRARIES = "libraries"
"""The check whose failure means that nothing of a run can be looked at."""

_FOR_DEVELOPERS = "dev"
_PATIENCE = 20  # seconds until a browser that doesn't tell its version counts as broken


def environment() -> list[Check]:
    """Every check of the machine; imports torch, and reads and writes a temporary file."""
    return [
        _python(),
        _packages(),
        _extras(),
        _libraries(),
        _devices(),
        _memory(),
        _threads(),
        _browser(),
        _temporary(),
        _hub(),
    ]


def _python() -> Check:
    running, supported = platform.python_version(), _supported_python()
    if not supported:
        return Check("python", "skipped", f"Python {running}; attnshift isn't installed, only imported", _INSTALL)
    fits = SpecifierSet(supported).contains(running, prereleases=True)
    return Check(
        "python",
        "ok" if fits else "fail",
        f"Python {running}; supported is {supported}",
        "" if fits else f"make the environment anew with a Python {supported}",
    )


def _packages() -> Check:
    """Versions of what attnshift can't do without."""
    wanted = [each for each in _requirements() if each.marker is None]
    if not wanted:
        return Check("packages", "skipped", "attnshift isn't installed, only imported", _INSTALL)
    wrong = [each for each in wanted if not _fits(each)]
    seen = ", ".join(f"{name} {_version(name) or 'is missing'}" for name in ("attnshift", *(e.name for e in wanted)))
    if wrong:
        told = "; ".join(f"{e.name} {_version(e.name) or 'is missing'}, supported is {e.specifier}" for e in wrong)
        return Check("packages", "fail", told, "pip install " + " ".join(f"'{e.name}{e.specifier}'" for e in wrong))
    return Check("packages", "ok", seen)


def _extras() -> Check:
    """Which of the optional parts can be used."""
    needed: dict[str, list[Requirement]] = {}
    for name in _extra_names():
        needed[name] = [r for r in _requirements() if r.marker is not None and r.marker.evaluate({"extra": name})]
    there = [name for name, each in needed.items() if all(map(_fits, each))]
    absent = {name: [r.name for r in each if not _fits(r)] for name, each in needed.items() if name not in there}
    if not needed:
        return Check("extras", "skipped", "attnshift isn't installed, only imported", _INSTALL)
    lacking = "; ".join(f"{name} lacks {', '.join(names)}" for name, names in absent.items())
    seen = f"usable: {', '.join(there) or 'none'}" + (f"; {lacking}" if lacking else "")
    return Check("extras", "ok", seen, f"pip install 'attnshift[{','.join(absent)}]' if wanted" if absent else "")


def _libraries() -> Check:
    """Whether what is installed can be imported together: versions alone don't tell."""
    try:
        import attnshift.figures.export
        import attnshift.tracing.job  # noqa: F401
    except Exception as error:  # a broken library can raise nearly anything
        seen = f"they can't be imported: {type(error).__name__}: {_line(error)}"
        return Check(LIBRARIES, "fail", seen, f"make the environment anew: {_INSTALL}")
    return Check(LIBRARIES, "ok", "torch, transformers, plotly and the rest can be imported")


def _devices() -> Check:
    try:
        import torch

        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            usable = torch.cuda.is_available()
            cards = [_card(i) for i in range(torch.cuda.device_count())] if usable else []
    except (ImportError, OSError, RuntimeError) as error:
        return Check("devices", "fail", f"torch can't be used: {_line(error)}", "install torch anew")
    if cards:
        return Check("devices", "ok", f"{len(cards)} GPU: {'; '.join(cards)}")
    driver = shutil.which("nvidia-smi") or next(map(str, Path("/proc/driver/nvidia").glob("version")), "")
    if driver:
        why = f": {_line(told[0].message)}" if told else ""
        seen = f"the CPU alone, though there is {driver}: torch {torch.__version__} can't use a GPU{why}"
        return Check("devices", "warn", seen, "install a torch that is built for CUDA and fits the driver")
    return Check("devices", "ok", f"the CPU alone (torch {torch.__version__})")


def _card(number: int) -> str:
    import torch

    free, total = torch.cuda.mem_get_info(number)
    return f"{torch.cuda.get_device_name(number)}, {gigabytes(free)} of {gigabytes(total)} free"


def _memory() -> Check:
    import psutil

    machine, free = int(psutil.virtual_memory().available), free_host_bytes()
    seen = f"{gigabytes(free)} can be had"
    if free < machine:
        seen += f": a control group allows less than the {gigabytes(machine)} that the machine has free"
    enough = free >= ROOM
    return Check("memory", "ok" if enough else "warn", seen, "" if enough else "end other programs, or ask for more")


def _threads() -> Check:
    try:
        import torch
    except (ImportError, OSError) as error:
        return Check("threads", "skipped", f"torch can't be used: {_line(error)}")
    threads, cores, stated = torch.get_num_threads(), _cores(), os.environ.get("OMP_NUM_THREADS")
    seen = f"{threads} threads on {cores} cores; OMP_NUM_THREADS is {'not set' if stated is None else repr(stated)}"
    if threads > cores:
        return Check("threads", "warn", f"{seen}: they wait for each other", f"export OMP_NUM_THREADS={cores}")
    return Check("threads", "ok", f"{seen}. Numbers are bit-identical only at the same number of threads")


def _browser() -> Check:
    try:
        from attnshift.figures.export import NO_BROWSER, find_browser
    except ImportError as error:
        return Check("browser", "skipped", f"plotly can't be used: {_line(error)}")
    found = find_browser()
    if found is None:
        return Check("browser", "warn", "no Chrome or Chromium: figures can't become pdf, png or svg", NO_BROWSER)
    try:
        done = subprocess.run([found, "--version"], capture_output=True, text=True, timeout=_PATIENCE, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        return Check("browser", "warn", f"{found} doesn't start: {_line(error)}", NO_BROWSER)
    return Check("browser", "ok", f"{found}: {done.stdout.strip().partition(' built ')[0]}")


def _temporary() -> Check:
    remedy = "export TMPDIR=… to a folder with room"
    try:
        folder = Path(tempfile.gettempdir())
        with tempfile.NamedTemporaryFile(dir=folder) as file:
            file.write(b"attnshift")
            file.flush()
        free = shutil.disk_usage(folder).free
    except OSError as error:
        return Check("temporary_files", "fail", f"none can be written: {_line(error)}", remedy)
    enough = free >= ROOM
    seen = f"{folder} can be written, {gigabytes(free)} free"
    return Check("temporary_files", "ok" if enough else "warn", seen, "" if enough else remedy)


def _hub() -> Check:
    """The hub's cache: all that a hub name can be found in where the network is not to be used."""
    from huggingface_hub import constants

    cache, offline = Path(constants.HF_HUB_CACHE), bool(constants.HF_HUB_OFFLINE)
    models = sorted(folder.name.removeprefix("models--").replace("--", "/") for folder in cache.glob("models--*"))
    network = "HF_HUB_OFFLINE is set" if offline else "a hub name given with --base may be downloaded"
    held = f"{len(models)} models ({', '.join(models[:3])}{', …' if len(models) > 3 else ''})" if models else "no model"
    seen = f"{network}; the cache {cache} holds {held}"
    if offline and not models:
        return Check("hub_cache", "warn", seen, "give --base a folder, or unset HF_HUB_OFFLINE")
    return Check("hub_cache", "ok", seen)


_INSTALL = "pip install -e . -c constraints.txt"


def gigabytes(count: float) -> str:
    """A number of bytes for people."""
    return f"{count / 1e9:.1f} GB"


def _requirements() -> list[Requirement]:
    try:
        return [Requirement(line) for line in requires("attnshift") or []]
    except PackageNotFoundError:
        return []


def _extra_names() -> Iterator[str]:
    try:
        names = metadata("attnshift").get_all("Provides-Extra") or []
    except PackageNotFoundError:
        return
    yield from (name for name in names if name != _FOR_DEVELOPERS)


def _supported_python() -> str:
    try:
        return str(metadata("attnshift")["Requires-Python"])
    except PackageNotFoundError:
        return ""


def _fits(requirement: Requirement) -> bool:
    found = _version(requirement.name)
    return found is not None and requirement.specifier.contains(found, prereleases=True)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _line(error: object) -> str:
    return str(error).strip().partition("\n")[0]
