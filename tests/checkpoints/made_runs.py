"""Run directories of small random tensors, as trainers write them."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor


def state(seed: int, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shapes = {"embed.weight": (7, 4), "layers.0.weight": (4, 4), "norm.bias": (4,)}
    return {name: torch.randn(shape, generator=generator).to(dtype) for name, shape in shapes.items()}


def write_json(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def full(folder: Path, seed: int | dict[str, Tensor]) -> Path:
    write_json(folder / "config.json", {"model_type": "tiny"})
    save_file(state(seed) if isinstance(seed, int) else seed, folder / "model.safetensors")
    return folder


def adapter(folder: Path, seed: int, base: str | None, **config: object) -> Path:
    settings = {"r": 2, "lora_alpha": 4, "target_modules": ["q", "v"], "base_model_name_or_path": base, **config}
    write_json(folder / "adapter_config.json", settings)
    generator = torch.Generator().manual_seed(seed)
    save_file({"lora_A": torch.randn(2, 4, generator=generator)}, folder / "adapter_model.safetensors")
    return folder


def trainer_state(folder: Path, **content: object) -> None:
    write_json(folder / "trainer_state.json", content)


def sharded(folder: Path, seed: int, suffix: str = ".safetensors") -> Path:
    """Two shards and their index."""
    write_json(folder / "config.json", {})
    stem = "model" if suffix == ".safetensors" else "pytorch_model"
    weight_map = {}
    for i, name in enumerate(sorted(state(seed))):
        shard = f"{stem}-{min(i, 1) + 1:05}-of-00002{suffix}"
        weight_map[name] = shard
    for shard in set(weight_map.values()):
        part = {name: state(seed)[name] for name, at in weight_map.items() if at == shard}
        if suffix == ".safetensors":
            save_file(part, folder / shard)
        else:
            torch.save(part, folder / shard)
    write_json(folder / f"{stem}{suffix}.index.json", {"metadata": {}, "weight_map": weight_map})
    return folder
