"""Counterfactual examples: the answer exchanged for another of its type, in the passage and in the target."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from attnshift.data.items import Example
from attnshift.data.kinds import KINDS, AnswerType, Kind, RefusedError, answer_type
from attnshift.data.mentions import fold
from attnshift.data.substitution import Slot, core_of, find_slot, gender_of, substitute
from attnshift.errors import AttnshiftError

STRATUM = "counterfactual"
NO_SUBSTITUTE = "no answer of its type fits it"
_MOST_TRIED = 200
"""Substitutes that are tried for one example before it is given up."""


@dataclass(frozen=True)
class Counterfactual:
    """A new example and where it comes from."""

    example: Example
    """its group is ``critical``: what its context says contradicts memory; its stratum is ``counterfactual``"""
    origin: str
    """id of the example that it was made from"""
    position: int
    """of that example"""
    old_answer: str
    new_answer: str
    kind: Kind
    seed: int


@dataclass(frozen=True)
class Refused:
    """An example that was tried and can't be made counterfactual."""

    id: str
    reason: str


@dataclass(frozen=True)
class Augmentation:
    """The counterfactual examples of a training set."""

    counterfactuals: tuple[Counterfactual, ...]
    """in the order of their origins"""
    refused: tuple[Refused, ...]
    wanted: int
    """how many the ratio asks for; fewer were made where the examples that can be exchanged ran out"""
    training: int
    """training examples that there were"""

    @property
    def examples(self) -> tuple[Example, ...]:
        """The new examples alone."""
        return tuple(each.example for each in self.counterfactuals)

    @property
    def reasons(self) -> dict[str, int]:
        """How many were refused for what, the most frequent first."""
        return dict(Counter(each.reason for each in self.refused).most_common())

    @property
    def ratio(self) -> float:
        """The part of the resulting training set that is counterfactual."""
        made = len(self.counterfactuals)
        return made / (self.training + made) if made else 0.0


def augment(
    examples: Sequence[Example],
    ratio: float,
    *,
    seed: int = 0,
    answers: Sequence[str] = (),
    elsewhere: Sequence[str] | None = None,
) -> Augmentation:
    """Make counterfactual examples by entity substitution.

    An answer that the context states is exchanged for another answer of its type, at every mention in the context
    (surnames, possessives, other cases) and in the target. Refused is whatever couldn't be coherent. The examples are
    tried in an order that a hash of seed and id gives, so that the same seed makes the same set from the same file,
    and a smaller ratio a subset of it; each serves once before one serves twice.

    Parameters
    ----------
    examples
        The training set; those that are held out are left alone.
    ratio
        The part of the resulting training set that is counterfactual: 0.1 adds one for every nine.
    seed
        Chooses examples and substitutes.
    answers
        Substitutes beside the answers of the examples themselves. ``place: Lima`` states a type.
    elsewhere
        One text per example that is kept as it is, and so must not mention the answer.

    Raises
    ------
    AttnshiftError
        The ratio is not in [0, 1), a context is nowhere to be found, or none can be made.
    """
    if not 0 <= ratio < 1:
        raise AttnshiftError(
            f"the ratio is {ratio}", expected="a part of the resulting training set: at least 0 and below 1"
        )
    training = [i for i, example in enumerate(examples) if example.split == "train"]
    wanted = math.floor(ratio / (1 - ratio) * len(training) + 0.5)
    if not wanted:
        return Augmentation((), (), 0, len(training))
    candidates = [i for i in training if examples[i].context.strip()]
    if not candidates:
        raise AttnshiftError(
            f"none of the {len(training)} training examples has a context",
            expected="examples whose context states their answer",
            remedy="name the column of the context: --map context=passage",
        )
    pools = _Pools(examples, answers)
    candidates.sort(key=lambda i: _hash(seed, examples[i].id))
    made: list[Counterfactual] = []
    refused: dict[int, Refused] = {}
    for round_, position in _rounds(candidates, refused):
        if len(made) == wanted:
            break
        try:
            text = "" if elsewhere is None else elsewhere[position]
            made.append(_exchange(examples[position], position, round_, pools, seed, text))
        except RefusedError as reason:
            # One that was exchanged before and can't be exchanged again has not been refused.
            refused[position] = Refused(examples[position].id, "" if round_ else str(reason))
    if not made:
        raise AttnshiftError(
            f"none of the {len(candidates)} examples with a context can be made counterfactual: "
            + "; ".join(f"{n} because {why}" for why, n in Counter(r.reason for r in refused.values()).most_common(3)),
            expected="short answers that the context states: a person, a place, a number, a date",
            remedy="give substitutes with --answers, or look at the reasons",
        )
    made.sort(key=lambda each: each.position)
    kept = [each for _, each in sorted(refused.items()) if each.reason]
    return Augmentation(tuple(made), tuple(kept), wanted, len(training))


