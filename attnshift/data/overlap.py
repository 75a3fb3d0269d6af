"""Overlap between training and evaluation: examples that name what the conflict items are about."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, NamedTuple, get_args

from attnshift.data.datafile import write_data
from attnshift.data.items import Example, Item
from attnshift.data.mentions import NameIndex, Word, fold, words
from attnshift.data.wordlists import FUNCTION_WORDS, PARTICLES
from attnshift.errors import AttnshiftError

Source = Literal["question", "context_answer", "parametric_answer"]
SOURCES: tuple[Source, ...] = get_args(Source)
"""Where an item's names come from: the entities of its question, and both of its answers with their aliases."""


@dataclass(frozen=True)
class Mention:
    """A name of the evaluation that an example mentions."""

    name: str
    """as the item spells it"""
    source: Source
    """what the name is to its items"""
    items: tuple[str, ...]
    """ids of the items that have the name from there"""
    found: str
    """as the example spells it"""


@dataclass(frozen=True)
class Overlapping:
    """An example that was dropped, and what it mentions."""

    id: str
    mentions: tuple[Mention, ...]

    @property
    def reason(self) -> str:
        """One line for people."""
        first = self.mentions[0]
        more = f" and {len(self.mentions) - 1} more names" if len(self.mentions) > 1 else ""
        others = f" and {len(first.items) - 1} more items" if len(first.items) > 1 else ""
        source = first.source.replace("_", " ")
        return f"names {first.found!r}{more} ({source} of {first.items[0]}{others})"


class Overlap(NamedTuple):
    """The examples that stay, and those that don't."""

    kept: tuple[Example, ...]
    dropped: tuple[Overlapping, ...]


def remove_overlap(
    examples: Sequence[Example],
    items: Sequence[Item],
    sources: Sequence[str] = SOURCES,
    texts: Sequence[str] | None = None,
) -> Overlap:
    """Drop the examples that name an entity of the evaluation.

    A mention is made of whole words, in any case and with or without accents; possessives and names that are
    hyphenated or broken over lines count, a part of a longer word doesn't.

    Parameters
    ----------
    examples
        Training examples; their context, question and answer are searched.
    items
        The evaluation's conflict items.
    sources
        Which of an item's names count: ``question`` (the capitalised names in it, see `entities`),
        ``context_answer`` and ``parametric_answer``, each with its aliases.
    texts
        One per example, to be searched instead: where a row says more than its example, as further turns do.

    Returns
    -------
    The examples that name none of them, in their order, and the others with every name that they mention.

    Raises
    ------
    AttnshiftError
        A source isn't known.
    """
    index = NameIndex(_names(items, sources))
    kept: list[Example] = []
    dropped: list[Overlapping] = []
    for number, example in enumerate(examples):
        text = f"{example.context}\n\n{example.question}\n\n{example.answer}" if texts is None else texts[number]
        found: dict[tuple[str, Source], Mention] = {}
        for (name, source, ids), (start, end) in index.find(text):
            found.setdefault((fold(name), source), Mention(name, source, ids, text[start:end]))
        if found:
            dropped.append(Overlapping(example.id, tuple(found.values())))
        else:
            kept.append(example)
    return Overlap(tuple(kept), tuple(dropped))


def write_dropped(out: Path, dropped: Sequence[Overlapping]) -> Path:
    """Write what was dropped beside the file that it was dropped from: a JSON line per example, with every name.

    Raises AttnshiftError where it can't be written.
    """
    path = out.with_name(f"{out.stem}.dropped.jsonl")
    rows = [{"id": each.id, "reason": each.reason, "mentions": [asdict(m) for m in each.mentions]} for each in dropped]
    return write_data(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


_Named = tuple[str, Source, tuple[str, ...]]


def _names(items: Sequence[Item], sources: Sequence[str]) -> Iterator[tuple[str, _Named]]:
    """Every name once per source, with the items that have it."""
    for source in sources:
        if source not in SOURCES:
            raise AttnshiftError(f"items have no names from {source!r}", expected=f"some of {', '.join(SOURCES)}")
    ordinary = lower_case_words([text for item in items for text in (item.context, item.question)])
    owners: dict[tuple[str, Source], tuple[str, dict[str, None]]] = {}
    for item in items:
        named: dict[Source, Sequence[str]] = {
            "question": entities(item.question, ordinary),
            "context_answer": (item.context_answer, *item.context_aliases),
            "parametric_answer": (item.parametric_answer, *item.parametric_aliases),
        }
        for source in SOURCES:
            for name in named[source] if source in sources else ():
                owners.setdefault((fold(name), source), (name, {}))[1][item.id] = None
    for (_, source), (name, ids) in owners.items():
        yield name, (name, source, tuple(ids))


def entities(text: str, ordinary: frozenset[str] = frozenset()) -> tuple[str, ...]:
    """The names in a question: runs of capitalised words, with the small words inside them.

    The first word of a sentence is capitalised anyhow: it counts unless it is a function word or among
    ``ordinary``, words that occur in lower case elsewhere. Single letters don't count.
    """
    found: list[str] = []
    for run in _runs(text, words(text)):
        first = run[0]
        at_start = _begins_sentence(text, first.start)
        if first.folded in FUNCTION_WORDS or (at_start and first.folded in ordinary):
            run = _trimmed(run[1:])
        if run and (len(run) > 1 or len(run[0].folded) > 1):
            found.append(text[run[0].start : run[-1].end])
    return tuple(dict.fromkeys(found))


def lower_case_words(texts: Sequence[str]) -> frozenset[str]:
    """The folded words that occur in lower case in one of the texts."""
    return frozenset(w.folded for text in texts for w in words(text) if text[w.start].islower())


def _runs(text: str, tokens: Sequence[Word]) -> Iterator[list[Word]]:
    run: list[Word] = []
    for word in tokens:
        joined = bool(run) and re.fullmatch(r"[ \u00a0\-‐’'.]{1,2}", text[run[-1].end : word.start]) is not None
        capital = text[word.start].isupper()
        small = word.folded in PARTICLES or text[word.start].isdecimal()
        if capital and not joined:
            if kept := _trimmed(run):
                yield kept
            run = [word]
        elif run and joined and (capital or small):
            run.append(word)
        else:
            if kept := _trimmed(run):
                yield kept
            run = []
    if kept := _trimmed(run):
        yield kept


def _trimmed(run: list[Word]) -> list[Word]:
    """A run without the small words at its end, and without those that its own first word left at its start."""
    while run and run[-1].folded in PARTICLES:
        run = run[:-1]
    while run and run[0].folded in PARTICLES:
        run = run[1:]
    return run


def _begins_sentence(text: str, start: int) -> bool:
    before = text[:start].rstrip(" \t\"'“”‘’(«¿¡")
    return not before or before[-1] in ".!?:\n…"
