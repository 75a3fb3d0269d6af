"""Batched greedy continuation of prompts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch

from attnshift.data.batches import length_batches


def generate_greedy(
    model: Any,
    prompts: Sequence[np.ndarray],
    max_new_tokens: int,
    eos_ids: Iterable[int],
    token_budget: int,
) -> list[list[int]]:
    """The most likely next tokens of each prompt, up to and without EOS, at most ``max_new_tokens``.

    Sampling settings that a checkpoint brings along are not used.
    """
    from transformers import GenerationConfig

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
    for batch in length_batches([len(p) + max_new_tokens for p in prompts], token_budget):
        width = max(len(prompts[i]) for i in batch)
        ids = np.full((len(batch), width), filler, np.int64)
        mask = np.zeros((len(batch), width), np.int64)
        for row, i in enumerate(batch):  # generation appends, so padding goes to the left
            ids[row, width - len(prompts[i]) :] = prompts[i]
            mask[row, width - len(prompts[i]) :] = 1
        with torch.no_grad():
            output = model.generate(
                input_ids=torch.from_numpy(ids).to(model.device),
                attention_mask=torch.from_numpy(mask).to(model.device),
                generation_config=config,
            )
        for i, row_ids in zip(batch, output[:, width:].tolist(), strict=True):
            end = next((k for k, token in enumerate(row_ids) if token in stops), len(row_ids))
            texts[i] = row_ids[:end]
    return texts
