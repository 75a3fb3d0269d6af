"""The target with its activations replaced: many cells and items in one forward."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from attnshift.data.batches import length_batches
from attnshift.interventions.cells import Cell, Patched, replacements, tokens_of
from attnshift.interventions.sites import Caught, Site, caught, replaced
from attnshift.models.anatomy import Anatomy
from attnshift.models.contrast import Contrast, answer_margins
from attnshift.models.stream import watched_rows


@dataclass
class Cost:
    """What went through the models."""

    sequences: int = 0
    """prompts, one per cell and item"""
    forwards: int = 0
    """calls of the model that they shared; a generation counts as one"""

    def add(self, sequences: int) -> None:
        """Count one call."""
        self.sequences += sequences
        self.forwards += 1


@dataclass(frozen=True)
class Writer:
    """How prompts are continued."""

    write: Callable[[Sequence[NDArray[np.integer]], int], list[Any]]
    """prompts and a token budget to what is written behind each"""
    max_new_tokens: int


def catch(model: Any, parts: Anatomy, contrasts: Sequence[Contrast], sites: Collection[Site]) -> Caught:
    """Activations of all tokens of some items, in one forward."""
    with torch.no_grad(), caught(parts, sites) as found:
        answer_margins(model, contrasts)
    return found


@dataclass(frozen=True)
class Target:
    """The model that receives, and how batches go through it."""

    model: Any
    parts: Anatomy
    token_budget: int
    cost: Cost = field(default_factory=Cost)

    def margins(
        self, contrasts: Sequence[Contrast], given: Caught, cells: Sequence[Cell]
    ) -> Float[np.ndarray, "cell item"]:
        """Margin in nats; NaN where an item has none of the cell's tokens."""
        out = np.full((len(cells), len(contrasts)), np.nan)
        places, patched = _patched(contrasts, cells)
        for batch in length_batches([len(one.contrast) + 1 for one in patched], self.token_budget):
            chosen = [patched[i] for i in batch]
            width = max(len(one.contrast) for one in chosen) + 1
            given_here = replacements(chosen, given, [0] * len(chosen), width, self.parts.heads)
            with torch.no_grad(), replaced(self.parts, given_here):
                margins, _ = answer_margins(self.model, [one.contrast for one in chosen])
            self.cost.add(len(chosen))
            out[places[batch, 0], places[batch, 1]] = margins.double().cpu().numpy()
        return out

    def clean_rows(self, contrasts: Sequence[Contrast]) -> tuple[Float[Tensor, "item d"], Float[np.ndarray, "item"]]:
        """The stream behind the last layer at the answer rows, and the model's own margins: nothing is replaced.

        Raises AttnshiftError where a layer writes more to the stream than attention and MLP.
        """
        rows = torch.tensor([contrast.row for contrast in contrasts])
        with torch.no_grad(), watched_rows(self.parts, rows) as stream:
            margins, _ = answer_margins(self.model, contrasts)
        self.cost.add(len(contrasts))
        return stream.leaving[len(self.parts.blocks) - 1], margins.double().cpu().numpy()

    def patched_rows(self, contrasts: Sequence[Contrast], given: Caught, cell: Cell) -> Float[Tensor, "item d"]:
        """The stream behind the last layer at the answer rows, with one cell replaced in every item."""
        chosen = [Patched(i, contrast, cell) for i, contrast in enumerate(contrasts)]
        width = max(map(len, contrasts)) + 1
        here = replacements(chosen, given, [0] * len(chosen), width, self.parts.heads)
        last = Site("resid_post", len(self.parts.blocks) - 1)
        with torch.no_grad(), replaced(self.parts, here), caught(self.parts, {last}) as found:
            answer_margins(self.model, contrasts)
        self.cost.add(len(contrasts))
        rows = torch.tensor([contrast.row for contrast in contrasts], device=found.values[last].device)
        return found.values[last][torch.arange(len(rows), device=rows.device), rows]

    def continuations(
        self,
        contrasts: Sequence[Contrast],
        prompts: Sequence[NDArray[np.integer]],
        given: Caught,
        cells: Sequence[Cell],
        writer: Writer,
    ) -> dict[tuple[int, int], Any]:
        """What is written, by cell and item: the prompt is patched, what comes behind it isn't."""
        out: dict[tuple[int, int], Any] = {}
        places, patched = _patched(contrasts, cells)
        lengths = [len(prompts[one.item]) + writer.max_new_tokens for one in patched]
        for batch in length_batches(lengths, self.token_budget):
            chosen = [patched[i] for i in batch]
            asked = [prompts[one.item] for one in chosen]
            width = max(map(len, asked))
            offsets = [width - len(prompt) for prompt in asked]  # generation pads on the left
            given_here = replacements(chosen, given, offsets, width, self.parts.heads)
            whole = len(asked) * (width + writer.max_new_tokens)  # longest first already: one batch, in this order
            with replaced(self.parts, given_here):
                written = writer.write(asked, whole)
            self.cost.add(len(chosen))
            out |= {(int(a), int(b)): text for (a, b), text in zip(places[batch], written, strict=True)}
        return out


def read_out(
    model: Any, parts: Anatomy, final: Float[Tensor, "item d"], contrasts: Sequence[Contrast]
) -> Float[np.ndarray, "item"]:
    """Margins that a model's final norm and unembedding read from the stream behind the last layer: the lens."""
    with torch.no_grad():
        logits = parts.unembed(parts.final_norm(final.to(model.dtype)))
    if parts.softcap is not None:
        logits = parts.softcap * torch.tanh(logits / parts.softcap)
    logits = logits.double().cpu()
    place = torch.arange(len(contrasts))
    pairs = (torch.tensor([getattr(c, name) for c in contrasts]) for name in ("context", "parametric"))
    context, parametric = (logits[place, tokens] for tokens in pairs)
    return (context - parametric).numpy()


def _patched(contrasts: Sequence[Contrast], cells: Sequence[Cell]) -> tuple[NDArray[np.intp], list[Patched]]:
    """Every item with every cell of whose tokens it has some, with the cell's place and the item's."""
    found = [
        ((c, i), Patched(i, contrast, cell))
        for c, cell in enumerate(cells)
        for i, contrast in enumerate(contrasts)
        if tokens_of(contrast, cell.tokens).any()
    ]
    places = np.array([place for place, _ in found], np.intp).reshape(len(found), 2)
    return places, [one for _, one in found]
