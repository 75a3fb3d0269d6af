"""Text to tokens: one tokenisation of the whole rendered text, a role for every token, checked spans."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any

import numpy as np
from jaxtyping import Int8, Int32

from attnshift.data.items import Example, Item
from attnshift.data.roles import ANSWER, BOS, CONTEXT, CONTEXT_ANSWER, PARAMETRIC_ANSWER, character_roles, token_roles
from attnshift.data.templates import PromptError, Rendered, Span, Template
from attnshift.errors import AttnshiftError


class TooLongError(PromptError):
    """A datapoint has more tokens than the model's window."""


@dataclass(frozen=True)
class Tokens:
    """A token sequence with the role of every token."""

    ids: Int32[np.ndarray, "position"]
    roles: Int8[np.ndarray, "position"]

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class ItemTokens:
    """A conflict item as the model reads it."""

    prompt: Tokens
    closed_book: Tokens
    context_answer_ids: Int32[np.ndarray, "answer_position"]
    parametric_answer_ids: Int32[np.ndarray, "answer_position"]
    respelt: tuple[Int32[np.ndarray, "answer_position"], Int32[np.ndarray, "answer_position"]] | None = None
    """both answers with one space before them instead of none or several, or none instead of one, where it is doubtful
    that a model would write them as the template does: a token of nothing but space comes first, or no space at all"""


@dataclass(frozen=True)
class ExampleTokens:
    """An IFT example as training saw it; the target tokens have the role ``answer``."""

    sequence: Tokens
    closed_book: Tokens


