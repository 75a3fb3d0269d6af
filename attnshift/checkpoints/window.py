"""How long a model's inputs may be, as its configuration says."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

_KEYS = ("max_position_embeddings", "n_positions", "max_sequence_length")


def window_of(folders: Iterable[Path]) -> int | None:
    """The window in tokens that the first readable config.json states; None where none does."""
    for folder in folders:
        try:
            config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue  # loading the model says better what is wrong with it
        if (window := stated_window(config.get("text_config") or config)) is not None:
            return window
    return None


def stated_window(config: Mapping[str, Any]) -> int | None:
    """The window in tokens that a text model's configuration states."""
    return next((config[key] for key in _KEYS if isinstance(config.get(key), int)), None)
