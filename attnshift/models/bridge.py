"""A TransformerLens view on a transformers model."""

from __future__ import annotations

import copy
from typing import Any


def bridge_of(model: Any) -> Any:
    """A ``TransformerBridge`` over a zero-copy twin of the model.

    Booting a bridge rewrites the modules that it is given, so it gets a twin that shares every tensor. Swap
    weights in the model, never in a bridge (split q, k and v of fused matrices are copies there), and boot anew.
    """
    from transformer_lens.model_bridge.sources import build_bridge_from_module

    shared = {id(t): t for t in [*model.parameters(), *model.buffers()]}
    twin = copy.deepcopy(model, memo=shared)
    twin.set_attn_implementation("eager")
    return build_bridge_from_module(twin, type(model).__name__, hf_config=twin.config)
