"""Whether this process holds all of a model, as one plain module."""

from __future__ import annotations

import sys
from typing import Any

import torch.distributed as dist
from torch import nn

from attnshift.errors import AttnshiftError

# By name, since none of them need be installed: where one of these is among a module's classes, its weights are shards.
_SHARDING = {"FullyShardedDataParallel", "FSDPModule", "DeepSpeedEngine", "PipelineModule"}


def refuse_parts(model: nn.Module, stated: str = "") -> None:
    """Raise where the model is wrapped, sharded, or trained by several processes; ``stated`` is a reason known before.

    Nothing of it need be installed to be recognised.
    """
    reason = stated or _wrapped(model) or _sharded(model) or _several_processes()
    if reason:
        raise AttnshiftError(
            f"the model can't be measured while it is trained: {reason}",
            expected="one process that holds the whole model",
            remedy="save checkpoints while training, and measure them by: attnshift trace --ckpts RUN",
        )


def _wrapped(model: nn.Module) -> str:
    if isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
        return f"{type(model).__name__} is around it"
    for module in model.modules():
        if found := sorted(_SHARDING & {each.__name__ for each in type(module).__mro__}):
            return f"it is sharded by {found[0]}"
    return ""


def _sharded(model: nn.Module) -> str:
    for name, p in model.named_parameters():
        if hasattr(p, "ds_id"):
            return f"{name} is partitioned by DeepSpeed ZeRO"
        if type(p).__name__ == "DTensor" or type(p.data).__name__ == "DTensor":
            return f"{name} is a DTensor"
        if p.device.type == "meta" or not p.numel():
            return f"{name} has no values here ({p.device.type}, shape {tuple(p.shape)})"
    return ""


def _several_processes() -> str:
    if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
        return f"{dist.get_world_size()} processes train it"
    accelerate: Any = sys.modules.get("accelerate.state")  # if it isn't loaded, nothing uses it
    kind = None if accelerate is None else accelerate.PartialState._shared_state.get("distributed_type")
    return "" if kind is None or str(kind).endswith("NO") else f"accelerate trains it as {kind}"
