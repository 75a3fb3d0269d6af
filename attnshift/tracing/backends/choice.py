"""A backend by its name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attnshift.errors import AttnshiftError
from attnshift.tracing.backends.backend import Backend
from attnshift.tracing.backends.processes import Processes
from attnshift.tracing.backends.serial import Serial


def choose_backend(
    name: str = "local",
    workers: int | None = None,
    cluster: Mapping[str, Any] | None = None,
    device: str | None = None,
) -> Backend:
    """The backend that a user names; open it as a context.

    Parameters
    ----------
    name
        ``local``, ``ray`` or ``slurm``.
    workers
        Checkpoints that are measured at once; default: one here, on a cluster as many as it has room for.
    cluster
        What a cluster is told: ``gpus``, ``cpus`` and ``memory`` (GB) per checkpoint; for Ray its ``address``; for
        SLURM ``time`` (minutes) and whatever sbatch takes.
    device
        As in `attnshift.trace`.

    Raises AttnshiftError for what can't be had at all.
    """
    if workers is not None and workers < 1:
        raise AttnshiftError(f"there can't be {workers} workers", expected="at least 1")
    if name == "ray":
        from attnshift.tracing.backends.ray_cluster import Ray

        return Ray(workers, cluster or {}, device)
    if name == "slurm":
        from attnshift.tracing.backends.slurm import Slurm

        return Slurm(workers, cluster or {}, device)
    if name != "local":
        raise AttnshiftError(f"there is no backend {name!r}", expected="one of local, ray, slurm")
    if cluster:
        raise AttnshiftError(
            f"--cluster {', '.join(cluster)}: --backend local has no cluster", expected="--backend ray or slurm"
        )
    return Serial(device) if workers in (None, 1) else Processes(workers, device)
