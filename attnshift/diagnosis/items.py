"""Defects of conflict items that their text alone shows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

from attnshift.data.items import Item, normalise
from attnshift.data.mentions import fold, mentions, words
from attnshift.data.roles import CONTEXT_ANSWER, find_answers
from attnshift.diagnosis.finding import Defect, Hit, Sought, excerpt, repeats
from attnshift.scoring.containment import contains_answer

_ARTICLES = ("the", "a", "an")
_APART = " \n\t.,;:!?()\"'"


def _each(shown: Callable[[Item], str]) -> Callable[[Sequence[Item]], list[Hit]]:
    """Items of which ``shown`` has something to tell."""
    return lambda items: [Hit(item.id, told) for item in items if (told := shown(item))]


def _parametric_in_context(item: Item) -> str:
    if not contains_answer(item.context, item.parametric_answer, item.parametric_aliases):
        return ""
    return f"{item.parametric_answer!r} in {excerpt(item.context)}"


def _contains_parametric(item: Item) -> str:
    names = (item.context_answer, *item.context_aliases)
    found = next((n for n in names if contains_answer(n, item.parametric_answer, item.parametric_aliases)), None)
    return "" if found is None else f"{found!r} contains {item.parametric_answer!r}"


def _contains_context(item: Item) -> str:
    names = (item.parametric_answer, *item.parametric_aliases)
    found = next((n for n in names if contains_answer(n, item.context_answer, item.context_aliases)), None)
    return "" if found is None else f"{found!r} contains {item.context_answer!r}"


def _absent(item: Item) -> str:
    if any(mentions(item.context, name) for name in (item.context_answer, *item.context_aliases)):
        return ""
    if contains_answer(item.context, item.context_answer, item.context_aliases):  # no words: a symbol, say
        return ""
    return f"no {item.context_answer!r} in {excerpt(item.context)}"


def _spelt_otherwise(item: Item) -> str:
    """An answer that the context has in another spelling, so that its tokens there have no role of their own."""
    plainly = _stands(item.context, item.context_answer) and not _contains_context(item)
    if plainly or _absent(item):  # nearly always, and much faster than the roles
        return ""
    names = ((item.context_answer, *item.context_aliases), (item.parametric_answer, *item.parametric_aliases))
    marked = any(role == CONTEXT_ANSWER for _, role in find_answers(item.context, *names))
    return "" if marked else f"{item.context_answer!r} is spelt otherwise in {excerpt(item.context)}"


def _stands(text: str, name: str) -> bool:
    """Whether a text has a name as it is spelt, between spaces or plain punctuation."""
    start = text.find(name)
    neighbours = (text[start - 1 : start] if start else "", text[start + len(name) : start + len(name) + 1])
    return start >= 0 and all(not each or each in _APART for each in neighbours)


def _in_question(item: Item) -> str:
    found = [a for a in (item.context_answer, item.parametric_answer) if mentions(item.question, a)]
    return f"{found[0]!r} in {excerpt(item.question)}" if found else ""


def _parenthetical(item: Item) -> str:
    found = [a for a in (item.context_answer, item.parametric_answer) if any(c in a for c in "()[]")]
    return repr(found[0]) if found else ""


def _equal(item: Item) -> str:
    a, b = (_bare(answer) for answer in (item.context_answer, item.parametric_answer))
    return f"{item.context_answer!r} and {item.parametric_answer!r}" if a == b else ""


def _shared_alias(item: Item) -> str:
    context, memory = (
        {normalise(name) for name in names}
        for names in (
            (item.context_answer, *item.context_aliases),
            (item.parametric_answer, *item.parametric_aliases),
        )
    )
    return f"{min(context & memory)!r} counts for both" if context & memory else ""


def _bare(answer: str) -> tuple[str, ...] | str:
    """An answer without case, accents, punctuation and a leading article."""
    found = [word.folded for word in words(answer)]
    return tuple(found[found[0] in _ARTICLES and len(found) > 1 :]) if found else fold(answer).strip()


def _told_pair(earlier: Item, item: Item) -> str:
    return f"{excerpt(item.question)} as in {earlier.id}: {earlier.context_answer!r}, {item.context_answer!r}"


def _same_item(items: Sequence[Item]) -> list[Hit]:
    def key(item: Item) -> object:
        return tuple(map(normalise, (item.context, item.question, item.context_answer, item.parametric_answer)))

    return repeats(items, key, lambda earlier, item: f"the same as {earlier.id}: {excerpt(item.question)}")


def _same_question(items: Sequence[Item]) -> list[Hit]:
    return repeats(items, lambda item: normalise(item.question), _told_pair)


def _clustered(items: Sequence[Item]) -> list[Hit]:
    sizes = Counter(item.cluster for item in items)
    most = max(sizes.values(), default=0)
    told = f"{len(items)} items in {len(sizes)} clusters, the largest of {most}"
    return [Hit(item.id, told) for item in items if sizes[item.cluster] > 1]


def _same_id(items: Sequence[Item]) -> list[Hit]:
    return repeats(items, lambda item: item.id, lambda earlier, item: f"{excerpt(item.question)} has it too")


ITEM_DEFECTS: Final[tuple[Sought[Item], ...]] = (
    Sought(
        Defect(
            "repeated_id",
            "a trace refuses them: a number couldn't be told to its item",
            "rename the ids, or leave them out to number the rows",
            "fail",
        ),
        _same_id,
    ),
    Sought(
        Defect(
            "equal_answers",
            "no conflict: both accuracies count the same text, and the margin is one of spelling",
            "drop these items",
        ),
        _each(_equal),
    ),
    Sought(
        Defect(
            "parametric_in_context",
            "a text that quotes its passage counts for parametric_accuracy (containment), and attention to the "
            "memorised answer is attention to the context",
            "read answer_label, which asks what is asserted, beside the two accuracies; show items without it apart",
        ),
        _each(_parametric_in_context),
    ),
    Sought(
        Defect(
            "context_answer_contains_parametric",
            "every text with the context's answer counts for both accuracies (containment)",
            "drop these items, or read answer_label, which takes the longer name",
        ),
        _each(_contains_parametric),
    ),
    Sought(
        Defect(
            "parametric_answer_contains_context",
            "every text with the memorised answer counts for both accuracies (containment)",
            "drop these items, or read answer_label, which takes the longer name",
        ),
        _each(_contains_context),
    ),
    Sought(
        Defect(
            "answer_absent",
            "the context doesn't say its answer: following it can't give it, and no token has the role context_answer",
            "correct the context or the answer, or name other spellings as context_aliases",
        ),
        _each(_absent),
    ),
    Sought(
        Defect(
            "answer_spelt_otherwise",
            "no token has the role context_answer: attention to the answer counts as attention to the rest",
            "spell the answer as its context does, or name that spelling as one of context_aliases",
        ),
        _each(_spelt_otherwise),
    ),
    Sought(
        Defect(
            "answer_in_question",
            "a text that repeats its question counts as an answer",
            "ask without naming the answer, or drop these items",
        ),
        _each(_in_question),
    ),
    Sought(
        Defect(
            "parenthetical",
            "few texts hold an answer with its brackets, so that accuracies are too low; the margin scores them too",
            "put what is in the brackets into the aliases",
        ),
        _each(_parenthetical),
    ),
    Sought(
        Defect(
            "shared_alias",
            "a text with this spelling counts for both answers",
            "take the spelling out of one of the two lists of aliases",
        ),
        _each(_shared_alias),
    ),
    Sought(
        Defect("duplicate_item", "it weighs twice in every mean", "keep one of each"),
        _same_item,
    ),
    Sought(
        Defect(
            "duplicate_question",
            "one fact weighs several times in every mean",
            "keep one of each, or read shares by cluster",
        ),
        _same_question,
    ),
    Sought(
        Defect(
            "clustered",
            "they aren't independent: intervals and tests resample clusters, so they are as wide as fewer items make "
            "them",
            "nothing where clusters are right; else state the column cluster",
            "ok",
        ),
        _clustered,
    ),
)
"""What is looked for in conflict items without a tokenizer."""
