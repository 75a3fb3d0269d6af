"""One checkpoint: a folder with the weights of a full model or of an adapter."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from attnshift.checkpoints.fingerprint import Fingerprint, fingerprint, same_weights
from attnshift.checkpoints.foreign import CONVERTED, copy_config, find_foreign
from attnshift.checkpoints.jsonfile import read_object
from attnshift.checkpoints.safepath import refuse_pipes
from attnshift.checkpoints.tensors import Tensors, open_tensors, weight_files
from attnshift.errors import AttnshiftError, CheckpointError

Kind = Literal["full", "adapter"]

# The merged weights come first: beside them an adapter would be applied twice.
_CONFIG: dict[Kind, str] = {"full": "config.json", "adapter": "adapter_config.json"}
_WEIGHTS: dict[Kind, tuple[str, ...]] = {
    "full": (
        "model.safetensors",
        "model.safetensors.index.json",
        "pytorch_model.bin",
        "pytorch_model.bin.index.json",
    ),
    "adapter": ("adapter_model.safetensors", "adapter_model.bin"),
}

# Where and by what an adapter was saved; none of it changes what the adapter computes.
_CIRCUMSTANCES = ("base_model_name_or_path", "revision", "inference_mode", "peft_version", "auto_mapping")


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint on disk; nothing of its weights is read before `open`."""

    path: Path
    """Its folder."""
    step: int
    """Optimizer steps before it was saved."""
    kind: Kind
    """Weights of the full model, or of an adapter to it."""
    files: tuple[Path, ...]
    """One weight file, or an index followed by its shards."""
    epoch: float | None = None
    """Passes over the training set before it was saved, where the run states them."""
    revision: str = ""
    """Its revision on the hub, for one in the hub's cache."""

    @property
    def name(self) -> str:
        """Its revision, or the name of its folder."""
        return self.revision or self.path.name

    def open(self) -> Tensors:
        """Open its weights. Raises CheckpointError where they can't be read or are placeholders."""
        tensors = open_tensors(self.files)
        empty = [name for name in tensors.names if tensors.shape(name) == (0,)]
        if empty:
            tensors.close()
            raise _placeholders(self.path, empty, len(tensors.names))
        return tensors

    def fingerprint(self) -> Fingerprint:
        """Digest its weights and, for an adapter, the settings that change their function (r, alpha, …).

        Raises CheckpointError where a file can't be read.
        """
        config = self.adapter_settings() if self.kind == "adapter" else None
        with self.open() as tensors:
            return fingerprint(tensors, config)

    def adapter_config(self) -> dict[str, object]:
        """The content of its adapter_config.json. Raises CheckpointError where that can't be read."""
        return read_object(self.path / _CONFIG["adapter"], CheckpointError)

    def adapter_settings(self) -> dict[str, object]:
        """What of its adapter_config.json changes what the adapter computes. Raises CheckpointError."""
        return adapter_function(self.adapter_config())

    def equals(self, other: Checkpoint) -> bool:
        """Whether the weights are the same to the last byte; reads both. Raises CheckpointError."""
        with self.open() as mine, other.open() as theirs:
            return same_weights(mine, theirs)


def kinds(directory: Path) -> tuple[Kind, ...]:
    """The kinds of weights, with their configuration, that a folder holds; the one to use first."""
    names = _listing(directory)
    return tuple(kind for kind in _CONFIG if _CONFIG[kind] in names and not names.isdisjoint(_WEIGHTS[kind]))


def classify(directory: Path) -> Kind | None:
    """What a folder holds; the merged weights where it holds both, None where it holds neither."""
    return next(iter(kinds(directory)), None)


def read_checkpoint(directory: Path, step: int, epoch: float | None = None, revision: str = "") -> Checkpoint:
    """Describe the checkpoint in a folder, without opening its weights.

    Raises
    ------
    CheckpointError
        For a folder without weights and their configuration, and for shards that are missing.
    """
    kind, names = classify(directory), _listing(directory)
    if kind is None:
        raise _no_checkpoint(directory, names)
    refuse_pipes(directory, CheckpointError)
    chosen = next(name for name in _WEIGHTS[kind] if name in names)
    return Checkpoint(directory, step, kind, weight_files(directory / chosen), epoch, revision)


def is_quantised(directory: Path) -> bool:
    """Whether a model's weights are packed by bitsandbytes, of which no gradients are taken."""
    try:
        how = read_object(directory / _CONFIG["full"]).get("quantization_config")
    except AttnshiftError:
        return False  # loading it says better what is wrong with it
    return isinstance(how, dict) and how.get("quant_method") == "bitsandbytes"


def adapter_function(config: Mapping[str, object]) -> dict[str, object]:
    """Of an adapter's configuration, what changes what the adapter computes, in one way of writing it."""
    return {key: _normalised(value) for key, value in config.items() if key not in _CIRCUMSTANCES}


def converted(directory: Path) -> Path:
    """What was converted inside a folder, where there is anything; else the folder itself."""
    inner = directory / CONVERTED
    return directory if classify(inner) is None else inner


def weights_folder(directory: Path) -> Path:
    """What was converted inside a checkpoint's folder; else the folder where it holds weights or nothing in it does.

    PEFT puts an adapter with a name of its own into a folder inside the checkpoint's: the only one is taken.
    """
    here = converted(directory)
    if classify(here) is not None:
        return here
    inner = [directory / name for name in sorted(_listing(directory)) if classify(directory / name) is not None]
    return inner[0] if len(inner) == 1 else directory


def _no_checkpoint(directory: Path, names: frozenset[str]) -> CheckpointError:
    """What a folder holds instead of weights and their configuration, and what to do about it."""
    foreign = find_foreign(directory)
    lacking = [kind for kind in _CONFIG if not names.isdisjoint(_WEIGHTS[kind])]
    remedy = "copy the checkpoint again, or leave it out with --steps"
    if foreign is not None:
        remedy = foreign.conversion
    elif lacking == ["full"]:
        remedy = f"{copy_config(directory, directory)}, with the folder of the model that was trained for BASE"
    inner = [name for name in sorted(names) if classify(directory / name) is not None]
    found = f"weights in several folders ({', '.join(inner)})" if inner else ", ".join(sorted(names)[:5]) or "nothing"
    return CheckpointError(
        f"{directory} is not a checkpoint: it holds {foreign.layout if foreign else found}",
        expected="config.json and model.safetensors, or adapter_config.json and adapter_model.safetensors",
        remedy=remedy,
    )


def _placeholders(directory: Path, empty: Sequence[str], total: int) -> CheckpointError:
    """ZeRO 3 saves tensors without elements where the weights weren't gathered."""
    foreign = find_foreign(directory)
    return CheckpointError(
        f"{directory}: {len(empty)} of {total} tensors have no elements ({empty[0]}, …): the placeholders of DeepSpeed "
        "ZeRO 3",
        expected="weights that were gathered (stage3_gather_16bit_weights_on_model_save)",
        remedy=foreign.conversion if foreign else "copy the shards (global_stepN/) beside them, or train again",
    )


def _listing(directory: Path) -> frozenset[str]:
    try:
        return frozenset(os.listdir(directory))
    except (
        OSError,
        ValueError,
    ):  # no folder, or none that we may read: nothing we can use
        return frozenset()


def _normalised(value: object) -> object:
    """A setting without accidents of its writing: peft saves sets as lists, in an order that differs per process."""
    if isinstance(value, list):
        return sorted(value, key=lambda each: json.dumps(each, sort_keys=True))
    return value
