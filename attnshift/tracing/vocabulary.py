"""Checkpoints whose own tokenizer would read a trace's data otherwise than the one that it is read with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from attnshift.checkpoints.checkpoint import Checkpoint
from attnshift.checkpoints.tokenizer import load_tokenizer, tokenizer_digest
from attnshift.data.inputs import Inputs
from attnshift.data.prompts import Encoder
from attnshift.data.templates import PromptError
from attnshift.errors import AttnshiftError


def refuse_other_tokenizers(
    used: Path, encoder: Encoder, inputs: Inputs, checkpoints: Sequence[Checkpoint], base: Path | None
) -> None:
    """Raise where a checkpoint's own tokenizer makes other tokens of the data than the one in the folder ``used``.

    Files that are equal, or that lie in the first of several folders with equal ones, aren't looked at again. The base
    may lack tokens that finetuning added, but an id must not stand for another piece of text there.
    """
    known = {tokenizer_digest(used), None}
    for checkpoint in checkpoints:
        digest = tokenizer_digest(checkpoint.path)
        if digest not in known:
            known.add(digest)
            other = load_tokenizer(checkpoint.path)
            is_base = base is not None and checkpoint.path.resolve() == base
            found = (_moved if is_base else _otherwise)(encoder, inputs, other)
            if (told := next(found, None)) is not None:
                raise AttnshiftError(
                    f"step {checkpoint.step} in {checkpoint.path} has another tokenizer than {used}: {told}",
                    expected="one tokenizer for the whole series",
                    remedy="leave the step out with --steps, or read the data of all of them with --tokenizer DIR",
                )


def _otherwise(encoder: Encoder, inputs: Inputs, other: Any) -> Iterator[str]:
    """Datapoints that the other tokenizer makes other tokens of."""
    theirs = replace(encoder, tokenizer=other)
    try:
        for item, tokens in zip(inputs.items, inputs.item_tokens, strict=True):
            if not np.array_equal(theirs.item(item).prompt.ids, tokens.prompt.ids):
                yield f"it makes other tokens of item {item.id!r}"
        for example, held in zip(inputs.examples, inputs.example_tokens, strict=True):
            if not np.array_equal(theirs.example(example).sequence.ids, held.sequence.ids):
                yield f"it makes other tokens of example {example.id!r}"
    except PromptError as error:
        yield error.problem


def _moved(encoder: Encoder, inputs: Inputs, other: Any) -> Iterator[str]:
    """Ids that are fed and stand for another token in the other tokenizer; added tokens may be nothing there."""
    mine, fed = encoder.tokenizer, [tokens.prompt.ids for tokens in inputs.item_tokens]
    fed += [tokens.sequence.ids for tokens in inputs.example_tokens]
    added = {*mine.all_special_ids, *mine.added_tokens_decoder}
    ids = [number for number in np.unique(np.concatenate(fed)).tolist() if number not in added]
    spelt = (tokenizer.convert_ids_to_tokens(ids) for tokenizer in (mine, other))
    for number, ours, theirs in zip(ids, *spelt, strict=True):
        if ours != theirs:
            yield f"token {number} is {theirs!r} there, {ours!r} here"
