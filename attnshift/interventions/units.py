"""The weights of a model as units that can be grafted: a part in a layer, or a module's adapter."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from attnshift.errors import AttnshiftError
from attnshift.models.parts import Slice, parameter_pieces, part_order

NO_LAYER = -1
"""Stands for the layer of what belongs to none."""

ALL_PARTS = "all"

Views = dict["Unit", list[tuple[str, Slice]]]
"""For every unit the tensors that it has a share of, by name, and how to cut the share out."""

_PROJECTIONS = {"q_proj": "q", "k_proj": "k", "v_proj": "v", "o_proj": "o"}
_IN_LAYER = re.compile(r"(?:^|.*\.)(?:layers|h|blocks|block)\.(\d+)\.(.+)")
_ADAPTED = re.compile(
    r"^base_model\.model\.|\.(?:lora_|modules_to_save|hada_|lokr_|oft_|boft_|ia3_).*$|\.(?:weight|bias)$"
)
_ASKED = re.compile(r"([\w.]+)(?::(\d+(?:-\d+)?(?:\+\d+(?:-\d+)?)*))?")


@dataclass(frozen=True)
class Unit:
    """What is grafted as one."""

    part: str
    """``q``, ``mlp``, ``embed``, … as in `attnshift.models.parts`; of an adapter the module in its layer"""
    layer: int
    """NO_LAYER for what belongs to none"""

    @property
    def name(self) -> str:
        """``0.q``, ``embed``."""
        return self.part if self.layer == NO_LAYER else f"{self.layer}.{self.part}"

    def called(self, name: str) -> bool:
        """Whether a part's name means it: its own; of an adapter also the last word, what it projects, or ``mlp``."""
        last = self.part.rpartition(".")[2]
        return name in (self.part, last, _PROJECTIONS.get(last), ALL_PARTS) or (name == "mlp" and "mlp" in self.part)


class Grafts:
    """A model in memory that is the target, with any set of units the source's.

    Grafting exchanges a unit's values with a second copy of the weights, and taking it back exchanges them again: there
    is no third copy, and the target comes back bit for bit.
    """

    def __init__(self, live: Mapping[str, Tensor], other: Mapping[str, Tensor], views: Views) -> None:
        self.units: tuple[Unit, ...] = tuple(views)
        """in the order of the model"""
        self._live, self._other, self._views = live, other, views
        self._grafted: frozenset[Unit] = frozenset()

    @torch.no_grad()
    def graft(self, units: Collection[Unit]) -> None:
        """Make exactly these units the source's and all others the target's."""
        wanted = frozenset(units)
        for unit in wanted ^ self._grafted:
            for name, cut in self._views[unit]:
                mine, theirs = cut(self._live[name].detach()), cut(self._other[name])
                kept = mine.clone()
                mine.copy_(theirs)
                theirs.copy_(kept)
        self._grafted = wanted


def tensors_of(model: Any, adapter: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The live tensors that grafting is about: the adapter's where there is one, else the model's parameters."""
    return dict(adapter) or dict(model.named_parameters())


def views_of(model: Any, adapter: Mapping[str, Tensor]) -> Views:
    """Units of a model: parts of its parameters or, where it has an adapter, that module by module."""
    if adapter:
        views = _gathered((_adapted(name), name, _whole) for name in adapter)
        return dict(sorted(views.items(), key=lambda pair: pair[0].layer))
    pieces = parameter_pieces(model)
    views = _gathered((_plain(piece.part), name, piece.of) for name, found in pieces.items() for piece in found)
    order = part_order({unit.name for unit in views})
    return dict(sorted(views.items(), key=lambda pair: order.index(pair[0].name)))


def choose_units(units: Sequence[Unit], asked: Sequence[str]) -> tuple[Unit, ...]:
    """Units by the names of their parts, each with or without layers: ``q``, ``mlp:3``, ``v:0-5+9``, ``all``.

    Raises AttnshiftError for what can't be read, a part that the model lacks and a layer without it.
    """
    chosen: set[Unit] = set()
    for piece in asked:
        match = _ASKED.fullmatch(piece)
        if match is None:
            raise AttnshiftError(f"{piece!r} is no part", expected="such as q, mlp:3, v:0-5+9 or all")
        name, layers = match[1], _layers(match[2])
        named = [unit for unit in units if unit.called(name)]
        if not named:
            known = ", ".join(dict.fromkeys(unit.part for unit in units))
            raise AttnshiftError(f"the model has no part {name!r}", expected=f"some of {known}, or all")
        found = {unit for unit in named if layers is None or unit.layer in layers}
        if layers is not None and (lacking := layers - {unit.layer for unit in found}):
            known = ", ".join(str(unit.layer) for unit in named if unit.layer != NO_LAYER) or "none: it has no layer"
            raise AttnshiftError(f"there is no {name} in layer {min(lacking)}", expected=f"layers of {known}")
        chosen |= found
    if not chosen:
        raise AttnshiftError("no part is named", expected="such as q,k,v,o,mlp")
    return tuple(unit for unit in units if unit in chosen)


def _layers(text: str | None) -> set[int] | None:
    if text is None:
        return None
    ranges = (piece.partition("-") for piece in text.split("+"))
    return {layer for first, _, last in ranges for layer in range(int(first), int(last or first) + 1)}


def _whole(tensor: Tensor) -> Tensor:
    return tensor


def _plain(part: str) -> Unit:
    layer, _, kind = part.rpartition(".")
    return Unit(kind, int(layer) if layer else NO_LAYER)


def _adapted(name: str) -> Unit:
    module = _ADAPTED.sub("", name)
    while (shorter := _ADAPTED.sub("", module)) != module:
        module = shorter
    inside = _IN_LAYER.fullmatch(module)
    return Unit(module, NO_LAYER) if inside is None else Unit(inside[2], int(inside[1]))


def _gathered(shares: Iterable[tuple[Unit, str, Slice]]) -> Views:
    found: Views = {}
    for unit, name, cut in shares:
        found.setdefault(unit, []).append((name, cut))
    return found
