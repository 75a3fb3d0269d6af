"""A run: the checkpoints of one finetuning in the order of their steps, and what a user must be told about them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

from attnshift.checkpoints.base import named_base
from attnshift.checkpoints.checkpoint import Checkpoint, classify
from attnshift.checkpoints.fingerprint import Fingerprint, changed_tensors
from attnshift.checkpoints.foreign import find_foreign
from attnshift.checkpoints.hub import fetch_revisions
from attnshift.checkpoints.inventory import Inventory
from attnshift.checkpoints.layout import read_layout
from attnshift.checkpoints.manifest import Manifest, read_manifest
from attnshift.checkpoints.revisions import layout_of_revisions
from attnshift.errors import AttnshiftError, CheckpointError


@dataclass(frozen=True)
class Run:
    """The checkpoints of one finetuning."""

    path: Path
    """The run's folder, absolute."""
    checkpoints: tuple[Checkpoint, ...]
    """Readable checkpoints by ascending step; step 0 is the base model where there is one."""
    fingerprints: Mapping[int, Fingerprint]
    """Step to the fingerprint of each of them."""
    aliases: Mapping[str, int]
    """Folder with the same weights as a checkpoint (`.` for the run itself) to that checkpoint's step."""
    broken: Mapping[int, CheckpointError]
    """Step to what is wrong, for checkpoints that can't be read."""
    manifest: Manifest
    """What the run says about itself."""
    base: Path | None
    """The folder of the base model; never None where a checkpoint is an adapter."""
    notes: tuple[str, ...]
    """What a user must be told."""
    hub: str = ""
    """Its name on the hub, for revisions of a model there."""

    @property
    def digests(self) -> dict[int, str]:
        """Step to the digest of its weights."""
        return {step: fingerprint.digest for step, fingerprint in self.fingerprints.items()}


def find_run(
    path: str | Path,
    base: str | None = None,
    allow_download: bool = False,
    problems: dict[str, AttnshiftError] | None = None,
    revisions: Sequence[str] = (),
    tell: Callable[[str], None] | None = None,
    ready: Callable[[Path], bool] | None = None,
) -> Run:
    """Find the checkpoints of a run directory, of the folder of a single checkpoint, or of a model on the hub.

    Parameters
    ----------
    path
        The folder. A single checkpoint whose step is stated nowhere becomes step 0, or 1 beside a base model. With
        `revisions`, a model's name on the hub.
    base
        The base model as the user names it: a folder or a hub name. It becomes step 0.
    allow_download
        Fetch such a hub name where it isn't on disk.
    problems
        Where given, what is wrong with the ``manifest``, the ``base`` or the ``weights`` of different steps is put
        there instead of being raised, and the run is what could be found all the same.
    revisions
        Branches, tags or commits of a model on the hub; their names state their steps. Those that aren't in the
        local cache are fetched, one after the other.
    tell
        Called with a line before each of these downloads.
    ready
        Only the run's folders for which it is true are looked at; default: all.

    Raises
    ------
    AttnshiftError
        For a path that holds no checkpoints, two folders of one step, two steps with the same weights, a base that
        the user names or an adapter needs and that can't be found or read, adapters to different bases, and a
        model or revision that the hub doesn't give.
    """
    if revisions:
        layout = layout_of_revisions(str(path), fetch_revisions(str(path), revisions, tell))
    else:
        layout = read_layout(Path(path), ready)
    manifest = Manifest()
    with _told(problems, "manifest"):
        manifest = read_manifest(layout.root)
    base_dir = named_base(layout.root, base, manifest.base, allow_download)
    inventory = Inventory(layout)
    inventory.add_folders(base_dir)
    if not inventory.checkpoints:
        raise _nothing_found(str(path), inventory)
    with _told(problems, "base"):
        base_dir = inventory.add_base(base_dir)
    at_start = {0} & (inventory.checkpoints.keys() | inventory.broken.keys())
    if base_dir is None and not at_start and "base" not in (problems or {}):
        named = f", as the manifest's {manifest.base!r} is not on disk" if manifest.base else ""
        inventory.notes.append(f"no base: step 0 is missing{named}; name one with --base")
    with _told(problems, "weights"):
        inventory.refuse_twins()
    return Run(
        path=layout.root,
        checkpoints=tuple(checkpoint for _, checkpoint in sorted(inventory.checkpoints.items())),
        fingerprints=inventory.fingerprints,
        aliases=inventory.aliases,
        broken=dict(sorted(inventory.broken.items())),
        manifest=manifest,
        base=base_dir,
        notes=(*inventory.notes, *(note for at, note in inventory.unplaced.items() if at.resolve() != base_dir)),
        hub=str(path) if revisions else "",
    )


def trained_tensors(run: Run) -> frozenset[str] | None:
    """Names of the tensors that differ between the first and the last checkpoint of full weights; reads both.

    None for a run of adapters, whose adapters are what was trained, and where there is no second checkpoint.
    Raises CheckpointError where one can't be read.
    """
    if len(run.checkpoints) < 2 or any(checkpoint.kind == "adapter" for checkpoint in run.checkpoints):
        return None
    with run.checkpoints[0].open() as first, run.checkpoints[-1].open() as last:
        return changed_tensors(first, last)


@contextmanager
def _told(problems: dict[str, AttnshiftError] | None, about: str) -> Iterator[None]:
    """Put what is raised among the problems, where somebody collects them."""
    try:
        yield
    except AttnshiftError as error:
        if problems is None:
            raise
        problems[about] = error


def _nothing_found(path: str, inventory: Inventory) -> AttnshiftError:
    """Why a folder holds no readable checkpoint."""
    root, broken = inventory.layout.root, inventory.broken
    if broken:
        first = broken[min(broken)]
        others = " (and so for the others)" if len(broken) > 1 else ""
        return AttnshiftError(
            f"none of the {len(broken)} checkpoints in {path!r} can be read: {first.problem}",
            expected=first.expected,
            remedy=f"{first.remedy}{others}",
        )
    foreign, runs = find_foreign(root), _runs_in(root)
    found = f"; it holds {foreign.layout}" if foreign else ""
    left_out = "".join(f"; {note}" for note in inventory.unplaced.values())
    remedy = f"give {'one of these folders' if left_out else 'the folder of the run'} itself"
    if runs:
        found = f"; it holds {len(runs)} runs: {', '.join(runs[:5])}{', …' if len(runs) > 5 else ''}"
        remedy = "name the runs: " + " ".join(f"--ckpts {quote(str(root / name))}" for name in runs)
    return AttnshiftError(
        f"there are no checkpoints in {path!r}{found}{left_out}",
        expected="folders such as checkpoint-500/ with weights, or the folder of one checkpoint",
        remedy=foreign.conversion if foreign and not runs else remedy,
    )


def _runs_in(root: Path) -> list[str]:
    """Names of the folders in a folder that are runs."""
    found = []
    for child in sorted(filter(Path.is_dir, root.iterdir())):
        with suppress(AttnshiftError):  # whatever it is, it is no run that could be given instead
            found += [child.name] if any(map(classify, read_layout(child).numbered.values())) else []
    return found
