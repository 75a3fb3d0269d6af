"""A checkpoint's tensors, copied into those of a model that is in memory."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from attnshift.checkpoints.tensors import Tensors
from attnshift.errors import CheckpointError


@torch.no_grad()
def copy_into(live: Mapping[str, Tensor], tensors: Tensors, of_file: Mapping[str, str]) -> bool:
    """Copy straight from the mapped files, one tensor at a time: the weights are never twice in memory.

    Parameters
    ----------
    live
        The model's tensors by their name in it.
    tensors
        The checkpoint's.
    of_file
        Name in the files to name in the model.

    Returns
    -------
    False, and nothing touched, where names or shapes are others. Tied tensors are stored once; what shares memory with
    a copied tensor counts as copied.

    Raises
    ------
    CheckpointError
        Where a file fails while it is read. Some tensors are then this checkpoint's; copying another one into them
        mends that, because every tensor is copied or none.
    """
    targets = {name: live.get(of_file[name]) for name in tensors.names}
    written = {target.data_ptr() for target in targets.values() if target is not None}
    fitting = {name: target for name, target in targets.items() if target is not None and _fits(tensors, name, target)}
    if len(fitting) < len(targets) or not all(tensor.data_ptr() in written for tensor in live.values()):
        return False
    for name, target in fitting.items():
        target.copy_(_read(tensors, name))
    return True


def _fits(tensors: Tensors, name: str, target: Tensor) -> bool:
    return tensors.shape(name) == tuple(target.shape)


def _read(tensors: Tensors, name: str) -> Tensor:
    try:
        return tensors[name]
    except Exception as error:  # SafetensorError is an Exception and nothing nearer
        raise CheckpointError(
            f"the tensor {name!r} can't be read: {error}",
            expected="files that stay as they are while they are measured",
            remedy="copy the checkpoint again, or leave it out with --steps",
        ) from error
