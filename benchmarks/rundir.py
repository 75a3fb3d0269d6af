"""Run directories as a trainer leaves them, with random weights that differ from checkpoint to checkpoint."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.models import Shape, random_llama

_CPU = torch.device("cpu")
RANK = 16


def write_run(folder: Path, shape: Shape, count: int, device: torch.device = _CPU) -> Path:
    """Full checkpoints at the steps 1 to ``count``; drawn on ``device``, where billions of numbers take no minutes."""
    model = random_llama(shape, device)
    for step in range(1, count + 1):
        _disturb(list(model.parameters()), step)
        model.save_pretrained(_checkpoint(folder, step))
    return folder


def write_adapter_run(folder: Path, shape: Shape, count: int) -> Path:
    """A base and so many LoRA adapters of all its linear layers."""
    from peft import LoraConfig, get_peft_model

    base = folder / "base"
    model = random_llama(shape, _CPU)
    model.save_pretrained(base)
    model.name_or_path = str(base)
    adapted = get_peft_model(model, LoraConfig(r=RANK, target_modules="all-linear", task_type="CAUSAL_LM"))
    for step in range(1, count + 1):
        _disturb([p for p in adapted.parameters() if p.requires_grad], step)
        adapted.save_pretrained(_checkpoint(folder, step))
    return folder


def first_checkpoints(run: Path, count: int, folder: Path) -> Path:
    """A run of another run's first checkpoints, on the same bytes of the disk."""
    for step in range(1, count + 1):
        name = f"checkpoint-{step}"
        shutil.copytree(run / name, folder / name, copy_function=os.link)
    return folder


def word_tokenizer(words: Sequence[str]) -> Any:
    """One token per word, after a BOS."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: i for i, word in enumerate(["<s>", "</s>", *words])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>")


def weight_files(checkpoint: Path) -> list[Path]:
    """The files that hold the tensors."""
    return sorted(checkpoint.glob("*.safetensors"))


def weight_bytes(checkpoint: Path) -> int:
    """The size of these files."""
    return sum(file.stat().st_size for file in weight_files(checkpoint))


def read_into(buffer: memoryview, checkpoint: Path) -> None:
    """Read the files, whole, into memory that is there already: the least that loading can be."""
    start = 0
    for file in weight_files(checkpoint):
        with file.open("rb", buffering=0) as stream:
            while got := stream.readinto(buffer[start:]):
                start += got


@torch.no_grad()
def _disturb(parameters: Sequence[torch.Tensor], seed: int) -> None:
    generator = torch.Generator(parameters[0].device).manual_seed(seed)
    for parameter in parameters:
        noise = torch.randn(parameter.shape, generator=generator, device=parameter.device, dtype=parameter.dtype)
        parameter.add_(noise, alpha=0.01)


def _checkpoint(run: Path, step: int) -> Path:
    folder = run / f"checkpoint-{step}"
    folder.mkdir(parents=True)
    state = {"global_step": step, "epoch": float(step), "log_history": []}
    (folder / "trainer_state.json").write_text(json.dumps(state), encoding="utf-8")
    return folder
