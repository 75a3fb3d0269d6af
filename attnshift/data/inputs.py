"""Everything that a trace feeds to a model, fixed once for all checkpoints."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any, TypeVar

from attnshift.data.controls import Condition, Control, control_items
from attnshift.data.groups import group_shares
from attnshift.data.items import Example, Group, Item
from attnshift.data.prompts import Encoder, ExampleTokens, ItemTokens
from attnshift.data.templates import PromptError
from attnshift.errors import AttnshiftError

Row = TypeVar("Row", Item, Example)
Encoded = TypeVar("Encoded", ItemTokens, ExampleTokens)


@dataclass(frozen=True)
class Dropped:
    """A datapoint that was left out."""

    id: str
    reason: str


@dataclass(frozen=True)
class ControlTokens:
    """The items under one control condition, as the model reads them; None where the condition can't be had."""

    condition: Condition
    items: tuple[Item | None, ...]
    tokens: tuple[ItemTokens | None, ...]
    reasons: tuple[str, ...]
    """why not"""


@dataclass(frozen=True)
class Inputs:
    """Conflict items and IFT examples with their tokens."""

    items: tuple[Item, ...]
    item_tokens: tuple[ItemTokens, ...]
    examples: tuple[Example, ...]
    example_tokens: tuple[ExampleTokens, ...]
    dropped: tuple[Dropped, ...] = ()
    shares: tuple[tuple[Group, float], ...] = ()
    """each group's part of the training examples; empty until grouped"""
    controls: tuple[ControlTokens, ...] = ()
    """the items under every control condition, where they are asked for; they follow from the items"""
    is_respelt: bool = False
    """whether doubtful answers are scored with another space before them than the template writes"""

    @property
    def doubtful(self) -> list[int]:
        """Positions of the items whose answers have another spelling that a model might prefer."""
        return [i for i, tokens in enumerate(self.item_tokens) if tokens.respelt is not None]

    def respelt(self) -> Inputs:
        """The same inputs with the other spelling of every doubtful answer, and the template's as the other one."""
        controls = tuple(replace(each, tokens=tuple(t and _respelt(t) for t in each.tokens)) for each in self.controls)
        tokens = tuple(map(_respelt, self.item_tokens))
        return replace(self, item_tokens=tokens, controls=controls, is_respelt=not self.is_respelt)

    def with_examples(self, examples: Sequence[Example], stated_shares: dict[str, float]) -> Inputs:
        """The same inputs with grouped examples."""
        groups = [e.group for e in examples if e.group is not None and e.split == "train"]
        return replace(self, examples=tuple(examples), shares=tuple(group_shares(groups, stated_shares).items()))

    @property
    def groups(self) -> tuple[Group, ...]:
        """Groups that have training examples, in the house order."""
        return tuple(group for group, _ in self.shares)

    def largest_token(self) -> int:
        """The largest id that a model is fed with these; -1 where there is nothing."""
        fed = [ids for t in self.item_tokens for ids in (t.prompt.ids, t.context_answer_ids, t.parametric_answer_ids)]
        fed += [tokens.sequence.ids for tokens in self.example_tokens]
        return max((int(ids.max()) for ids in fed if len(ids)), default=-1)

    def train_positions(self, group: Group) -> list[int]:
        """Positions of the group's training examples."""
        return [i for i, e in enumerate(self.examples) if e.group == group and e.split == "train"]

    def digests(self) -> dict[str, str]:
        """What the trace was fed with, by kind: changes in one are named when a trace is resumed."""
        return dict(self._digests)

    @cached_property
    def _digests(self) -> dict[str, str]:
        return {
            "items": _digest(self.items, self.item_tokens),
            "examples": _digest([replace(e, group=None) for e in self.examples], self.example_tokens),
            "groups": _digest([e.group for e in self.examples], []),
        }