def _rounds(candidates: Sequence[int], refused: dict[int, Refused]) -> Iterator[tuple[int, int]]:
    """Every candidate, then those again that have not been refused meanwhile, as long as there are any."""
    left, round_ = list(candidates), 0
    while left:
        for position in left:
            yield round_, position
        left = [position for position in left if position not in refused]
        round_ += 1


def _exchange(example: Example, position: int, round_: int, pools: _Pools, seed: int, elsewhere: str) -> Counterfactual:
    slot = find_slot(example, elsewhere)
    for tried, answer in enumerate(_passing(slot, pools.of(slot, _hash(seed, example.id)))):
        if tried == round_:  # the first ones served the rounds before
            new_answer, new = answer
            name = f"{example.id}~{seed}.{round_}"
            new = replace(new, id=name, group="critical", stratum=STRATUM)
            return Counterfactual(new, example.id, position, slot.answer, new_answer, slot.type.kind, seed)
    raise RefusedError(NO_SUBSTITUTE)


def _passing(slot: Slot, answers: Iterator[str]) -> Iterator[tuple[str, Example]]:
    for answer in answers:
        if (new := substitute(slot, answer)) is not None:
            yield answer, new


class _Pools:
    """Substitutes by type: the answers of the training examples, as they are first spelt, and those that are given."""

    def __init__(self, examples: Sequence[Example], answers: Sequence[str]) -> None:
        self._found: dict[tuple[Kind, str, str], dict[str, str]] = {}
        self._given: dict[Kind, dict[str, str]] = {}
        self._sorted: dict[tuple[Kind, str, str], list[str]] = {}
        for example in examples:
            if example.split == "train":  # what is held out stays unseen
                self._add_example(example)
        for answer in answers:
            self._add_given(answer)

    def of(self, slot: Slot, key: int) -> Iterator[str]:
        """Substitutes of the slot's type, in an order that the key gives; no more than a few hundred."""
        names = self._fitting(slot.type.kind, "" if slot.type.kind == "person" else slot.type.form, slot.gender)
        if names:
            order = np.random.default_rng(key).permutation(len(names))[:_MOST_TRIED]
            yield from (names[i] for i in order)

    def _fitting(self, kind: Kind, form: str, gender: str) -> list[str]:
        """A person whose gender the passage tells takes one of the same; where it doesn't, anyone will do."""
        if (kind, form, gender) not in self._sorted:
            genders = ("", "male", "female") if kind == "person" and not gender else (gender,)
            pool = dict(self._given.get(kind, {}))
            for each in genders:
                pool |= self._found.get((kind, form, each), {})
            self._sorted[kind, form, gender] = [pool[folded] for folded in sorted(pool)]
        return self._sorted[kind, form, gender]

    def _add_example(self, example: Example) -> None:
        """Also of an example that can't be exchanged itself."""
        answer = core_of(example.answer)
        try:
            kind = answer_type(answer, example.question)
            gender = gender_of(example, kind)
        except RefusedError:
            return
        self._add(kind, gender, answer)

    def _add(self, kind: AnswerType, gender: str, answer: str) -> None:
        form = "" if kind.kind == "person" else kind.form
        self._found.setdefault((kind.kind, form, gender), {}).setdefault(fold(answer), answer)

    def _add_given(self, answer: str) -> None:
        stated, _, name = answer.partition(":")
        if stated.strip() in KINDS and name.strip():
            self._given.setdefault(stated.strip(), {}).setdefault(fold(name.strip()), name.strip())  # type: ignore[arg-type]
            return
        try:
            kind = answer_type(answer.strip(), "")
        except RefusedError as reason:
            raise AttnshiftError(
                f"the answer {answer!r} can't be a substitute: {reason}",
                expected="a name, number or date; place: Lima states its type",
            ) from reason
        self._add(kind, kind.form if kind.kind == "person" else "", answer.strip())


def _hash(seed: int, text: str) -> int:
    digest = hashlib.blake2b(f"{seed}:{text}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big")
