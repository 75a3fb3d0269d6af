"""Defects that show once the data are tokens: they depend on a tokenizer, a template and the model's window."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from attnshift.data.items import Example, Item
from attnshift.data.prompts import Encoder, ItemTokens, TooLongError
from attnshift.data.templates import PromptError
from attnshift.diagnosis.finding import Datapoint, Defect, Finding, Hit, excerpt, found, skipped

_TOO_LONG: Final = Defect(
    "too_long",
    "a trace leaves them out: they don't fit the model's window, generated tokens included",
    "shorten their contexts, or --max-new-tokens",
)
_UNREADABLE: Final = Defect(
    "unreadable_prompt",
    "a trace leaves them out: their tokens can't be told with certainty",
    "attnshift trace --dry-run shows prompts by role; another --template or --tokenizer may read them",
)
_SPECIAL: Final = Defect(
    "special_token_in_text",
    "the tokenizer reads a piece of the data as a control token: a text may end or begin in its middle",
    "take it out of the data; a literal EOS at the end of an answer is written by the template or by training",
)
_UNKNOWN: Final = Defect(
    "unknown_token",
    "the tokenizer has no token for a piece of the text: different words look the same to the model",
    "data in the vocabulary's language and script, or leave these out",
)
_FIRST_TOKEN: Final = Defect(
    "shared_first_token",
    "the first token doesn't tell the answers apart; margin_first_token looks at the first one that differs, which "
    "only counts once the shared ones are written",
    "read margin, not first-token probabilities; or drop these items",
)
_NO_DIFFERENCE: Final = Defect(
    "answer_begins_other",
    "the tokens of one answer begin those of the other: there is no margin_first_token, and the shorter is favoured",
    "drop these items",
)
_LENGTHS: Final = Defect(
    "unequal_length",
    "margin sums over tokens and favours the answer that has fewer",
    "read margin_per_token and margin_first_token beside it",
    "ok",
)
_SPACE: Final = Defect(
    "doubtful_space",
    "the template writes another space before the answer than a model may (a double space makes a token of its own): "
    "log-probabilities are of other tokens than the model's",
    "a template with one space or a line break before {{ answer }}; attnshift trace scores what the models prefer",
)
_FOR_ITEMS: Final = (_FIRST_TOKEN, _NO_DIFFERENCE, _LENGTHS, _SPACE)
_LEFT_OUT: Final = (_TOO_LONG, _UNREADABLE)
_FOR_ALL: Final = (*_LEFT_OUT, _SPECIAL, _UNKNOWN)


def token_defects(kind: type[Datapoint]) -> tuple[Defect, ...]:
    """What is looked for in items or examples once they are tokens."""
    return (*_FOR_ALL, *(_FOR_ITEMS if kind is Item else ()))


def encoded_findings(rows: Sequence[Item] | Sequence[Example], encoder: Encoder) -> list[Finding]:
    """What is wrong with the tokens of items or examples."""
    hits: dict[str, list[Hit]] = {}
    read = 0
    for row in rows:
        try:
            told = _of_item(row, encoder) if isinstance(row, Item) else _of_example(row, encoder)
            read += 1
        except TooLongError as error:
            told = {_TOO_LONG.name: error.problem}
        except PromptError as error:
            told = {_UNREADABLE.name: error.problem}
        for name, seen in told.items():
            hits.setdefault(name, []).append(Hit(row.id, seen))
    defects = token_defects(Item if rows and isinstance(rows[0], Item) else Example)
    return [found(each, hits.get(each.name, []), len(rows) if each in _LEFT_OUT else read) for each in defects]


def unencoded_findings(kind: type[Datapoint], why: str) -> list[Finding]:
    """The same where there is no tokenizer."""
    return [skipped(each, why) for each in token_defects(kind)]


def _of_example(example: Example, encoder: Encoder) -> dict[str, str]:
    """Names of the defects that an example's tokens have, with what shows them."""
    texts = (example.context, example.question, example.answer)
    return _of_texts(texts, [encoder.example(example).sequence.ids], encoder.tokenizer)


def _of_item(item: Item, encoder: Encoder) -> dict[str, str]:
    """The same of an item's."""
    tokens, tokenizer = encoder.item(item), encoder.tokenizer
    texts = (item.context, item.question, item.context_answer, item.parametric_answer)
    hits = _of_texts(texts, [tokens.prompt.ids, tokens.context_answer_ids, tokens.parametric_answer_ids], tokenizer)
    return hits | _of_answers(tokens, tokenizer)


def _of_texts(texts: Sequence[str], ids: Sequence[np.ndarray], tokenizer: Any) -> dict[str, str]:
    hits = {}
    special = [(token, text) for token in tokenizer.all_special_tokens for text in texts if token in text]
    if special:
        hits[_SPECIAL.name] = f"{special[0][0]!r} in {excerpt(special[0][1])}"
    unknown = tokenizer.unk_token_id  # GPT-2's is its EOS
    if unknown not in (None, tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id):
        count = sum(int((each == unknown).sum()) for each in ids)
        if count:
            hits[_UNKNOWN.name] = (
                f"{count} times {tokenizer.unk_token!r}, in what begins {excerpt(texts[0] or texts[1])}"
            )
    return hits


def _of_answers(tokens: ItemTokens, tokenizer: Any) -> dict[str, str]:
    context, memory = tokens.context_answer_ids.tolist(), tokens.parametric_answer_ids.tolist()
    spelt = [tokenizer.convert_ids_to_tokens(ids) for ids in (context, memory)]
    told = f"{excerpt(str(spelt[0]))} and {excerpt(str(spelt[1]))}"
    shorter = min(len(context), len(memory))
    hits = {}
    if context[0] == memory[0]:
        hits[_FIRST_TOKEN.name] = told
    if context[:shorter] == memory[:shorter]:
        hits[_NO_DIFFERENCE.name] = told
    if len(context) != len(memory):
        hits[_LENGTHS.name] = f"{len(context)} and {len(memory)} tokens: {told}"
    if tokens.respelt is not None:
        other = tokenizer.convert_ids_to_tokens(tokens.respelt[0].tolist())
        hits[_SPACE.name] = f"the template gives {spelt[0]}, one space more or less {other}"
    return hits
