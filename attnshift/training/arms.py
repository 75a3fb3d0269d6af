"""The arms of a finetuning: which examples each trains on, and which parameters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np

from attnshift.data.augment import augment
from attnshift.data.inputs import Dropped
from attnshift.data.items import Example, Item
from attnshift.data.overlap import SOURCES, remove_overlap
from attnshift.errors import AttnshiftError
from attnshift.training.seeds import stream

Arm = Literal["full", "context-only", "critical", "random-drop", "no-overlap", "augmented", "qk"]
ARMS: tuple[Arm, ...] = get_args(Arm)


@dataclass(frozen=True)
class Selection:
    """What an arm trains on."""

    examples: tuple[Example, ...]
    """training examples alone; those that are held out are nobody's"""
    left_out: tuple[Dropped, ...] = ()
    """what the arm left out for a reason that is worth telling"""
    origins: dict[str, str] = field(default_factory=dict)
    """of examples that were made: their id to that of the one they were made from"""
    said: str = ""
    """what was done, for people"""


def select(
    arm: str,
    examples: Sequence[Example],
    *,
    seed: int = 0,
    items: Sequence[Item] = (),
    ratio: float = 0.1,
    sources: Sequence[str] = SOURCES,
) -> Selection:
    """Choose what an arm trains on.

    ================  =====================================================================================
    ``full``, ``qk``  everything
    ``context-only``  examples with a context
    ``critical``      of these, the critical ones
    ``random-drop``   of these, as many as there are critical ones, drawn by the seed: what dropping alone does
    ``no-overlap``    examples that name nothing of what the conflict items are about
    ``augmented``     everything and counterfactual examples, which are ``ratio`` of the result
    ================  =====================================================================================

    Parameters
    ----------
    arm
        One of ARMS.
    examples
        Grouped examples; held-out ones are left alone.
    seed
        Of what is drawn.
    items
        Conflict items, for ``no-overlap``.
    ratio
        For ``augmented``.
    sources
        What of the items an example must not name, for ``no-overlap``; see `remove_overlap`.

    Raises
    ------
    AttnshiftError
        The arm isn't known, lacks what it needs, or is empty.
    """
    if arm not in ARMS:
        raise AttnshiftError(f"there is no arm {arm!r}", expected=f"one of {', '.join(ARMS)}")
    training = [example for example in examples if example.split == "train"]
    if not training:
        raise AttnshiftError(f"none of the {len(examples)} examples is for training", expected="split: train")
    wanted = _Wanted(seed, items, ratio, sources)
    chosen = _SELECT[arm](training, wanted) if arm in _SELECT else Selection(tuple(training))
    if not chosen.examples:
        raise AttnshiftError(
            f"the arm {arm!r} is empty: none of the {len(training)} training examples is left",
            expected=_NEEDED.get(arm, "at least one example"),
            remedy="another --arm, or other data",
        )
    return chosen


@dataclass(frozen=True)
class _Wanted:
    seed: int
    items: Sequence[Item]
    ratio: float
    sources: Sequence[str]


def _with_context(training: Sequence[Example]) -> list[Example]:
    kept = [example for example in training if example.context.strip()]
    if not kept:
        raise AttnshiftError(
            f"none of the {len(training)} training examples has a context",
            expected="examples with a context, for this arm",
            remedy="name the column of the context: --map context=passage",
        )
    return kept


def _context_only(training: Sequence[Example], wanted: _Wanted) -> Selection:
    kept = _with_context(training)
    return Selection(tuple(kept), said=f"{len(training) - len(kept)} examples without a context left out")


def _critical(training: Sequence[Example], wanted: _Wanted) -> Selection:
    context = _with_context(training)
    kept = tuple(example for example in context if example.group == "critical")
    return Selection(kept, said=f"{len(context) - len(kept)} of {len(context)} examples with a context left out")


def _random_drop(training: Sequence[Example], wanted: _Wanted) -> Selection:
    context, size = _with_context(training), len(_critical(training, wanted).examples)
    drawn = np.sort(stream(wanted.seed, "random-drop").permutation(len(context))[:size])
    said = f"{len(context) - size} of {len(context)} examples with a context left out at random"
    return Selection(tuple(context[i] for i in drawn), said=said)


def _no_overlap(training: Sequence[Example], wanted: _Wanted) -> Selection:
    if not wanted.items:
        raise AttnshiftError("the arm 'no-overlap' needs conflict items", expected="--conflicts FILE beside --data")
    overlap = remove_overlap(training, wanted.items, wanted.sources)
    dropped = tuple(Dropped(each.id, each.reason) for each in overlap.dropped)
    return Selection(overlap.kept, dropped, said=f"{len(dropped)} examples that name what the items are about left out")


def _augmented(training: Sequence[Example], wanted: _Wanted) -> Selection:
    made = augment(training, wanted.ratio, seed=wanted.seed)
    refused = tuple(Dropped(each.id, f"not made counterfactual: {each.reason}") for each in made.refused)
    origins = {each.example.id: each.origin for each in made.counterfactuals}
    said = f"{len(origins)} counterfactual examples added, {made.ratio:.1%} of the training set"
    if len(origins) < made.wanted:
        said += f" ({made.wanted} were wanted)"
    return Selection((*training, *made.examples), refused, origins, said)


_SELECT: dict[str, Callable[[Sequence[Example], _Wanted], Selection]] = {
    "context-only": _context_only,
    "critical": _critical,
    "random-drop": _random_drop,
    "no-overlap": _no_overlap,
    "augmented": _augmented,
}

_NEEDED: dict[str, str] = {
    "critical": "examples with a context in the group critical",
    "random-drop": "examples with a context in the group critical, as many as are kept",
    "no-overlap": "examples that name nothing of what the conflict items are about",
}
