"""From the names in a checkpoint's files to those of the model: transformers renames some and fuses others."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class ModelNames:
    """Where a checkpoint's tensors end up in the model."""

    of_file: dict[str, str]
    """name in the files to name in the model; several file tensors may become one"""
    converted: bool
    """whether some tensor isn't simply copied (experts stacked, matrices fused)"""


def model_names(model: Any, file_names: Iterable[str]) -> ModelNames:
    """Name by name, what loading the files into ``model`` does."""
    from transformers.conversion_mapping import get_model_conversion_mapping
    from transformers.core_model_loading import WeightConverter, WeightRenaming, rename_source_key

    live = model.state_dict()
    rules = get_model_conversion_mapping(model)
    renamings = [rule for rule in rules if isinstance(rule, WeightRenaming)]
    converters = [rule for rule in rules if isinstance(rule, WeightConverter)]
    of_file, converted = {}, False
    for name in file_names:
        new, converter = rename_source_key(name, renamings, converters, model.base_model_prefix, live)
        if new not in live and name in live:
            new, converter = name, None
        of_file[name] = new
        converted = converted or converter is not None
    return ModelNames(of_file, converted)
