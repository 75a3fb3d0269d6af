"""The base model of a run: a folder on disk, the hub's cache, or (only where the user names it) the hub."""

from __future__ import annotations

import os.path
import re
from collections.abc import Sequence
from pathlib import Path

from attnshift.checkpoints.checkpoint import Checkpoint, classify, is_quantised
from attnshift.checkpoints.hub import cached_snapshot, fetch_model, is_hub_name
from attnshift.checkpoints.layout import BASE_FOLDER
from attnshift.errors import AttnshiftError

_FOUR_BITS = re.compile(r"(.+?)(?:-unsloth)?-bnb-4bit", re.IGNORECASE)


def resolve_base(name: str, run_dir: Path, *, explicit: bool = False, allow_download: bool = False) -> Path | None:
    """Find the folder of a base model, with its configuration and full weights.

    Parameters
    ----------
    name
        A folder (absolute or relative to the run) or a hub name.
    run_dir
        The run's folder.
    explicit
        The user named it: relative to the working directory too, and that first.
    allow_download
        Fetch it from the hub where the cache lacks it. Only for an explicit name: a run never makes us fetch anything.

    Returns
    -------
    Path or None
        Absolute; None where there is no such model.

    Raises
    ------
    AttnshiftError
        Where a download was allowed and failed.
    """
    if not name:  # which would be the working directory
        return None
    folders = [Path(os.path.expanduser(name)), run_dir / name] if explicit else [run_dir / name]
    for folder in folders:
        if classify(folder) == "full":
            return folder.resolve()
    found = cached_snapshot(name) or (_fetched(name) if explicit and allow_download and is_hub_name(name) else None)
    return found if found and classify(found) == "full" else None


def _fetched(name: str) -> Path:
    try:
        return fetch_model(name)
    except AttnshiftError as error:
        remedy = f"{error.remedy}; or give a folder to --base"
        raise AttnshiftError(f"the base {error.problem}", expected=error.expected, remedy=remedy) from error


def named_base(root: Path, option: str | None, stated: str | None, allow_download: bool) -> Path | None:
    """The base that the user names, the manifest states or a folder is called, in this order; None where none is found.

    Raises AttnshiftError where the user names one that can't be found.
    """
    if option is not None:
        found = resolve_base(option, root, explicit=True, allow_download=allow_download)
        if found is None:
            raise AttnshiftError(
                f"there is no base model {option!r}",
                expected="a folder with config.json and full weights, or the hub name of a model in the local cache",
                remedy="check the path or the name after --base",
            )
        if is_quantised(found):
            raise _quantised(option)
        return found
    found = resolve_base(stated or "", root)
    folder = root / BASE_FOLDER
    return found or (folder.resolve() if classify(folder) == "full" else None)


def adapter_base(root: Path, adapters: Sequence[Checkpoint], named: Path | None) -> tuple[Path, str]:
    """The base of a run's adapters: the named one, else the one that their configurations state; and a note, or ''.

    Of a base in four bits, which isn't read, its twin in full precision is taken where that is on disk.

    Raises AttnshiftError where they state different ones, and where no base is found.
    """
    stated = {str(adapter.adapter_config().get("base_model_name_or_path") or ""): adapter for adapter in adapters}
    if len(stated) > 1:
        places = ", ".join(f"{adapter.path.name}/: {name!r}" for name, adapter in sorted(stated.items()))
        raise AttnshiftError(f"the adapters in {root} have different base models ({places})", expected="one base model")
    name = next(iter(stated))
    found, twin = named or resolve_base(name, root), _in_full_precision(name)
    if found is not None and not is_quantised(found):
        return found, _rounded(name, found) if twin else ""
    if twin and (other := resolve_base(twin, root)) is not None:
        return other, _rounded(name, other)
    if twin or found is not None:
        raise _quantised(name)
    raise AttnshiftError(
        f"the adapters in {root} need their base model {name!r}, which is not on disk",
        expected="its folder, or a hub name that is in the local cache",
        remedy="name it with --base",
    )


def _in_full_precision(name: str) -> str:
    """The name of the model that one in four bits was made from, as Unsloth names them; '' for any other name."""
    match = _FOUR_BITS.fullmatch(name.rstrip("/"))
    return match[1] if match else ""


def _rounded(name: str, used: Path) -> str:
    return (
        f"the adapters were trained on {name}, in four bits; they are measured on {used}, in full precision: numbers "
        "differ from the training's by its rounding"
    )


def _quantised(name: str) -> AttnshiftError:
    return AttnshiftError(
        f"the base model {name!r} is quantised by bitsandbytes, which isn't read",
        expected="weights in floating point: they are what gradients are taken of",
        remedy=f"--base {_in_full_precision(name) or 'MODEL, the one that it was made from'}",
    )
