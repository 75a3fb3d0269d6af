"""Which sets of weights are grafted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from attnshift.errors import AttnshiftError
from attnshift.interventions.units import NO_LAYER, Unit, choose_units

AXES = ("unit", "part", "layer")
"""What grafts can be told apart by: each part in each layer, each part in all layers, each layer with all parts."""


@dataclass(frozen=True)
class Graft:
    """One set of units and why it is grafted."""

    kind: str
    """``all``, ``set``, ``unit``, ``part``, ``without_part``, ``layer``, ``first_layers``, ``last_layers``, ``search``
    or ``found``"""
    label: str
    units: frozenset[Unit]
    part: str = ""
    layer: int = NO_LAYER
    """of ``first_layers`` the last, of ``last_layers`` the first; of ``search`` the number of candidates"""


def read_axes(names: Sequence[str]) -> tuple[str, ...]:
    """Axes by their names, the finest first; raises AttnshiftError for others."""
    if unknown := [name for name in names if name not in AXES]:
        raise AttnshiftError(f"grafts aren't told apart by {unknown[0]!r}", expected=f"some of {', '.join(AXES)}")
    return tuple(axis for axis in AXES if axis in names)


def plan_grafts(units: Sequence[Unit], axes: Sequence[str], sets: Sequence[str] = ()) -> list[Graft]:
    """All units together, sets such as ``q,k:0-3``, and what the axes ask for.

    Raises AttnshiftError for a set of parts or layers that aren't among the units.
    """
    everything = frozenset(units)
    planned = [Graft("all", "all", everything)]
    planned += [Graft("set", f"set {text}", frozenset(choose_units(units, text.split(",")))) for text in sets]
    if "unit" in axes:
        planned += [Graft("unit", unit.name, frozenset([unit]), unit.part, unit.layer) for unit in units]
    if "part" in axes:
        for part, mine in _by_part(units).items():
            planned.append(Graft("part", part, mine, part))
            planned.append(Graft("without_part", f"all but {part}", everything - mine, part))
    if "layer" in axes:
        by_layer = _by_layer(units)
        for layer, mine in by_layer.items():
            first = frozenset(unit for unit in units if NO_LAYER < unit.layer <= layer)
            last = frozenset(unit for unit in units if unit.layer >= layer)
            planned.append(Graft("layer", f"layer {layer}", mine, layer=layer))
            planned.append(Graft("first_layers", f"up to layer {layer}", first, layer=layer))
            planned.append(Graft("last_layers", f"from layer {layer} on", last, layer=layer))
    return planned


def candidates(units: Sequence[Unit], axes: Sequence[str]) -> list[frozenset[Unit]]:
    """What a search may add, by the finest axis."""
    finest = axes[0] if axes else "unit"
    if finest == "unit":
        return [frozenset([unit]) for unit in units]
    layerless = [frozenset([unit]) for unit in units if unit.layer == NO_LAYER]
    return list(_by_part(units).values()) if finest == "part" else [*_by_layer(units).values(), *layerless]


def _by_part(units: Sequence[Unit]) -> dict[str, frozenset[Unit]]:
    return {part: frozenset(u for u in units if u.part == part) for part in dict.fromkeys(u.part for u in units)}


def _by_layer(units: Sequence[Unit]) -> dict[int, frozenset[Unit]]:
    layers = sorted({unit.layer for unit in units} - {NO_LAYER})
    return {layer: frozenset(unit for unit in units if unit.layer == layer) for layer in layers}
