"""Batched greedy continuation of prompts, up to where an answer ends."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from attnshift.data.batches import length_batches

_NEW_LINE = re.compile(r"\S[^\r\n]*[\r\n]")
"""One that ends something: blank lines at the start end nothing."""


@dataclass(frozen=True)
class TextEnd:
    """Where a text ends that no EOS token ends: at a new line after some content, or where EOS is spelt out."""

    decode: Callable[[Sequence[int]], str]
    """token ids to text, without special tokens"""
    spellings: tuple[str, ...] = ()
    """of EOS, as a model writes it that was shown it as text"""

    def reached(self, text: str) -> bool:
        """Whether a text has come to its end."""
        return bool(_NEW_LINE.search(text)) or any(spelling in text for spelling in self.spellings)

    def may_end(self, token: int) -> bool:
        """Whether a text may have come to its end with this token: only then is it worth decoding."""
        text = self.decode([token])
        return any(end in text for end in ("\n", "\r", *(spelling[-1] for spelling in self.spellings)))


def generate_greedy(
    model: Any,
    prompts: Sequence[np.ndarray],
    max_new_tokens: int,
    eos_ids: Iterable[int],
    token_budget: int,
    text_end: TextEnd | None = None,
) -> list[list[int]]:
    """The most likely next tokens of each prompt, at most ``max_new_tokens``.

    Up to and without EOS, and up to and with the token that brings a text to its end. A batch is over with its last
    row. Sampling settings that a checkpoint brings along are not used.
    """
    from transformers import GenerationConfig, StoppingCriteriaList

    stops = sorted(set(eos_ids))
    filler = stops[0] if stops else 0
    config = GenerationConfig(
        max_new_tokens=max_new_tokens,
        do_sample=False,
        num_beams=1,
        eos_token_id=stops or None,
        pad_token_id=filler,
        use_cache=True,
    )
    texts: list[list[int]] = [[] for _ in prompts]
    tellers: dict[int, bool] = {}
    for batch in length_batches([len(p) + max_new_tokens for p in prompts], token_budget):
        width = max(len(prompts[i]) for i in batch)
        ids = np.full((len(batch), width), filler, np.int64)
        mask = np.zeros((len(batch), width), np.int64)
        for row, i in enumerate(batch):  # generation appends, so padding goes to the left
            ids[row, width - len(prompts[i]) :] = prompts[i]
            mask[row, width - len(prompts[i]) :] = 1
        ends = None if text_end is None else _RowEnds(text_end, width, [max_new_tokens] * len(batch), tellers)
        with torch.no_grad():
            output = model.generate(
                input_ids=torch.from_numpy(ids).to(model.device),
                attention_mask=torch.from_numpy(mask).to(model.device),
                generation_config=config,
                stopping_criteria=StoppingCriteriaList([] if ends is None else [ends]),
            )
        for row, (i, row_ids) in enumerate(zip(batch, output[:, width:].tolist(), strict=True)):
            written = row_ids if ends is None else row_ids[: ends.lengths[row]]
            texts[i] = written[: next((k for k, token in enumerate(written) if token in stops), len(written))]
    return texts


@dataclass(eq=False)
class _RowEnds:
    """A stopping criterion of transformers: which rows of a batch have come to their text's end."""

    text_end: TextEnd
    start: int
    """where the generated tokens begin"""
    lengths: list[int]
    """tokens of each row up to its end; as many as are allowed until it is reached"""
    tellers: dict[int, bool]
    """whether a text may end with a token, for the tokens seen so far"""
    _done: set[int] = field(default_factory=set)

    def __call__(self, input_ids: Int[Tensor, "row position"], scores: Any, **_: Any) -> Bool[Tensor, "row"]:
        for row, token in enumerate(input_ids[:, -1].tolist()):
            if token not in self.tellers:
                self.tellers[token] = self.text_end.may_end(token)
            if self.tellers[token] and row not in self._done:
                written = input_ids[row, self.start :].tolist()
                if self.text_end.reached(self.text_end.decode(written)):
                    self._done.add(row)
                    self.lengths[row] = len(written)
        return torch.tensor([row in self._done for row in range(len(input_ids))], device=input_ids.device)
