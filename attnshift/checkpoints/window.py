"""How long a model's inputs may be, as its configuration says."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from attnshift.checkpoints.jsonfile import read_object
from attnshift.errors import AttnshiftError

_KEYS = ("max_position_embeddings", "n_positions", "max_sequence_length")


def window_of(folders: Iterable[Path]) -> int | None:
    """The window in tokens that the first readable config.json states; None where none does."""
    for folder in folders:
        try:
            config = read_object(folder / "config.json")
        except AttnshiftError:
            continue  # loading the model says better what is wrong with it
        text = config.get("text_config")
        if (window := stated_window(text if isinstance(text, dict) and text else config)) is not None:
            return window
    return None


def stated_window(config: Mapping[str, Any]) -> int | None:
    """The window in tokens that a text model's configuration states."""
    return next((config[key] for key in _KEYS if isinstance(config.get(key), int)), None)
