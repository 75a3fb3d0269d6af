"""Layouts of weights that nothing here reads: told by the names of their files, and converted by their own tools."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from itertools import islice
from pathlib import Path
from shlex import quote

CONVERTED = "hf"
"""The folder inside a checkpoint's folder that the conversions write into; it is read in its place."""

_DEPTH = 3
_MOST_FILES = 10_000
"""Logs lie in runs, too."""


@dataclass(frozen=True)
class Foreign:
    """Weights in a layout that isn't read here."""

    layout: str
    """Its name."""
    conversion: str
    """A shell command that writes what is read into `hf/` inside the folder; capitals are for the user to fill in."""


def find_foreign(folder: Path) -> Foreign | None:
    """The layout of the files in a folder and in the folders inside it; None where they are of none known here.

    Only names are looked at.
    """
    files = sorted(islice(_files(folder), _MOST_FILES))
    for pattern, name, conversion in _LAYOUTS:
        found = next((file for file in files if fnmatch(file, pattern)), None)
        if found is not None:
            return Foreign(name, conversion(folder, folder / found))
    return None


def copy_config(folder: Path, to: Path) -> str:
    """The command that puts the model's configuration beside weights that lack it."""
    source = quote(str(folder / "config.json")) if (folder / "config.json").is_file() else "BASE/config.json"
    return f"cp {source} {quote(str(to))}/"


def _files(folder: Path, inside: str = "", depth: int = _DEPTH) -> Iterator[str]:
    """Paths of files relative to a folder; links to folders aren't followed."""
    try:
        for entry in os.scandir(folder):
            if entry.is_dir(follow_symlinks=False):
                # What was converted is weights of ours, and hidden folders are caches.
                if depth > 1 and entry.name != CONVERTED and not entry.name.startswith("."):
                    yield from _files(Path(entry.path), f"{inside}{entry.name}/", depth - 1)
            else:
                yield inside + entry.name
    except (OSError, ValueError):  # no folder, or none that we may read
        return


def _zero(folder: Path, shard: Path) -> str:
    """By the library's script: the copy that DeepSpeed leaves in a run is a program of whoever wrote the run."""
    tag, out = shard.parent, folder / CONVERTED
    places = f"{quote(str(tag.parent))} {quote(str(out))} --tag {quote(tag.name)}"
    command = f"python -m deepspeed.utils.zero_to_fp32 {places}"
    if (folder / "adapter_config.json").is_file():
        return _zero_adapter(folder, command)
    return f"{command} --safe_serialization && {copy_config(folder, out)} (DeepSpeed 0.16 or later)"


def _zero_adapter(folder: Path, command: str) -> str:
    """An adapter's tensors under the names that PEFT saves them by."""
    whole, adapter = str(folder / CONVERTED / "pytorch_model.bin"), str(folder / CONVERTED / "adapter_model.bin")
    code = (
        f"import torch; state = torch.load({whole!r}, weights_only=True); "
        f"torch.save({{name.replace('.default.', '.'): state[name] for name in state}}, {adapter!r})"
    )
    config, out = quote(str(folder / "adapter_config.json")), quote(str(folder / CONVERTED))
    return (
        f"{command} --exclude_frozen_parameters --max_shard_size 1000GB && python -c {quote(code)} && "
        f"rm {quote(whole)} && cp {config} {out}/ (DeepSpeed 0.16 or later)"
    )


def _accelerate(folder: Path, shard: Path) -> str:
    out = folder / CONVERTED
    return f"accelerate merge-weights {quote(str(shard.parent))} {quote(str(out))} && {copy_config(folder, out)}"


def _distributed(folder: Path, shard: Path) -> str:
    out, whole = folder / CONVERTED, folder / CONVERTED / "whole.pt"
    code = (
        f"import os, torch; state = torch.load({str(whole)!r}, weights_only=True); "
        f"torch.save(state.get('model', state), {str(out / 'pytorch_model.bin')!r}); os.remove({str(whole)!r})"
    )
    return (
        f"mkdir -p {quote(str(out))} && python -m torch.distributed.checkpoint.format_utils dcp_to_torch "
        f"{quote(str(shard.parent))} {quote(str(whole))} && python -c {quote(code)} && {copy_config(folder, out)} "
        f"(if torchtitan wrote it, in its repository: python scripts/checkpoint_conversion/convert_to_hf.py "
        f"{quote(str(shard.parent))} {quote(str(out))} --hf_assets_path BASE --model_name NAME --model_flavor SIZE)"
    )


