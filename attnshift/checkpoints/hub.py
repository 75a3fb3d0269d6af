"""Models on the hub: what of them is in the local cache, and fetching what isn't where the user names them."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from attnshift.checkpoints.checkpoint import read_checkpoint
from attnshift.errors import AttnshiftError, CheckpointError

# The first kind that a repository holds is fetched, and of no other: Pythia keeps everything twice.
_FULL = (r"model(-\d+-of-\d+)?\.safetensors(\.index\.json)?", r"pytorch_model(-\d+-of-\d+)?\.bin(\.index\.json)?")
_ADAPTER = (r"adapter_model\.safetensors", r"adapter_model\.bin")
_BESIDE = (
    r"((adapter_|generation_|tokenizer_)?config|tokenizer|vocab|added_tokens|special_tokens_map|trainer_state)\.json"
)
_TOKENIZER = r"(merges|vocab)\.txt|tokenizer\.model|spiece\.model|sentencepiece\.bpe\.model|chat_template\.(jinja|json)"
_NAME = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?", re.ASCII)
_MARGIN = 1 << 30
"""Bytes that a download leaves free."""


@dataclass(frozen=True)
class Download:
    """What of one revision would be fetched."""

    revision: str
    files: tuple[str, ...]
    """none where it is in the cache"""
    bytes: int


def is_hub_name(name: str) -> bool:
    """Whether a model on the hub could have this name."""
    return _NAME.fullmatch(name) is not None


def cached_snapshot(repo: str, revision: str | None = None) -> Path | None:
    """The folder of a revision (default: `main`) in the local cache; None where it lacks weights or isn't there."""
    from huggingface_hub import snapshot_download  # loading it takes a while, and few runs need it

    try:
        # Only the configuration is asked for: a cache that lacks, say, a licence text is complete for us.
        folder = Path(snapshot_download(repo, revision=revision, local_files_only=True, allow_patterns=["config.json"]))
        read_checkpoint(folder, 0)
    except (OSError, ValueError, CheckpointError):  # not in the cache, no name that a hub could have, half a download
        return None
    return folder


def fetch_revisions(repo: str, revisions: Sequence[str], tell: Callable[[str], None] | None = None) -> dict[str, Path]:
    """The folders of a model's revisions in the cache; what isn't there is fetched, one revision after the other.

    Raises AttnshiftError for a name that no model could have, where the model or a revision isn't known, can't be
    reached or isn't ours to read, where it holds no weights that are read, and where the disk has no room for it.
    """
    _require_name(repo)
    folders = {revision: cached_snapshot(repo, revision) for revision in dict.fromkeys(revisions)}
    missing = _plans(repo, [revision for revision, folder in folders.items() if folder is None])
    _need_room(repo, sum(download.bytes for download in missing))
    for number, download in enumerate(missing, 1):
        if tell is not None:
            size = f"{download.bytes / 1e6:,.0f} MB"
            tell(f"downloading {repo}, revision {download.revision} ({number} of {len(missing)}, {size})")
        folders[download.revision] = _fetch(repo, download)
    return {revision: folder for revision, folder in folders.items() if folder is not None}


def fetch_model(repo: str) -> Path:
    """The folder of a model's newest revision in the cache, fetched now. Raises as `fetch_revisions` does."""
    (download,) = _plans(repo, ["main"])
    _need_room(repo, download.bytes)
    return _fetch(repo, download)


def plan_downloads(repo: str, revisions: Iterable[str]) -> list[Download]:
    """What would be fetched for each revision; the hub is asked only about those that aren't in the cache.

    Raises AttnshiftError as `fetch_revisions` does, but for the room.
    """
    revisions = list(dict.fromkeys(revisions))
    if not revisions:
        return []
    _require_name(repo)
    missing = [revision for revision in revisions if cached_snapshot(repo, revision) is None]
    plans = {download.revision: download for download in _plans(repo, missing)}
    return [plans.get(revision, Download(revision, (), 0)) for revision in revisions]


def _require_name(repo: str) -> None:
    if not is_hub_name(repo) or Path(repo).exists():
        raise AttnshiftError(
            f"{repo!r} {'is a folder here' if Path(repo).exists() else 'is no name of a model on the hub'}",
            expected="owner/name, as on the hub, beside --revisions",
            remedy="leave --revisions out for a run directory; its steps are chosen with --steps",
        )