@dataclass(frozen=True)
class Encoder:
    """Turns items and examples into tokens by one template and one tokenizer."""

    tokenizer: Any
    template: Template
    target_eos: bool = True
    """whether a target ends with EOS (or the template's end of turn), as in training"""
    max_length: int | None = None
    """the model's window in tokens"""
    max_new_tokens: int = 0
    """tokens that generation needs behind an item's prompt"""

    def item(self, item: Item) -> ItemTokens:
        """Encode a conflict item; raises PromptError."""
        answers = (item.context_answer, item.parametric_answer)
        searched = (item.context_answer, *item.context_aliases), (item.parametric_answer, *item.parametric_aliases)
        prompts, ids, respelt = [], [], []
        for context in (item.context, ""):
            rendered = [self.template.render(context, item.question, answer) for answer in answers]
            if rendered[0].prompt != rendered[1].prompt:
                raise PromptError(f"the template {self.template.name!r} writes another prompt for another answer")
            prompts.append(self._prompt(rendered[0], *searched))
            ids.append([self._continuation(prompts[-1], each, each.answer[1]) for each in rendered])
            respelt.append(self._respelt(prompts[-1], rendered, ids[-1]))
        for answer, with_context, without in zip(answers, *ids, strict=True):
            if not np.array_equal(with_context, without):
                raise PromptError(f"the answer {answer!r} is tokenised differently with and without the context")
        if np.array_equal(ids[0][0], ids[0][1]):
            raise PromptError(f"the answers {answers[0]!r} and {answers[1]!r} are the same tokens")
        self._check_length(len(prompts[0]) + max(*map(len, ids[0]), self.max_new_tokens))
        other, closed_book = respelt
        if other is None or closed_book is None or not all(map(np.array_equal, other, closed_book)):
            other = None
        return ItemTokens(prompts[0], prompts[1], ids[0][0], ids[0][1], other)

    def example(self, example: Example) -> ExampleTokens:
        """Encode an IFT example, target included; raises PromptError."""
        open_book = self._with_target(self.template.render(example.context, example.question, example.answer), example)
        if not example.context.strip():
            return ExampleTokens(open_book, open_book)
        closed_book = self._with_target(self.template.render("", example.question, example.answer), example)
        if not np.array_equal(*(t.ids[t.roles == ANSWER] for t in (open_book, closed_book))):
            raise PromptError(f"the answer {example.answer[:80]!r} is tokenised differently without the context")
        return ExampleTokens(open_book, closed_book)

    def _with_target(self, rendered: Rendered, example: Example) -> Tokens:
        end = len(rendered.text.rstrip()) if self.target_eos else rendered.answer[1]
        prompt = self._prompt(rendered, (example.answer,), ())
        target = self._continuation(prompt, rendered, max(end, rendered.answer[1]))
        writes_its_end = end > rendered.answer[1]  # a chat template closes the turn itself
        if self.target_eos and not writes_its_end and self.tokenizer.eos_token_id is not None:
            target = np.append(target, np.int32(self.tokenizer.eos_token_id))
        self._check_length(len(prompt) + len(target))
        return Tokens(
            np.concatenate([prompt.ids, target]),
            np.concatenate([prompt.roles, np.full(len(target), ANSWER, np.int8)]),
        )

    def _prompt(
        self, rendered: Rendered, context_answers: tuple[str, ...], parametric_answers: tuple[str, ...]
    ) -> Tokens:
        """The tokens of the text up to the answer, checked against the context."""
        ids, offsets = self._tokenise(rendered.prompt)
        roles_of_text = character_roles(rendered, context_answers, parametric_answers)
        roles = token_roles(rendered.prompt, offsets, roles_of_text[: len(rendered.prompt)])
        self._check_context(rendered, ids, offsets, roles)
        roles[0] = BOS
        return Tokens(ids, roles)

    def _continuation(self, prompt: Tokens, rendered: Rendered, end: int) -> Int32[np.ndarray, "answer_position"]:
        """The tokens of the text from the prompt's end to ``end``, by tokenising both together."""
        whole_ids, _ = self._tokenise(rendered.text[:end])
        if len(whole_ids) <= len(prompt) or not np.array_equal(whole_ids[: len(prompt)], prompt.ids):
            raise PromptError(
                f"the answer {rendered.text[slice(*rendered.answer)][:80]!r} changes the tokens of its prompt",
                remedy="a template that ends in a line break or a whole word before {{ answer }}",
            )
        return whole_ids[len(prompt) :]

    def _respelt(
        self, prompt: Tokens, rendered: Sequence[Rendered], ids: Sequence[np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray] | None:
        """The answers with another space before them, where theirs is doubtful and the prompt's tokens stay."""
        spelt = [each.text[slice(*each.answer)] for each in rendered]
        spaces = len(spelt[0]) - len(spelt[0].lstrip(" "))
        phantom = any(len(each) > 1 and not self.tokenizer.decode(each[:1].tolist()).strip() for each in ids)
        ends_open = rendered[0].prompt[-1:].isspace() or int(prompt.ids[-1]) in self.tokenizer.all_special_ids
        if not phantom and (spaces or ends_open):
            return None
        before = rendered[0].prompt + ("" if spaces == 1 else " ")
        wholes = [self._tokenise(before + each.lstrip(" "))[0] for each in spelt]
        if any(len(whole) <= len(prompt) or (whole[: len(prompt)] != prompt.ids).any() for whole in wholes):
            return None
        other = wholes[0][len(prompt) :], wholes[1][len(prompt) :]
        return None if all(map(np.array_equal, other, ids)) else other

    def _tokenise(self, text: str) -> tuple[Int32[np.ndarray, "position"], list[Span]]:
        try:
            encoding = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        except Exception as error:  # half a surrogate pair, a character outside a vocabulary without an unknown token
            raise PromptError(f"the tokenizer fails on {text[:80]!r}: {str(error).partition(chr(10))[0]}") from error
        prefix = self.special_prefix
        ids = np.array([*prefix, *encoding["input_ids"]], np.int32)
        if not len(ids):
            raise PromptError(f"the tokenizer makes no token of {text[:80]!r}")
        return ids, [(0, 0)] * len(prefix) + _repaired(encoding["offset_mapping"], len(text))

    @cached_property
    def special_prefix(self) -> list[int]:
        """What the tokenizer puts before every text (BOS, say). What it puts behind is the target's affair."""
        if not self.template.adds_special_tokens:
            return []
        word = self._some_word()
        with_special, without = (self.tokenizer(word, add_special_tokens=s)["input_ids"] for s in (True, False))
        for start in range(len(with_special) - len(without) + 1):
            if with_special[start : start + len(without)] == without:
                return list(with_special[:start])
        raise AttnshiftError("the tokenizer's special tokens change how text is tokenised", expected="a BOS at most")

    def _some_word(self) -> str:
        """A text that the tokenizer knows, for sure."""
        try:
            self.tokenizer("a", add_special_tokens=False)
            return "a"
        except Exception:  # whole words alone, and none of them unknown
            special = set(self.tokenizer.all_special_ids)
            return str(self.tokenizer.decode([min(set(self.tokenizer.get_vocab().values()) - special)]))

    def _check_context(self, rendered: Rendered, ids: np.ndarray, offsets: list[Span], roles: np.ndarray) -> None:
        """The tokens that touch the context must decode to it and, at the edges, to a bit of template."""
        if rendered.context is None:
            return
        start, end = rendered.context
        touching = [i for i, (a, b) in enumerate(offsets) if a < end and b > start and b > a]
        context = rendered.text[start:end]
        if not touching or not np.isin(roles[touching], (CONTEXT, CONTEXT_ANSWER, PARAMETRIC_ANSWER)).any():
            raise PromptError(f"no token belongs to the context {context[:80]!r}")
        ids_of_context = ids[touching[0] : touching[-1] + 1]
        if self.tokenizer.unk_token_id is not None and self.tokenizer.unk_token_id in ids_of_context:
            positions = sorted({c for i in touching for c in range(*offsets[i])})
            covered = _squash("".join(rendered.text[c] for c in positions))
        else:
            covered = _squash(self.tokenizer.decode(ids_of_context.tolist(), clean_up_tokenization_spaces=False))
        if _squash(context) not in covered:
            raise PromptError(
                f"the tokens of the context decode to {covered[:80]!r}",
                expected=f"{_squash(context)[:80]!r}",
                remedy="a tokenizer whose offsets are right (tokenizer.json of the checkpoint)",
            )

    def _check_length(self, length: int) -> None:
        if self.max_length is not None and length > self.max_length:
            raise TooLongError(f"{length} tokens are more than the model's window of {self.max_length}")


def _repaired(offsets: Sequence[Span], length: int) -> list[Span]:
    """Widen zero-width offsets to the text that no other token covers.

    Llama 3 gives a token's start alone: it reaches to the next one's start. GPT-NeoX gives the end of a
    token of spaces alone: it begins where the one before ended.
    """
    repaired: list[Span] = []
    reached = 0
    offsets = [(min(start, length), min(end, length)) for start, end in offsets]
    for i, (start, end) in enumerate(offsets):
        if start == end and reached < start:
            start = reached
        elif start == end:  # several tokens of one character share their start
            end = next((later for later, _ in islice(offsets, i + 1, None) if later > start), length)
        repaired.append((start, end))
        reached = max(reached, end)
    return repaired


def _squash(text: str) -> str:
    """Without case, accents and white space: what lower-casing or normalising tokenizers keep of a text."""
    # Both ways round: the letters of "℡" are upper case only once it is decomposed.
    decomposed = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    return re.sub(r"\s+", "", "".join(c for c in decomposed if not unicodedata.combining(c)))