def _litgpt(folder: Path, weights: Path) -> str:
    at, out = weights.parent, folder / CONVERTED
    return (
        f"litgpt convert_from_litgpt {quote(str(at))} {quote(str(out))} && "
        f"mv {quote(str(out / 'model.pth'))} {quote(str(out / 'pytorch_model.bin'))} && {copy_config(at, out)}"
    )


def _litgpt_lora(folder: Path, weights: Path) -> str:
    return f"litgpt merge_lora {quote(str(weights.parent))} && {_litgpt(folder, weights)}"


def _nemo_1(folder: Path, archive: Path) -> str:
    source = archive if archive.suffix == ".nemo" else archive.parent
    out = folder / CONVERTED
    return (
        f"python scripts/checkpoint_converters/convert_llama_nemo_to_hf.py --input_name_or_path {quote(str(source))} "
        f"--output_path {quote(str(out / 'pytorch_model.bin'))} && {copy_config(folder, out)} "
        "(in NeMo's repository; the script of your model's family)"
    )


def _nemo_2(folder: Path, context: Path) -> str:
    """A checkpoint of NeMo 2 is a folder with `context/` and `weights/`."""
    at = context.parent.parent
    return f"nemo llm export -y path={quote(str(at))} target=hf output_path={quote(str(folder / CONVERTED))}"


def _megatron(folder: Path, shard: Path) -> str:
    return _bridge(shard.parent, folder / CONVERTED)


def _megatron_ranks(folder: Path, shard: Path) -> str:
    at = shard.parent.parent
    return (
        f"run your training command with --load {quote(str(at.parent))} --ckpt-convert-format torch_dist "
        f"--ckpt-convert-save DIST, then: {_bridge(Path('DIST') / 'torch_dist' / at.name, folder / CONVERTED)}"
    )


def _bridge(source: Path, out: Path) -> str:
    return (
        "python examples/conversion/convert_checkpoints.py export --hf-model BASE "
        f"--megatron-path {quote(str(source))} --hf-path {quote(str(out))} (in Megatron-Bridge's repository)"
    )


def _neox(folder: Path, shard: Path) -> str:
    configs = shard.parent / "configs"
    config = next((str(file) for file in sorted(configs.glob("*.yml"))), "CONFIG.yml")
    return (
        f"python tools/ckpts/convert_neox_to_hf.py --input_dir {quote(str(shard.parent))} --config_file "
        f"{quote(config)} --output_dir {quote(str(folder / CONVERTED))} (in GPT-NeoX's repository)"
    )


def _verl(folder: Path, shard: Path) -> str:
    out = folder / CONVERTED
    return (
        f"python -m verl.model_merger merge --backend fsdp --local_dir {quote(str(shard.parent))} "
        f"--target_dir {quote(str(out))}"
    )


# The first that fits counts: NeMo's and Megatron's weights are distributed checkpoints, too.
_LAYOUTS: tuple[tuple[str, str, Callable[[Path, Path], str]], ...] = (
    ("*layer_*-model_*-model_states.pt", "a GPT-NeoX checkpoint", _neox),
    ("*zero_pp_rank_*", "DeepSpeed ZeRO shards", _zero),
    ("*mp_rank_*_model_states.pt", "DeepSpeed shards", _zero),
    ("*.nemo", "a NeMo archive", _nemo_1),
    ("*model_weights/*common.pt", "an unpacked NeMo archive", _nemo_1),
    ("*context/io.json", "a NeMo 2 checkpoint", _nemo_2),
    ("*context/model.yaml", "a NeMo 2 checkpoint", _nemo_2),
    ("*mp_rank_*/model_optim_rng.pt", "a Megatron-LM checkpoint by ranks", _megatron_ranks),
    ("*mp_rank_*/model_rng.pt", "a Megatron-LM checkpoint by ranks", _megatron_ranks),
    ("*common.pt", "a Megatron distributed checkpoint", _megatron),
    ("*model_world_size_*_rank_*.pt", "a verl (FSDP) checkpoint", _verl),
    ("*lit_model.pth", "a LitGPT checkpoint", _litgpt),
    ("*lit_model.pth.lora", "a LitGPT LoRA checkpoint", _litgpt_lora),
    ("*pytorch_model_fsdp_*.distcp", "a torch.distributed (FSDP) checkpoint", _accelerate),
    ("*.distcp", "a torch.distributed (FSDP) checkpoint", _distributed),
)
