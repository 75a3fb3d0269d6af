"""What is patched at once: sites, and the tokens at which."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool

from attnshift.data.roles import ANSWER, TOKEN_ROLES
from attnshift.errors import AttnshiftError
from attnshift.interventions.sites import Caught, Part, Replacement, Site
from attnshift.models.contrast import Contrast

LAST, ALL = "last_row", "all"
"""Sets of tokens beside the roles: the prompt's last token (which has a role as well) with what both answers begin
with, so that it ends in the row that predicts where they part; and every token."""

AXES = ("layer", "head", "role")
"""What a patch can be told apart by."""

PART_NAMES: dict[str, tuple[Part, ...]] = {
    "resid": ("resid_pre", "resid_mid", "resid_post"),
    "resid_pre": ("resid_pre",),
    "resid_mid": ("resid_mid",),
    "resid_post": ("resid_post",),
    "attn": ("attn",),
    "mlp": ("mlp",),
    "z": ("z",),
}
"""How parts are asked for."""


@dataclass(frozen=True)
class Cell:
    """One number per item: the target with these sites replaced at these tokens."""

    sites: tuple[Site, ...]
    tokens: str
    """a role, or LAST or ALL"""
    head: int | None = None
    """of ``z`` alone: one head's columns; None for all"""


@dataclass(frozen=True)
class Grid:
    """Cells in the order of their dims; an axis that isn't told apart has one entry, which stands for all of it."""

    parts: tuple[Part, ...]
    layers: tuple[tuple[int, ...], ...]
    tokens: tuple[str, ...]
    heads: tuple[int | None, ...] = (None,)

    def __iter__(self) -> Iterator[Cell]:
        for part in self.parts:
            for layers in self.layers:
                for head in self.heads:
                    sites = tuple(Site(part, layer) for layer in layers)
                    yield from (Cell(sites, tokens, head) for tokens in self.tokens)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Sizes by part, layer, head, tokens."""
        return len(self.parts), len(self.layers), len(self.heads), len(self.tokens)


def read_parts(names: Sequence[str], middle: bool) -> tuple[Part, ...]:
    """Parts by their names; ``resid`` without the middle where a model has none.

    Raises AttnshiftError for a name that isn't one, and for a middle that was named and isn't there.
    """
    chosen: list[Part] = []
    for name in names:
        if name not in PART_NAMES:
            raise AttnshiftError(f"there is no part {name!r}", expected=f"some of {', '.join(PART_NAMES)}")
        if name == "resid_mid" and not middle:
            raise AttnshiftError(
                "the model has no resid_mid: its MLP reads beside attention, not behind it",
                expected="resid_pre, resid_post, attn, mlp or z",
            )
        chosen += [part for part in PART_NAMES[name] if middle or part != "resid_mid"]
    if not chosen:
        raise AttnshiftError("no part is named", expected=f"some of {', '.join(PART_NAMES)}")
    return tuple(dict.fromkeys(chosen))


def read_axes(names: Sequence[str]) -> frozenset[str]:
    """Axes by their names; raises AttnshiftError for others."""
    if unknown := [name for name in names if name not in AXES]:
        raise AttnshiftError(f"a patch isn't told apart by {unknown[0]!r}", expected=f"some of {', '.join(AXES)}")
    return frozenset(names)


def token_sets(contrasts: Sequence[Contrast], by_role: bool) -> tuple[str, ...]:
    """The sets of tokens to patch: each role that some prompt has, the answer row, and all; or all alone."""
    if not by_role:
        return (ALL,)
    present = np.unique(np.concatenate([contrast.roles for contrast in contrasts]))
    return (*(TOKEN_ROLES[code] for code in present), LAST, ALL)


def tokens_of(contrast: Contrast, tokens: str) -> Bool[np.ndarray, "position"]:
    """Which tokens of a prompt a set has."""
    if tokens == ALL:
        return np.ones(len(contrast), np.bool_)
    if tokens == LAST:
        return np.arange(len(contrast)) >= contrast.row - np.count_nonzero(contrast.roles == ANSWER)
    return np.asarray(contrast.roles == TOKEN_ROLES.index(tokens))


@dataclass(frozen=True)
class Patched:
    """One item with one cell: a sequence of a batch."""

    item: int
    """its place among the items that activations were caught of"""
    contrast: Contrast
    cell: Cell


def replacements(
    batch: Sequence[Patched], caught: Caught, offsets: Sequence[int], width: int, heads: int
) -> dict[Site, Replacement]:
    """What each sequence of a batch gets, and where, for prompts that begin at ``offsets``."""
    place = np.arange(width) - np.array(offsets)[:, None]
    masks = np.zeros((len(batch), width), np.bool_)
    for row, one in enumerate(batch):
        inside = (place[row] >= 0) & (place[row] < len(one.contrast))
        masks[row, inside] = tokens_of(one.contrast, one.cell.tokens)[place[row, inside]]
    rows: dict[Site, list[int]] = {}
    for row, one in enumerate(batch):
        for site in one.cell.sites:
            rows.setdefault(site, []).append(row)
    out: dict[Site, Replacement] = {}
    for site, chosen in rows.items():
        kept = caught.values[site]
        at = torch.from_numpy(place[chosen].clip(0, kept.shape[1] - 1)).to(kept.device)
        items = torch.tensor([batch[row].item for row in chosen], device=kept.device)
        mask = torch.from_numpy(masks[chosen])[..., None].to(kept.device)
        if any(batch[row].cell.head is not None for row in chosen):
            mask = mask & _columns([batch[row].cell.head for row in chosen], heads, kept.shape[2]).to(kept.device)
        out[site] = Replacement(torch.tensor(chosen), mask, kept[items[:, None], at])
    return out


def _columns(chosen: Sequence[int | None], heads: int, width: int) -> Bool[torch.Tensor, "sequence 1 width"]:
    head = torch.arange(width) // (width // heads)
    return torch.stack([torch.ones(width, dtype=torch.bool) if one is None else head == one for one in chosen])[:, None]
