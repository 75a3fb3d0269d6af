"""Which parameters are trained: all, queries and keys alone, or low-rank adapters beside them."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import torch

from attnshift.errors import AttnshiftError
from attnshift.models.parts import parameter_pieces

QUERY_KEY = (".q", ".k")


@dataclass(frozen=True)
class Trained:
    """The model to train, and what of it."""

    model: Any
    """a transformers model, or a PEFT model around one"""
    names: frozenset[str] | None = None
    """of the trained parameters; None where those are all, or the adapter's"""
    partly: frozenset[str] = frozenset()
    """of those among them whose gradient is nought on the values: fused matrices of queries, keys and values"""


def trainable(
    model: Any, *, query_key: bool = False, lora: int | None = None, alpha: float | None = None, base: str = ""
) -> Trained:
    """Set a model up for training.

    Parameters
    ----------
    model
        A transformers causal LM; it is changed in place.
    query_key
        Train the query and key projections alone (with their biases). Where queries, keys and values are one fused
        matrix, the gradient of the values' part is set to nought, and weight decay has to leave the matrix alone.
    lora
        Rank of low-rank adapters on all linear layers but the unembedding (on the query and key projections alone).
    alpha
        Their scale is alpha / rank; default: twice the rank.
    base
        The base model's name, for the adapter's configuration.

    Raises
    ------
    AttnshiftError
        A rank below 1, and adapters of queries and keys that are fused with the values.
    """
    chosen, fused = _query_key(model) if query_key else (None, frozenset())
    if lora is None:
        for name in fused:
            _mask_values(model, name)
        return Trained(model, chosen, fused)
    if lora < 1:
        raise AttnshiftError(f"the rank of the adapters is {lora}", expected="a whole number of at least 1")
    if fused:
        raise AttnshiftError(
            f"{min(fused)} holds queries, keys and values in one matrix: an adapter can't change two of them alone",
            expected="separate projections for --arm qk with --lora",
            remedy="leave --lora out: then the values' part of the gradient is set to nought",
        )
    return Trained(_with_adapters(model, lora, alpha, chosen, base))


def _query_key(model: Any) -> tuple[frozenset[str], frozenset[str]]:
    """Names of the parameters of queries and keys, and of those among them that hold values too."""
    parts = {name: [piece.part for piece in pieces] for name, pieces in parameter_pieces(model).items()}
    # A learned sink counts as a key's part, but it is no projection.
    found = {n: p for n, p in parts.items() if any(each.endswith(QUERY_KEY) for each in p) and "sink" not in n}
    if not found:
        raise AttnshiftError(
            f"no query or key projection is known in {type(model).__name__}",
            expected="parameters such as self_attn.q_proj.weight",
            remedy="another --arm",
        )
    return frozenset(found), frozenset(n for n, p in found.items() if not all(each.endswith(QUERY_KEY) for each in p))


def _mask_values(model: Any, name: str) -> None:
    """Let the gradient of a fused matrix reach its queries and keys alone."""
    parameter = dict(model.named_parameters())[name]
    mask = torch.zeros_like(parameter, dtype=torch.bool)
    for piece in parameter_pieces(model, {name: parameter})[name]:
        if piece.part.endswith(QUERY_KEY):
            piece.of(mask).fill_(True)
    parameter.register_hook(lambda gradient: gradient.masked_fill(~mask.to(gradient.device), 0))


def _with_adapters(model: Any, rank: int, alpha: float | None, chosen: frozenset[str] | None, base: str) -> Any:
    from peft import LoraConfig, get_peft_model

    modules = None if chosen is None else sorted({name.rpartition(".")[0] for name in chosen})
    config = LoraConfig(
        r=rank,
        lora_alpha=2 * rank if alpha is None else alpha,
        target_modules=modules or "all-linear",
        task_type="CAUSAL_LM",
        base_model_name_or_path=base,
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="fan_in_fan_out")  # peft sets it right for GPT-2 by itself
        peft = get_peft_model(model, config)
    config.base_model_name_or_path = base  # which peft takes from the folder
    return peft
