"""What a trace can't do without, in plain transformers: the same batches, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from benchmarks.rundir import read_into, weight_bytes

IGNORED = -100

Tail = tuple[np.ndarray, int]
"""Token ids, and where the part to predict begins."""


@dataclass(frozen=True)
class Batch:
    """Sequences padded on the right."""

    ids: Tensor
    rows: Tensor
    """the rows that predict something: only their logits are computed"""
    labels: Tensor
    """what each of these rows has to predict, -100 for nothing"""


class BareWork:
    """A job's forwards, generations, backwards and reads, checkpoint after checkpoint."""

    def __init__(self, job: Any, device: torch.device) -> None:
        from transformers import AutoModelForCausalLM

        inputs, self.settings = job.inputs, job.settings
        self.folders = [checkpoint.path for checkpoint in job.checkpoints]
        self.model = AutoModelForCausalLM.from_pretrained(self.folders[0], dtype="auto").to(device).eval()
        self.stops = [job.tokenizer.eos_token_id]
        self.buffer = memoryview(bytearray(weight_bytes(self.folders[0])))
        examples = [_tail(tokens.sequence) for tokens in inputs.example_tokens]
        self.forwards = [
            batch
            for tails in (
                [_joined(t.prompt.ids, t.context_answer_ids) for t in inputs.item_tokens],
                [_joined(t.prompt.ids, t.parametric_answer_ids) for t in inputs.item_tokens],
                [_joined(t.closed_book.ids, t.parametric_answer_ids) for t in inputs.item_tokens],
                examples,
                [_tail(tokens.closed_book) for tokens in inputs.example_tokens],
            )
            for batch in self._batches(tails)
        ]
        self.prompts = [t.prompt.ids for t in inputs.item_tokens]
        groups = [example.group for example in inputs.examples]
        self.backwards = [
            batch
            for group in sorted(set(groups))
            for batch in self._batches([tail for tail, own in zip(examples, groups, strict=True) if own == group])
        ]

    def run(self) -> None:
        """All checkpoints, one after the other."""
        for folder in self.folders:
            read_into(self.buffer, folder)
            with torch.no_grad():
                for batch in self.forwards:
                    self.model(input_ids=batch.ids, use_cache=False, logits_to_keep=batch.rows)
                self._generate()
            for batch in self.backwards:
                logits = self.model(input_ids=batch.ids, use_cache=False, logits_to_keep=batch.rows).logits
                cross_entropy(logits.flatten(0, 1).float(), batch.labels.flatten(), ignore_index=IGNORED).backward()
            self.model.zero_grad(set_to_none=True)

    def _batches(self, tails: Sequence[Tail]) -> list[Batch]:
        from attnshift.data.batches import length_batches

        split = length_batches([len(ids) for ids, _ in tails], self.settings.token_budget)
        return [_batch([tails[i] for i in batch], self.model.device) for batch in split]

    def _generate(self) -> None:
        from attnshift.data.batches import length_batches

        lengths = [len(ids) + self.settings.max_new_tokens for ids in self.prompts]
        for batch in length_batches(lengths, self.settings.token_budget):
            width = max(len(self.prompts[i]) for i in batch)
            ids, mask = np.zeros((2, len(batch), width), np.int64)
            for row, i in enumerate(batch):
                ids[row, width - len(self.prompts[i]) :], mask[row, width - len(self.prompts[i]) :] = self.prompts[i], 1
            self.model.generate(
                input_ids=torch.from_numpy(ids).to(self.model.device),
                attention_mask=torch.from_numpy(mask).to(self.model.device),
                max_new_tokens=self.settings.max_new_tokens,
                do_sample=False,
                eos_token_id=self.stops,
                pad_token_id=0,
            )


def _joined(prompt: np.ndarray, answer: np.ndarray) -> Tail:
    return np.concatenate([prompt, answer]), len(prompt)


def _tail(tokens: Any) -> Tail:
    from attnshift.data.roles import ANSWER

    return tokens.ids, int(np.argmax(tokens.roles == ANSWER))


def _batch(tails: Sequence[Tail], device: torch.device) -> Batch:
    width = max(len(ids) for ids, _ in tails)
    padded, labels = np.zeros((len(tails), width), np.int64), np.full((len(tails), width), IGNORED, np.int64)
    for row, (ids, start) in enumerate(tails):
        padded[row, : len(ids)] = ids
        labels[row, start - 1 : len(ids) - 1] = ids[start:]
    rows = np.unique(np.nonzero(labels != IGNORED)[1])
    return Batch(*(torch.from_numpy(array).to(device) for array in (padded, rows, labels[:, rows])))
