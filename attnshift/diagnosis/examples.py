"""Defects of instruction-finetuning examples that their text alone shows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from attnshift.data.items import Example, normalise
from attnshift.data.kinds import MOST_WORDS
from attnshift.data.mentions import mentions, word_set, words
from attnshift.diagnosis.finding import Defect, Hit, Sought, excerpt, repeats


def _each(shown: Callable[[Example], str]) -> Callable[[Sequence[Example]], list[Hit]]:
    """Examples of which ``shown`` has something to tell."""
    return lambda examples: [Hit(example.id, told) for example in examples if (told := shown(example))]


def _asked(example: Example) -> tuple[str, str]:
    return normalise(example.context), normalise(example.question)


def _absent(example: Example) -> str:
    """A short answer of a critical example, as far as groups are known, that its context doesn't have."""
    short = example.context.strip() and len(words(example.answer)) <= MOST_WORDS
    if not short or example.group not in (None, "critical") or mentions(example.context, example.answer):
        return ""
    return f"no {example.answer!r} in {excerpt(example.context)}" if words(example.answer) else ""


def _redundant(example: Example) -> str:
    """A context without a word that the question doesn't have."""
    told = word_set(example.context)
    return f"{excerpt(example.context)} says nothing beyond its question" if told <= word_set(example.question) else ""


def _wrong_group(example: Example) -> str:
    has_context = bool(example.context.strip())
    if example.group is None or has_context != (example.group == "no_context"):
        return ""
    return f"group {example.group} {'with' if has_context else 'without'} a context: {excerpt(example.question)}"


def _partly_grouped(examples: Sequence[Example]) -> list[Hit]:
    """Examples without a group beside others that have one; only those with a context need one."""
    lacking = [e for e in examples if e.group is None and e.context.strip()]
    if not lacking or all(e.group is None for e in examples):
        return []
    given = sum(e.group is not None for e in examples)
    return [Hit(e.id, f"{given} others have a group") for e in lacking]


def _no_context(examples: Sequence[Example]) -> list[Hit]:
    """All of them, where none has a context."""
    if any(e.context.strip() for e in examples):
        return []
    return [Hit(e.id, f"{excerpt(e.question)} has none") for e in examples]


def _same_example(examples: Sequence[Example]) -> list[Hit]:
    def key(example: Example) -> object:
        return (*_asked(example), normalise(example.answer), example.split)

    return repeats(examples, key, lambda earlier, e: f"the same as {earlier.id}: {excerpt(e.question)}")


def _contradicting(examples: Sequence[Example]) -> list[Hit]:
    first: dict[object, Example] = {}
    hits = []
    for example in examples:
        earlier = first.setdefault(_asked(example), example)
        if normalise(earlier.answer) != normalise(example.answer):
            told = f"{excerpt(example.answer)}, in {earlier.id} {excerpt(earlier.answer)}"
            hits.append(Hit(example.id, f"{excerpt(example.question)}: {told}"))
    return hits


def _leaked(examples: Sequence[Example]) -> list[Hit]:
    trained = {_asked(e): e for e in examples if e.split == "train"}
    held_out = [e for e in examples if e.split == "heldout" and _asked(e) in trained]
    return [Hit(e.id, f"asks what {trained[_asked(e)].id} asks: {excerpt(e.question)}") for e in held_out]


def _same_id(examples: Sequence[Example]) -> list[Hit]:
    return repeats(examples, lambda e: e.id, lambda earlier, e: f"{excerpt(e.question)} has it too")


EXAMPLE_DEFECTS: Final[tuple[Sought[Example], ...]] = (
    Sought(
        Defect(
            "repeated_id",
            "a trace refuses them: a number couldn't be told to its example",
            "rename the ids, or leave them out to number the rows",
            "fail",
        ),
        _same_id,
    ),
    Sought(
        Defect(
            "group_contradicts_context",
            "norms and pushes of the groups mix what they are to tell apart",
            "correct the group, or leave it out: groups follow from the loss without the context",
        ),
        _each(_wrong_group),
    ),
    Sought(
        Defect(
            "partly_grouped",
            "given groups are mixed with such as follow from the loss without the context",
            "give all of them a group, or none: attnshift split writes one into every row",
        ),
        _partly_grouped,
    ),
    Sought(
        Defect(
            "no_context",
            "there are no critical and non-critical examples: nothing to compare gradients by",
            "examples with a context; in conversations --map context=… says where it is",
        ),
        _no_context,
    ),
    Sought(
        Defect(
            "answer_absent",
            "a critical example is to have its answer in the context; this one teaches to answer otherwise",
            "correct it, or drop it; ok where answers aren't meant to be quoted",
            "ok",
        ),
        _each(lambda e: _absent(e)),
    ),
    Sought(
        Defect(
            "redundant_context",
            "the context adds nothing: the example counts as one that has a context and doesn't need it",
            "drop the context, or the example",
        ),
        _each(lambda e: _redundant(e) if e.context.strip() else ""),
    ),
    Sought(Defect("duplicate_example", "it weighs twice in means and gradients", "keep one of each"), _same_example),
    Sought(
        Defect(
            "contradicting_answers",
            "no model can give both: their losses have a floor, and their gradients don't vanish",
            "keep the right one; ok where several answers are right",
        ),
        _contradicting,
    ),
    Sought(
        Defect(
            "leaked_split",
            "held-out losses and exact match are of examples that were trained on",
            "drop them from one of the two splits",
        ),
        _leaked,
    ),
)
"""What is looked for in examples without a tokenizer."""
