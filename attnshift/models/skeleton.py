"""One model in memory whose weights are swapped in place from checkpoint to checkpoint."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from attnshift.checkpoints.checkpoint import Checkpoint
from attnshift.checkpoints.optimizer import FILE_NAME, SecondMoments, read_second_moments
from attnshift.checkpoints.run import Run, trained_tensors
from attnshift.errors import CheckpointError
from attnshift.models.attention import IMPLEMENTATION
from attnshift.models.configuration import read_config, unloadable
from attnshift.models.names import ModelNames, model_names
from attnshift.models.placement import refuse_offloaded
from attnshift.models.subject import (
    adapted_names,
    base_parameters,
    matching,
    no_moments_of_adapters,
    refuse_prompt_adapter,
    refuse_untrained,
)
from attnshift.models.swap import copy_into

_NO_ADAPTER = {"subfolder": "nowhere"}
"""Where transformers looks for an adapter: beside merged weights it would apply theirs a second time."""


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
    spread: bool = False
    """whether accelerate lays the weights out over all GPUs"""
    largest_token: int = -1
    """the largest token id that the model will be fed"""
    model: Any = None
    """the HF causal LM, adapter layers in place where there are any"""
    peft: Any = None
    """the PeftModel around it, for adapter runs"""
    adapter_on: bool = False
    checkpoint: Checkpoint | None = None
    """the one that the model is now"""
    usual_attention: str = ""
    """what transformers would have this model use"""
    _adapter: dict[str, Tensor] = field(default_factory=dict)
    """the adapter's live tensors under the names of its files, which take peft longer to find than to fill"""
    _settings: Mapping[str, object] = field(default_factory=dict)
    """what of the adapter's configuration changes what it computes"""
    _names: dict[tuple[str, ...], ModelNames] = field(default_factory=dict)

    def load(self, checkpoint: Checkpoint) -> None:
        """Make the model this checkpoint.

        Raises CheckpointError where it can't be read; the next one is then loaded as if nothing had happened.
        """
        adapters = [c for c in self.run.checkpoints if c.kind == "adapter"]
        if adapters:
            if self.peft is None:
                self._build_first(adapters)
            self._switch_adapter(checkpoint.kind == "adapter")
            if checkpoint.kind == "adapter":
                self._load_adapter(checkpoint)
        elif self.model is None or not self._swap_full(checkpoint):
            self.model = None  # two models at once may not fit
            gc.collect()
            self.model = self._build(checkpoint.path)
        self._refuse_short_vocabulary(checkpoint)
        self.checkpoint = checkpoint

    def adapter_tensors(self) -> dict[str, Tensor]:
        """The adapter's live tensors by their names in its files; empty for a run without adapters."""
        return dict(self._adapter)

    def second_moments(self) -> SecondMoments | None:
        """Adam's second moments of the trained parameters as the loaded checkpoint kept them; None if it kept none."""
        if self.checkpoint is None or not (self.checkpoint.path / FILE_NAME).is_file():
            return None
        if self.peft is not None:
            raise no_moments_of_adapters(str(self.checkpoint.path / FILE_NAME))
        layer_norms = [m for m in self.model.modules() if isinstance(m, nn.LayerNorm)]
        norms = {id(p) for module in layer_norms for p in module.parameters()}
        named = base_parameters(self.model, self.adapter_on)
        return read_second_moments(
            self.checkpoint.path,
            {name: p.shape for name, p in named.items()},
            set(self.trained_parameters()),
            {name for name, p in named.items() if id(p) in norms},
        )

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
        named = base_parameters(self.model, self.adapter_on)
        if patterns := self.run.manifest.trained:
            chosen = matching(named, patterns)
        elif self.peft is not None:
            chosen = adapted_names(self.model)
        else:
            chosen = set(named) if self._changed is None else self._changed
        trained = {name: p for name, p in named.items() if name in chosen}
        refuse_untrained(trained, ", ".join(patterns) or "no tensor changes")
        return trained

    @cached_property
    def _changed(self) -> set[str] | None:
        changed = trained_tensors(self.run)
        return None if changed is None else set(self._model_names(changed).of_file.values())

    def _build(self, path: Path) -> Any:
        from transformers import AutoModelForCausalLM

        config = read_config(path)
        try:
            model, found = AutoModelForCausalLM.from_pretrained(
                path,
                config=config,
                adapter_kwargs=_NO_ADAPTER,
                dtype="auto" if self.dtype is None else self.dtype,
                device_map="auto" if self.spread else None,
                trust_remote_code=False,
                local_files_only=True,
                weights_only=True,
                output_loading_info=True,
            )
        except Exception as error:  # transformers raises whatever it meets: here it means one unreadable checkpoint
            raise unloadable(path, error) from error
        _refuse_incomplete(path, found["missing_keys"])
        refuse_offloaded(model, path)
        self.usual_attention = model.config._attn_implementation
        model.set_attn_implementation(IMPLEMENTATION)
        return (model if self.spread else model.to(self.device)).eval()

    def _load_adapter(self, checkpoint: Checkpoint) -> None:
        """Take its tensors; what it does beside them (its alpha, …) has to be what the first one did."""
        if checkpoint.adapter_settings() != self._settings:
            raise CheckpointError(
                f"{checkpoint.path} has other settings in adapter_config.json than the run's first adapter",
                expected="one adapter configuration for the whole run",
                remedy="trace checkpoints of different adapters as runs of their own",
            )
        with checkpoint.open() as tensors:
            fits = copy_into(self._adapter, tensors, {name: name for name in tensors.names})
        if not fits:
            raise CheckpointError(
                f"{checkpoint.path}: its adapter has other tensors than the run's first one",
                expected="one adapter configuration for the whole run",
                remedy="trace checkpoints of different adapters as runs of their own",
            )

    def _refuse_short_vocabulary(self, checkpoint: Checkpoint) -> None:
        rows = len(self.model.get_input_embeddings().weight)
        if self.largest_token >= rows:
            raise CheckpointError(
                f"{checkpoint.path} has {rows} tokens, and the data has token {self.largest_token}",
                expected="a model whose vocabulary holds all that it is fed; finetuning may have added tokens",
                remedy="leave the step out with --steps, or give a base with as many tokens to --base",
            )

    def _build_first(self, adapters: Sequence[Checkpoint]) -> None:
        """Build the model around the first adapter that can be read: one may be deleted while others are measured."""
        for adapter in adapters:
            try:
                self._build_adapter(adapter)
            except CheckpointError:
                if adapter is adapters[-1]:
                    raise
            else:
                break

    def _build_adapter(self, checkpoint: Checkpoint) -> None:
        from peft import PeftModel, get_peft_model_state_dict

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
        refuse_prompt_adapter(peft, str(checkpoint.path))
        self.peft, self.model, self.adapter_on = peft, peft.get_base_model().eval(), True
        self._settings = checkpoint.adapter_settings()
        self._adapter = get_peft_model_state_dict(peft, save_embedding_layers=False)

    def _switch_adapter(self, on: bool) -> None:
        if on == self.adapter_on:
            return
        if on:
            self.peft.base_model.enable_adapter_layers()
        else:
            self.peft.base_model.disable_adapter_layers()
        self.adapter_on = on

    def _swap_full(self, checkpoint: Checkpoint) -> bool:
        """Swap where loading is plain copying; False where transformers has to convert."""
        with checkpoint.open() as tensors:
            names = self._model_names(tensors.names)
            return not names.converted and copy_into(self.model.state_dict(), tensors, names.of_file)

    def _model_names(self, file_names: Iterable[str]) -> ModelNames:
        key = tuple(file_names)
        if key not in self._names:
            self._names[key] = model_names(self.model, key)
        return self._names[key]


def _refuse_incomplete(path: Path, missing: Iterable[str]) -> None:
    """Raise where transformers made tensors up because the files lack them."""
    if names := sorted(missing):
        raise CheckpointError(
            f"{path} lacks {len(names)} tensors of its model: {', '.join(names[:3])}",
            expected="all of the weights that its config.json describes",
            remedy="copy the checkpoint again, or leave it out with --steps",
        )
