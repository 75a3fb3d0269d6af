"""A model's configuration, read from disk without what it may ask to be fetched."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def read_config(folder: str | Path) -> Any:
    """The transformers configuration of a model's folder; raises whatever transformers does.

    Code beside it is never run. Nor is the attention or expert code taken that it names: transformers would fetch
    ``org/kernel`` from the hub and run it. What suits the model is chosen instead, as for a file that names none.
    """
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    config._attn_implementation = config._experts_implementation = None
    return config
