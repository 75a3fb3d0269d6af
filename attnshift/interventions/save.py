"""A grafted model as an ordinary checkpoint."""

from __future__ import annotations

import json
import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

from attnshift.atomic import atomic_folder, os_errors
from attnshift.errors import AttnshiftError
from attnshift.interventions.setup import Bench
from attnshift.interventions.units import Unit
from attnshift.models.skeleton import Skeleton

MANIFEST = "attnshift-graft.json"
"""Says of a saved graft what it was made of."""


def refuse_existing(folder: str | Path | None) -> None:
    """Raise AttnshiftError where something is at the place to save to: nothing is overwritten."""
    if folder is not None and os.path.lexists(folder):
        raise AttnshiftError(
            f"{str(folder)!r} exists already", expected="a new folder", remedy="name another place with --save"
        )


def save_grafted(bench: Bench, skeleton: Skeleton, units: Collection[Unit], folder: Path) -> None:
    """Write the model as it is, with its tokenizer: full weights, or an adapter that names its base.

    Written beside its place and moved there when it is whole. Raises AttnshiftError where something is there already,
    or nothing can be made.
    """
    refuse_existing(folder)
    try:
        with atomic_folder(folder) as temporary, os_errors():
            _write_model(bench, skeleton, temporary)
            bench.job.tokenizer.save_pretrained(temporary)
            (temporary / MANIFEST).write_text(json.dumps(_made_of(bench, units), indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise AttnshiftError(
            f"the graft can't be written to {str(folder)!r}: {error.strerror or error}",
            expected="a place where a folder can be made",
            remedy="name another place with --save",
        ) from error


def _write_model(bench: Bench, skeleton: Skeleton, folder: Path) -> None:
    if skeleton.peft is None:
        skeleton.model.save_pretrained(folder)
        return
    config = skeleton.peft.peft_config["default"]
    stated, config.base_model_name_or_path = config.base_model_name_or_path, str(bench.pair.target.run.base)
    try:
        skeleton.peft.save_pretrained(folder, save_embedding_layers=False)
    finally:
        config.base_model_name_or_path = stated


def _made_of(bench: Bench, units: Collection[Unit]) -> dict[str, Any]:
    return {
        "source": bench.pair.source.about(),
        "target": bench.pair.target.about(),
        "units_of_the_source": sorted(unit.name for unit in units),
    }
