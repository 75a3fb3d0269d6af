"""A model's configuration, read from disk without what it may ask to be fetched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from attnshift.errors import CheckpointError

MOST_LAYERS = 10_000
"""A file that claims more would keep transformers building for hours."""


def read_config(folder: str | Path) -> Any:
    """The transformers configuration of a model's folder.

    Code beside it is never run. Nor is the attention or expert code taken that it names: transformers would fetch
    ``org/kernel`` from the hub and run it. What suits the model is chosen instead, as for a file that names none.

    Raises CheckpointError where it can't be used.
    """
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
        config._attn_implementation = config._experts_implementation = None
        layers = int(getattr(config.get_text_config(), "num_hidden_layers", None) or 0)
        if layers > MOST_LAYERS:
            raise ValueError(f"its configuration claims {layers} layers")
    except Exception as error:  # transformers raises whatever its checks and the file's parsers raise
        raise unloadable(folder, error) from error
    return config


def unloadable(folder: str | Path, error: Exception) -> CheckpointError:
    """What to say of a model's folder that transformers can't load."""
    return CheckpointError(
        f"{folder} can't be loaded: {type(error).__name__}: {error}",
        expected="a causal language model that transformers reads without remote code",
    )
