"""What a user must be told of the data before anything is computed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from attnshift.data.inputs import Inputs

AS_RENDERED, RESPELT = "as the template renders them", "with another space than the template renders"


def spelling_text(inputs: Inputs) -> str:
    """How the answers are spelt that are scored."""
    if not inputs.doubtful:
        return AS_RENDERED
    spelt = RESPELT if inputs.is_respelt else AS_RENDERED
    return f"{spelt}; in doubt for {len(inputs.doubtful)} of {len(inputs.items)} items"


def spelling_note(inputs: Inputs, tokenizer: Any) -> list[str]:
    """Where a phantom or a missing space before the answer splits it into other tokens."""
    if not inputs.doubtful:
        return []
    tokens = (inputs.respelt() if inputs.is_respelt else inputs).item_tokens[inputs.doubtful[0]]
    assert tokens.respelt is not None  # noqa: S101  (it is doubtful)
    template, other = (
        tokenizer.convert_ids_to_tokens(ids.tolist()) for ids in (tokens.context_answer_ids, tokens.respelt[0])
    )
    chosen = (
        "the other" if inputs.is_respelt else "the template's unless the first and the last checkpoint prefer the other"
    )
    return [
        f"the space before the answer is in doubt for {len(inputs.doubtful)} of {len(inputs.items)} items: the "
        f"template gives {template}, one space more or less {other}; scored is {chosen}"
    ]


def control_notes(inputs: Inputs) -> list[str]:
    """How many items could be put under each control condition, and the most frequent reason why not."""
    notes = []
    for control in inputs.controls:
        refused = Counter(filter(None, control.reasons))
        why = f"; of {refused.total()} left out the first: {next(iter(refused))}" if refused else ""
        there = len(control.items) - refused.total()
        notes.append(f"control {control.condition}: {there} of {len(control.items)} items{why}")
    return notes


def other_steps_note(steps: Sequence[int]) -> list[str]:
    """What to say of steps that are in the trace and not in the run; nothing where there are none."""
    if not steps:
        return []
    named = f"step{'s' * (len(steps) > 1)} {', '.join(map(str, steps))}"
    return [f"the trace also holds {named}, which the run doesn't have (any more)"]


def dropped_note(inputs: Inputs) -> list[str]:
    """How many datapoints were left out, and why the first."""
    if not inputs.dropped:
        return []
    first = inputs.dropped[0]
    return [f"{len(inputs.dropped)} datapoints left out; the first is {first.id!r}: {first.reason}"]