def _plans(repo: str, revisions: Iterable[str]) -> list[Download]:
    import huggingface_hub

    plans = []
    for revision in revisions:
        try:
            about = huggingface_hub.model_info(repo, revision=revision, files_metadata=True)
        except Exception as error:  # no network, no such name, no access: several libraries' exceptions
            raise _refused(repo, revision, error) from error
        sizes = {file.rfilename: int(file.size or 0) for file in about.siblings or ()}
        files = _wanted(repo, revision, sizes)
        plans.append(Download(revision, files, sum(sizes[name] for name in files)))
    return plans


def _fetch(repo: str, download: Download) -> Path:
    from huggingface_hub import snapshot_download

    try:
        folder = Path(snapshot_download(repo, revision=download.revision, allow_patterns=list(download.files)))
    except Exception as error:  # as in _plans
        raise _refused(repo, download.revision, error) from error
    read_checkpoint(folder, 0)
    return folder


def _wanted(repo: str, revision: str, sizes: Mapping[str, int]) -> tuple[str, ...]:
    """The weights, their configuration and the tokenizer, of the repository's own folder alone."""

    def first(kinds: Sequence[str]) -> list[str]:
        found = ([name for name in sorted(sizes) if re.fullmatch(kind, name)] for kind in kinds)
        return next(filter(None, found), [])

    weights = [*first(_FULL), *first(_ADAPTER)]
    if not weights:
        raise AttnshiftError(
            f"{repo!r}, revision {revision!r}, holds no weights that are read: {', '.join(sorted(sizes)[:5])}",
            expected="model.safetensors, pytorch_model.bin or adapter_model.safetensors, in one file or shards",
            remedy="convert it, and give its folder",
        )
    return (*weights, *(name for name in sorted(sizes) if re.fullmatch(f"{_BESIDE}|{_TOKENIZER}", name)))


def _need_room(repo: str, needed: int) -> None:
    from huggingface_hub import constants

    cache = Path(constants.HF_HUB_CACHE)
    place = next((folder for folder in (cache, *cache.parents) if folder.is_dir()), Path.cwd())
    free = shutil.disk_usage(place).free
    if needed and needed + _MARGIN > free:
        raise AttnshiftError(
            f"{repo!r} has {needed / 1e9:.1f} GB to download, and {cache} has {free / 1e9:.1f} GB free",
            expected="room for all revisions in the hub's cache",
            remedy="name fewer revisions, or set HF_HOME to a folder on a larger disk",
        )


def _refused(repo: str, revision: str, error: Exception) -> AttnshiftError:
    """What the hub's libraries raise, told in one block."""
    from huggingface_hub import errors

    which = f"{repo!r}, revision {revision!r}," if revision != "main" else repr(repo)
    reason = str(error).strip().partition("\n")[0] or type(error).__name__
    problem, expected = f"{which} is not on disk and can't be downloaded: {reason}", "the name of a model on the hub"
    remedy = "check the name, the network and the access to it"
    if isinstance(error, errors.RevisionNotFoundError):
        expected = _known_revisions(repo)
        problem, remedy = f"{repo!r} has no revision {revision!r}", "check the name after --revisions"
    elif isinstance(error, errors.GatedRepoError):
        problem, expected = f"{which} is gated, and this machine may not read it", "an account that was given access"
        remedy = f"ask for access on its page, then: hf auth login (or set HF_TOKEN); {reason}"
    elif isinstance(error, errors.RepositoryNotFoundError):
        problem = f"the hub knows no model {repo!r}, or it is private"
        remedy = "check the name; for a private model: hf auth login"
    elif isinstance(error, errors.OfflineModeIsEnabled | errors.LocalEntryNotFoundError | ConnectionError):
        remedy = f"where there is a network: hf download {repo} --revision {revision}; and copy the cache"
    return AttnshiftError(problem, expected=expected, remedy=remedy)


def _known_revisions(repo: str) -> str:
    """The names of a model's branches and tags, as far as they fit a line."""
    import huggingface_hub

    try:
        refs: Any = huggingface_hub.list_repo_refs(repo)
    except Exception:  # the revision is wrong anyway; what would be right can't be told
        return "one of its branches and tags"
    names = [ref.name for ref in (*refs.branches, *refs.tags)]
    return f"one of {', '.join(names[:12])}{f', … ({len(names)} in all)' if len(names) > 12 else ''}"
