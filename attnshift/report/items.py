"""Conflict items for the page: prompts by role, the answer at every checkpoint, margins, attention."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np
import xarray as xr
from jaxtyping import Float, Shaped

from attnshift.report.prompts import prompts_by_item, prompts_of, texts, tokens_by_role
from attnshift.stats.items import answer_labels

BUDGET: Final = 2_000_000
"""Bytes of items that a page holds; of more items an even selection is shown."""

TURNS: Final = {
    "": "every item",
    "there_and_back": "memory → context → memory",
    "to_memory": "context → memory",
    "to_context": "memory → context",
    "steady": "never turns",
    "no_context": "never the context's answer",
}
"""What items can be picked by; a turn is a change between the two answers, steps with both or neither passed over."""

_LABELS: Final = {"context": "c", "parametric": "p", "both": "b", "neither": "n"}
_NOT_MEASURED: Final = "-"
_LONGEST_TEXT: Final = 240  # characters of a generation
_SHADED: Final = ("context", "context_answer", "parametric_answer", "question")
"""roles whose mass per token sets the scale of the shades; the sink and the template would drown them"""


@dataclass(frozen=True)
class Items:
    """What the page shows of the items."""

    total: int
    labelled_by: str
    """how an answer's label was found"""
    counts: Mapping[str, int]
    """items by turn, of those shown"""
    known: int | None
    """items that the base knows, of those shown; None where the trace doesn't say"""
    strata: tuple[str, ...]
    whole_prompts: bool
    """whether the template's own words are shown"""
    payload: dict[str, Any]
    """for the page's program: steps, roles, scale, and the items"""

    @property
    def shown(self) -> int:
        """Items on the page."""
        return len(self.payload["items"])


def items_of(trace: xr.Dataset, budget: int = BUDGET) -> Items | None:
    """The items of a trace; None where it has none, or not their texts.

    Reads attention one step at a time.
    """
    if "item_context" not in trace or not trace.sizes.get("item"):
        return None
    labels, labelled_by = label_codes(trace)
    strata = texts(trace, "item_stratum")
    names = tuple(dict.fromkeys(strata))
    roles, mass, tokens = _attention(trace)
    columns = {
        "id": texts(trace, "item"),
        "s": [names.index(stratum) for stratum in strata] or [0] * trace.sizes["item"],
        "p": prompts_by_item(trace),
        "c": texts(trace, "item_context_answer"),
        "m": texts(trace, "item_parametric_answer"),
        "l": ["".join(row) for row in labels.T],
        "t": [turns(row) for row in labels.T.tolist()],
        **_numbers(trace, mass, tokens),
    }
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    chosen = _within(rows, budget)
    return Items(
        total=len(rows),
        labelled_by=labelled_by,
        counts={turn: sum(not turn or turn in row["t"] for row in chosen) for turn in TURNS},
        known=sum(row["k"] for row in chosen) if "known_item" in trace else None,
        strata=names,
        whole_prompts=prompts_of(trace).whole,
        payload={
            "steps": trace["step"].values.astype(int).tolist(),
            "roles": list(roles),
            "scale": _scale(roles, mass, tokens),
            "strata": list(names),
            "items": chosen,
        },
    )


def label_codes(trace: xr.Dataset) -> tuple[Shaped[np.ndarray, "step item"], str]:
    """The label of every answer as a letter (c, p, b, n, or - where nothing was measured), and how it was found."""
    if "answer_label" in trace:
        how = "what its text asserts (answer_label)"
    elif {"counterfactual_accuracy", "parametric_accuracy"} <= set(trace.data_vars):
        how = "containment: which of the two answers the text holds"
    else:
        return np.full((trace.sizes["step"], trace.sizes["item"]), _NOT_MEASURED), "nothing: the trace holds no answers"
    labels = answer_labels(trace)
    return np.select([labels == name for name in _LABELS], list(_LABELS.values()), _NOT_MEASURED), how


