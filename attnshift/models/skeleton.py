"""One model in memory whose weights are swapped in place from checkpoint to checkpoint."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from attnshift.checkpoints.checkpoint import Checkpoint
from attnshift.checkpoints.run import Run, trained_tensors
from attnshift.errors import AttnshiftError, CheckpointError
from attnshift.models.attention import IMPLEMENTATION
from attnshift.models.names import model_names

Weights = dict[str, Tensor]
"""A checkpoint's tensors, on the CPU, under the names of its files."""

_WRAPPERS = re.compile(r"\.(?:base_layer|original_module|modules_to_save\.default)(?=\.|$)")


def read_weights(checkpoint: Checkpoint) -> Weights:
    """Read every tensor of a checkpoint; raises CheckpointError."""
    with checkpoint.open() as tensors:  # copied out: a trainer may rewrite the mapped file
        return {name: tensors[name].clone() for name in tensors.names}


@dataclass
class Skeleton:
    """A transformers model that becomes one checkpoint after the other.

    Parameter identity survives a swap, so whatever is hooked stays hooked. Adapters stay beside their base
    (merging them in and out again would drift it); step 0 of an adapter run is the base with the adapter off.
    """

    run: Run
    dtype: torch.dtype | None
    """None: as the checkpoint states it"""
    device: torch.device
    model: Any = None
    """the HF causal LM, adapter layers in place where there are any"""
    peft: Any = None
    """the PeftModel around it, for adapter runs"""
    adapter_on: bool = False
    usual_attention: str = ""
    """what transformers would have this model use"""

    def load(self, checkpoint: Checkpoint, weights: Weights | None = None) -> None:
        """Make the model this checkpoint; ``weights`` if they were read ahead."""
        adapters = [c for c in self.run.checkpoints if c.kind == "adapter"]
        if adapters:
            if self.peft is None:
                self._build_adapter(adapters[0])
            self._switch_adapter(checkpoint.kind == "adapter")
            if checkpoint.kind == "adapter":
                self._load_adapter(checkpoint, weights)
        elif self.model is None or not self._swap_full(weights or read_weights(checkpoint)):
            self.model = self._build(checkpoint.path)

    def merged(self) -> Any:
        """The plain model, its adapter merged in for good: only for a skeleton that isn't loaded again."""
        if self.peft is None:
            return self.model
        return self.peft.merge_and_unload() if self.adapter_on else self.peft.unload()

    def trained_parameters(self) -> dict[str, nn.Parameter]:
        """The parameters whose gradients are measured, by their name in the plain model.

        What the manifest names, else every tensor that changes over the series; for adapters, the weight
        matrices that they adapt (and modules trained whole), which mean the same at every step, step 0 included.
        """
        named = {_WRAPPERS.sub("", name): p for name, p in self._active_parameters()}
        if patterns := self.run.manifest.trained:
            chosen = {n for n in named if any(fnmatchcase(n, pattern) for pattern in patterns)}
        elif self.peft is not None:
            chosen = self._adapted_names()
        else:
            chosen = set(named) if self._changed is None else self._changed & set(named)
        if not chosen:
            raise AttnshiftError(
                f"no parameter of the model is among the trained ones ({', '.join(patterns) or 'no tensor changes'})",
                expected="patterns like model.layers.*.self_attn.q_proj.weight under 'trained' in attnshift.json",
            )
        return {name: p for name, p in named.items() if name in chosen}

    @cached_property
    def _changed(self) -> set[str] | None:
        changed = trained_tensors(self.run)
        return None if changed is None else set(model_names(self.model, changed).of_file.values())

    def _active_parameters(self) -> list[tuple[str, nn.Parameter]]:
        """Without adapter matrices, and of a module trained whole only the copy in use."""
        unused = "original_module" if self.adapter_on else "modules_to_save"
        return [
            (name, p)
            for name, p in self.model.named_parameters()
            if f".{unused}." not in name
            and not re.search(r"\.lora_|\.ia3_|\.hada_|\.lokr_|\.vera_|\.boft_|\.oft_", name)
        ]

    def _adapted_names(self) -> set[str]:
        marks = (".base_layer.weight", ".modules_to_save.default", ".original_module.")
        return {
            _WRAPPERS.sub("", name) for name, _ in self.model.named_parameters() if any(mark in name for mark in marks)
        }

    def _build(self, path: Path) -> Any:
        from transformers import AutoModelForCausalLM

        try:
            model = AutoModelForCausalLM.from_pretrained(
                path,
                dtype="auto" if self.dtype is None else self.dtype,
                trust_remote_code=False,
                local_files_only=True,
                weights_only=True,
            )
        except Exception as error:  # transformers raises whatever it meets: here it means one unreadable checkpoint
            raise CheckpointError(
                f"{path} can't be loaded: {type(error).__name__}: {error}",
                expected="a causal language model that transformers reads without remote code",
            ) from error
        self.usual_attention = model.config._attn_implementation
        model.set_attn_implementation(IMPLEMENTATION)
        return model.to(self.device).eval()

    def _load_adapter(self, checkpoint: Checkpoint, weights: Weights | None) -> None:
        from peft import get_peft_model_state_dict

        live = get_peft_model_state_dict(self.peft, save_embedding_layers=False)
        if not self._swap(live, weights or read_weights(checkpoint)):
            raise CheckpointError(
                f"{checkpoint.path}: its adapter has other tensors than the run's first one",
                expected="one adapter configuration for the whole run",
                remedy="trace checkpoints of different adapters as runs of their own",
            )

    def _build_adapter(self, checkpoint: Checkpoint) -> None:
        from peft import PeftModel

        assert self.run.base is not None  # noqa: S101  (find_run refuses adapters without a base)
        model = self._build(self.run.base)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)  # between peft and transformers, nobody's here
                peft = PeftModel.from_pretrained(model, checkpoint.path, local_files_only=True)
        except Exception as error:  # as in _build
            raise CheckpointError(
                f"the adapter {checkpoint.path} can't be loaded: {type(error).__name__}: {error}",
                expected="a LoRA-like adapter as PEFT saves it",
            ) from error
        if not hasattr(peft.base_model, "disable_adapter_layers"):
            raise AttnshiftError(
                f"{checkpoint.path}: adapters of the type {peft.peft_type} change the prompt, not the weights",
                expected="LoRA or another adapter of weight matrices",
            )
        self.peft, self.model = peft, peft.get_base_model().eval()

    def _switch_adapter(self, on: bool) -> None:
        if on:
            self.peft.base_model.enable_adapter_layers()
        else:
            self.peft.base_model.disable_adapter_layers()
        self.adapter_on = on

    def _swap_full(self, weights: Weights) -> bool:
        """Swap where loading is plain copying; False where transformers has to convert."""
        names = model_names(self.model, weights)
        if names.converted:
            return False
        return self._swap(self.model.state_dict(), {names.of_file[name]: tensor for name, tensor in weights.items()})

    @staticmethod
    @torch.no_grad()
    def _swap(live: Mapping[str, Tensor], weights: Weights) -> bool:
        """Copy in place; False, and nothing touched, where names or shapes are others.

        Tied tensors are stored once; what shares memory with a copied tensor counts as copied.
        """
        known = {name: tensor for name, tensor in weights.items() if name in live}
        written = {live[name].data_ptr() for name in known}
        complete = len(known) == len(weights) and all(t.data_ptr() in written for t in live.values())
        if not complete or any(live[name].shape != tensor.shape for name, tensor in known.items()):
            return False
        for name, tensor in known.items():
            live[name].copy_(tensor)
        return True
