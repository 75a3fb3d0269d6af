"""Tensors of a checkpoint's weight files: one file, shards with an index, safetensors or a restricted pickle."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from fnmatch import fnmatch
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

from attnshift.checkpoints.jsonfile import read_object
from attnshift.checkpoints.safepath import inside
from attnshift.errors import AttnshiftError, CheckpointError

INDEX_SUFFIX = ".index.json"
_NEVER_OPENED = ("training_args*", "optimizer*", "scheduler*", "rng_state*")
_COMPUTED = "rotary_emb.inv_freq"
"""No weight: models compute it. torchtune's index is that of the model it began with, which may list it."""
_REMEDY = "copy the checkpoint again, or leave it out with --steps"


class Tensors:
    """The named tensors of one checkpoint, read when asked for; a context manager. Those of files are on the CPU.

    Tensors are views of the mapped files: copy one before the checkpoint is rewritten or to keep it.
    """

    def __init__(self, sources: Mapping[str, Callable[[str], Tensor]], opened: ExitStack) -> None:
        self.names: tuple[str, ...] = tuple(sorted(sources))
        self._sources, self._opened = dict(sources), opened

    def __getitem__(self, name: str) -> Tensor:
        return self._sources[name](name).detach()

    def shape(self, name: str) -> tuple[int, ...]:
        """Sizes of one tensor; reads none of its content. KeyError for an unknown name."""
        return tuple(self[name].shape)

    def dtype(self, name: str) -> torch.dtype:
        """Element type of one tensor; reads none of its content. KeyError for an unknown name."""
        return self[name].dtype

    def close(self) -> None:
        """Let go of the files; tensors that were handed out stay readable."""
        self._sources.clear()
        self._opened.close()

    def __enter__(self) -> Tensors:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_tensors(files: Sequence[Path]) -> Tensors:
    """Open the weight files of one checkpoint.

    Parameters
    ----------
    files
        As `weight_files` returns them: one weight file, or an index followed by its shards.

    Raises
    ------
    CheckpointError
        For a file that is missing, truncated, empty, not of its format or a pickle of anything but tensors, and for a
        tensor that the index promises and its shard lacks.
    """
    with ExitStack() as stack:
        sources: dict[str, Callable[[str], Tensor]] = {}
        if not files[0].name.endswith(INDEX_SUFFIX):
            names, read = _open(files[0], stack)
            return Tensors(dict.fromkeys(names, read), stack.pop_all())
        opened = {path: _open(path, stack) for path in files[1:]}
        for name, path in _read_index(files[0]).items():
            names, read = opened[path]
            if name not in names and name.endswith(_COMPUTED):
                continue
            if name not in names:
                raise CheckpointError(f"{path} lacks the tensor {name!r} that {files[0].name} promises", remedy=_REMEDY)
            sources[name] = read
        return Tensors(sources, stack.pop_all())


def held_tensors(state: Mapping[str, Tensor]) -> Tensors:
    """Tensors of a model in memory as those of a checkpoint; they may be on any device."""
    return Tensors(dict.fromkeys(state, state.__getitem__), ExitStack())


def weight_files(path: Path) -> tuple[Path, ...]:
    """The files to open for a weight file or an index: the file itself, or the index and its shards in name order.

    Raises
    ------
    CheckpointError
        For an index that can't be read, names files outside its folder or shards that are missing.
    """
    if not path.name.endswith(INDEX_SUFFIX):
        return (path,)
    shards = sorted(set(_read_index(path).values()))
    missing = [shard.name for shard in shards if not shard.is_file()]
    if missing:
        raise CheckpointError(
            f"{path.parent} lacks {len(missing)} of {len(shards)} shards: {', '.join(missing[:3])}",
            expected=f"every file that {path.name} names",
            remedy=_REMEDY,
        )
    return (path, *shards)


def _read_index(index: Path) -> dict[str, Path]:
    """Tensor name to shard; a shard may not be another kind of file, which opening could execute or misread."""
    weight_map = read_object(index, CheckpointError).get("weight_map")
    suffix = Path(index.name.removesuffix(INDEX_SUFFIX)).suffix
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError(f"{index} has no weight_map", expected="tensor names and the files that hold them")
    paths: dict[object, Path] = {}
    for file in set(map(str, weight_map.values())):
        if not file.endswith(suffix) or any(fnmatch(Path(file).name, pattern) for pattern in _NEVER_OPENED):
            raise CheckpointError(f"{index} names {file!r} as a weight file", expected=f"a {suffix} file of weights")
        try:
            inside(_shard_root(index.parent), file, start=index.parent)
        except AttnshiftError as error:
            raise CheckpointError(f"{index}: {error.problem}", expected=error.expected, remedy=error.remedy) from error
        paths[file] = index.parent / file
    return {name: paths[str(file)] for name, file in weight_map.items()}


def _shard_root(directory: Path) -> Path:
    """The folder that shards must stay in. In the hub's cache, `snapshots/REVISION/` is links into `blobs/` beside."""
    repository = directory.resolve().parent.parent
    if directory.resolve().parent.name == "snapshots" and (repository / "blobs").is_dir():
        return repository
    return directory


def _open(path: Path, stack: ExitStack) -> tuple[frozenset[str], Callable[[str], Tensor]]:
    """The names in one file, and the function that reads one of them."""
    if path.exists() and not path.is_file():
        raise _unreadable(path, "it is no file", "a file of weights")
    if path.suffix != ".safetensors":
        state = _load_pickle(path)
        return frozenset(state), state.__getitem__
    try:
        # The header states every tensor's bytes, and opening compares their end with the file's length.
        handle = stack.enter_context(safe_open(path, framework="pt", device="cpu"))
    except Exception as error:  # SafetensorError is an Exception and nothing nearer
        raise _unreadable(path, str(error), "a complete safetensors file") from error
    return frozenset(handle.keys()), handle.get_tensor


def _load_pickle(path: Path) -> dict[str, Tensor]:
    try:
        # Only the zip format can be mapped; the older one is read whole, and as restrictedly.
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except Exception as error:  # a damaged or refused pickle can raise nearly anything
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise _unreadable(path, reason, "tensors only, as torch.save writes a state dict") from error
    if not isinstance(state, dict) or not all(isinstance(key, str) and _is_dense(state[key]) for key in state):
        raise _unreadable(path, "it holds more than tensors", "a flat state dict of name to dense tensor")
    return state


def _is_dense(value: object) -> bool:
    return isinstance(value, Tensor) and value.layout == torch.strided and not value.is_quantized


def _unreadable(path: Path, why: str, expected: str) -> CheckpointError:
    try:
        size = f"{path.stat().st_size} bytes"
    except OSError:
        size = "no such file"
    return CheckpointError(f"{path} ({size}) can't be read: {why}", expected=expected, remedy=_REMEDY)