def turns(labels: Sequence[str]) -> list[str]:
    """The turns of one item, keys of `TURNS`, from its labels over the steps."""
    said = [label for label in labels if label in "cp"]
    moves = [f"{a}{b}" for a, b in pairwise(said) if a != b]
    found = []
    if "pc" in moves and "cp" in moves[moves.index("pc") :]:
        found.append("there_and_back")
    if "cp" in moves:
        found.append("to_memory")
    if "pc" in moves:
        found.append("to_context")
    if not moves:
        found.append("steady")
    if {"p", "n"} & set(labels) and not {"c", "b"} & set(labels):
        found.append("no_context")
    return found


def _attention(
    trace: xr.Dataset,
) -> tuple[tuple[str, ...], Float[np.ndarray, "step item role"] | None, np.ndarray | None]:
    """Roles that occur, their mass (mean over layers and heads) and their tokens in every prompt."""
    if "attention_mass" not in trace:
        return (), None, None
    roles = tuple(str(role) for role in trace["role"].values)
    steps = []
    for index in range(trace.sizes["step"]):
        mass = trace["attention_mass"].isel(step=index).astype(np.float64).mean(("layer", "head"), skipna=False)
        steps.append(mass.transpose("item", "role").values)
    whole = np.stack(steps)
    present = [place for place in range(len(roles)) if np.nanmax(whole[..., place], initial=0) > 0]
    kept = tuple(roles[place] for place in present)
    return kept, whole[..., present], tokens_by_role(trace, kept)


def _scale(
    roles: Sequence[str], mass: Float[np.ndarray, "step item role"] | None, tokens: np.ndarray | None
) -> float | None:
    """The mass per token that gets the full shade: the 90 % quantile over roles, items and steps."""
    chosen = [place for place, role in enumerate(roles) if role in _SHADED]
    if mass is None or tokens is None or not chosen:
        return None
    with np.errstate(divide="ignore", invalid="ignore"):
        each = (mass / tokens)[..., chosen]
    known = each[np.isfinite(each) & (each > 0)]
    return float(f"{np.quantile(known, 0.9):.2g}") if known.size else None


def _numbers(
    trace: xr.Dataset, mass: Float[np.ndarray, "step item role"] | None, tokens: np.ndarray | None
) -> dict[str, list[Any]]:
    """What was measured of the items, compactly: margins, generations, attention per mille, tokens by role."""
    found: dict[str, list[Any]] = {}
    if "margin" in trace:
        margins = trace["margin"].transpose("item", "step").values.tolist()
        found["d"] = [[round(value, 2) if np.isfinite(value) else None for value in row] for row in margins]
    if "generation" in trace:
        found["g"] = [_generations(row) for row in trace["generation"].transpose("item", "step").values.tolist()]
    if mass is not None:
        per_mille = np.round(1000 * mass.swapaxes(0, 1))
        found["a"] = [
            [None if np.isnan(step).any() else step.astype(int).tolist() for step in row] for row in per_mille
        ]
    if tokens is not None:
        found["n"] = tokens.astype(int).tolist()
    if "known_item" in trace:
        found["k"] = (trace["known_item"].values == 1).astype(int).tolist()
    return found


def _generations(texts: Sequence[Any]) -> list[Any]:
    """The distinct texts, and which of them each step gave; None where it gave none."""
    said = [_cut(text) if isinstance(text, str) else None for text in texts]
    distinct = list(dict.fromkeys(text for text in said if text is not None))
    return [distinct, [None if text is None else distinct.index(text) for text in said]]


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]} […{len(text) - _LONGEST_TEXT:,} more]"


def _within(rows: list[dict[str, Any]], budget: int) -> list[dict[str, Any]]:
    """All of the rows, or as many, evenly spaced, as fit the budget."""
    sizes = np.array(
        [len(json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")) for row in rows]
    )
    if sizes.sum() <= budget:
        return rows
    for count in range(int(len(rows) * budget / sizes.sum()), 0, -1):
        chosen = np.linspace(0, len(rows) - 1, count).round().astype(int)
        if sizes[chosen].sum() <= budget:
            return [rows[index] for index in chosen]
    return rows[:1]