def encode(encoder: Encoder, items: Sequence[Item], examples: Sequence[Example]) -> Inputs:
    """Turn data into tokens; a datapoint that can't be read with certainty is dropped, with its reason.

    Raises AttnshiftError where ids repeat, or where nothing at all is left of the items or the examples.
    """
    _check_ids("item", items)
    _check_ids("example", examples)
    dropped: list[Dropped] = []
    kept_items, item_tokens = _encode_all(encoder.item, items, "items", dropped)
    kept_examples, example_tokens = _encode_all(encoder.example, examples, "examples", dropped)
    return Inputs(kept_items, item_tokens, kept_examples, example_tokens, tuple(dropped))


def with_controls(encoder: Encoder, inputs: Inputs) -> Inputs:
    """The inputs with their items under every control condition; what can't be read with certainty is left out."""
    return replace(inputs, controls=tuple(_encode_control(encoder, each) for each in control_items(inputs.items)))


def _encode_control(encoder: Encoder, control: Control) -> ControlTokens:
    items, tokens, reasons = list(control.items), [], list(control.reasons)
    for i, item in enumerate(items):
        try:
            tokens.append(None if item is None else encoder.item(item))
        except PromptError as reason:
            tokens.append(None)
            items[i], reasons[i] = None, reason.problem
    return ControlTokens(control.condition, tuple(items), tuple(tokens), tuple(reasons))


def sample(rows: Sequence[Row], limit: int | None, seed: int) -> list[Row]:
    """At most ``limit`` rows, in their order, chosen by a hash of seed and id.

    The choice depends on nothing else, so it is the same in every process, and a larger limit keeps what
    a smaller one chose.
    """
    if limit is None or len(rows) <= limit:
        return list(rows)
    key = {row.id: hashlib.blake2b(f"{seed}:{row.id}".encode("utf-8", "surrogatepass")).digest() for row in rows}
    chosen = {row.id for row in sorted(rows, key=lambda row: key[row.id])[:limit]}
    return [row for row in rows if row.id in chosen]


def _encode_all(
    encode_one: Callable[[Row], Encoded], rows: Sequence[Row], kind: str, dropped: list[Dropped]
) -> tuple[tuple[Row, ...], tuple[Encoded, ...]]:
    kept: list[tuple[Row, Encoded]] = []
    reasons: list[PromptError] = []
    for row in rows:
        try:
            kept.append((row, encode_one(row)))
        except PromptError as reason:
            reasons.append(reason)
            dropped.append(Dropped(row.id, reason.problem))
    if rows and not kept:
        raise AttnshiftError(
            f"none of the {len(rows)} {kind} can be used; the first: {reasons[0].problem}",
            expected=reasons[0].expected,
            remedy=reasons[0].remedy or "--dry-run shows the rendered prompt",
        )
    return tuple(row for row, _ in kept), tuple(tokens for _, tokens in kept)


def _check_ids(kind: str, rows: Sequence[Item] | Sequence[Example]) -> None:
    seen: set[str] = set()
    for row in rows:
        if row.id in seen:
            raise AttnshiftError(
                f"two {kind}s have the id {row.id!r}",
                expected="ids that are unique over all files",
                remedy="rename one, or name the file only once",
            )
        seen.add(row.id)


def _respelt(tokens: ItemTokens) -> ItemTokens:
    if tokens.respelt is None:
        return tokens
    context, parametric = tokens.respelt
    spelt = (tokens.context_answer_ids, tokens.parametric_answer_ids)
    return replace(tokens, context_answer_ids=context, parametric_answer_ids=parametric, respelt=spelt)


def _digest(rows: Sequence[Any], tokens: Sequence[ItemTokens | ExampleTokens]) -> str:
    state = hashlib.blake2b(digest_size=8)
    for row in rows:
        plain = asdict(row) if isinstance(row, Item | Example) else row
        state.update(json.dumps(plain, sort_keys=True).encode())
    for encoded in tokens:
        for value in asdict(encoded).values():
            for array in value.values() if isinstance(value, dict) else value if isinstance(value, tuple) else (value,):
                if array is not None:
                    state.update(array.tobytes() + b"|")
    return state.hexdigest()
