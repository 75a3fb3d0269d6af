"""Whether parts of one checkpoint fit into another: architecture, settings, tokenizer, base."""

from __future__ import annotations

from typing import Any

from attnshift.checkpoints.jsonfile import read_object
from attnshift.checkpoints.tokenizer import load_tokenizer, tokenizer_dir
from attnshift.errors import AttnshiftError, CheckpointError
from attnshift.interventions.pair import Pair, Side

# What a configuration says beside what the model computes.
_CIRCUMSTANCES = {"_name_or_path", "transformers_version", "torch_dtype", "dtype", "use_cache", "architectures"}
_REMEDY = "take both checkpoints from one finetuning, or from two of the same model"


def refuse_unlike(pair: Pair) -> None:
    """Raise AttnshiftError unless activations of one model make sense in the other: same settings, same tokens."""
    mine, theirs = (_settings(side) for side in (pair.source, pair.target))
    for key in sorted(mine.keys() | theirs.keys()):
        if mine.get(key) != theirs.get(key):
            raise AttnshiftError(
                f"source and target have different architectures: {key} is {mine.get(key)!r} in "
                f"{pair.source.config_folder}, {theirs.get(key)!r} in {pair.target.config_folder}",
                expected="two checkpoints of one architecture",
                remedy=_REMEDY,
            )
    if not pair.of_one_run:
        _refuse_other_tokens(pair)


def refuse_ungraftable(pair: Pair) -> None:
    """Raise AttnshiftError unless weights of one are weights of the other: full with full, adapters of one base."""
    source, target = pair.source, pair.target
    if source.checkpoint.kind != target.checkpoint.kind:
        adapter, full = (source, target) if source.checkpoint.kind == "adapter" else (target, source)
        raise AttnshiftError(
            f"{adapter.checkpoint.path} is an adapter and {full.checkpoint.path} a full model",
            expected="two full checkpoints, or two adapters to one base",
            remedy="name a step at which the adapter was saved instead of the base",
        )
    if source.checkpoint.kind == "adapter":
        _refuse_other_adapter(pair)
    _refuse_other_tensors(pair)


def _settings(side: Side) -> dict[str, Any]:
    config = read_object(side.config_folder / "config.json", CheckpointError)
    return {k: v for k, v in config.items() if k not in _CIRCUMSTANCES and not k.endswith("_token_id")}


def _refuse_other_tokens(pair: Pair) -> None:
    places = []
    for side in (pair.source, pair.target):
        try:
            places.append(tokenizer_dir(side.run))
        except AttnshiftError:
            return  # one tokenizer for both is what is left
    if len(set(places)) == 1:
        return
    mine, theirs = (load_tokenizer(place) for place in places)
    if mine.get_vocab() != theirs.get_vocab():
        differing = {word for word, _ in mine.get_vocab().items() ^ theirs.get_vocab().items()}
        raise AttnshiftError(
            f"source and target have different tokenizers: {len(differing)} tokens differ, {min(differing)!r} among "
            f"them ({places[0]}, {places[1]})",
            expected="one tokenizer, so that prompts have the same positions in both",
            remedy=_REMEDY,
        )


def _refuse_other_adapter(pair: Pair) -> None:
    source, target = pair.source, pair.target
    if source.run.base != target.run.base:
        raise AttnshiftError(
            f"the adapters have different bases: {source.run.base} and {target.run.base}",
            expected="adapters to one base",
            remedy="name the base of both with --base, if it is the same",
        )
    mine, theirs = (side.checkpoint.adapter_settings() for side in (source, target))
    for key in sorted(mine.keys() | theirs.keys()):
        if mine.get(key) != theirs.get(key):
            raise AttnshiftError(
                f"the adapters have different settings: {key} is {mine.get(key)!r} and {theirs.get(key)!r}",
                expected="one adapter configuration",
                remedy=_REMEDY,
            )


def _refuse_other_tensors(pair: Pair) -> None:
    with pair.source.checkpoint.open() as mine, pair.target.checkpoint.open() as theirs:
        lone = sorted(set(mine.names) ^ set(theirs.names))
        if lone:
            raise AttnshiftError(
                f"{len(lone)} tensors are in one of source and target alone, {lone[0]!r} among them",
                expected="two checkpoints with the same tensors",
                remedy=_REMEDY,
            )
        for name in mine.names:
            for what, read in (("shape", "shape"), ("type", "dtype")):
                a, b = getattr(mine, read)(name), getattr(theirs, read)(name)
                if a != b:
                    raise AttnshiftError(
                        f"{name!r} has the {what} {a} in the source and {b} in the target",
                        expected="two checkpoints with the same tensors",
                        remedy=_REMEDY,
                    )
