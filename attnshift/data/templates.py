"""Prompt templates, and where the context, the question and the answer lie in what they render."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from attnshift.errors import AttnshiftError

Field = Literal["context", "question", "answer"]
Span = tuple[int, int]

_SHIPPED = Path(__file__).with_name("prompt_templates")
_MARK = "\ue000{}\ue001"  # private-use characters: no template filter touches them, no data holds them
_MARKED = re.compile("\ue000(context|question|answer)\ue001")


class PromptError(AttnshiftError):
    """One datapoint can't be turned into tokens whose roles are certain; it is left out, with the reason."""


@dataclass(frozen=True)
class Rendered:
    """A datapoint as text, with character spans into it."""

    text: str
    """prompt, answer and whatever the template puts behind the answer"""
    context: Span | None
    """None in the closed-book form"""
    question: Span
    answer: Span
    """with the spaces before it: a prompt that ends in a space is tokenised unlike any training text"""

    @property
    def prompt(self) -> str:
        """The text up to the answer."""
        return self.text[: self.answer[0]]


@dataclass(frozen=True, eq=False)
class Template:
    """One way to write (context, question, answer) as text; without a context it is the closed-book form.

    Where a field ends up is not searched for in the rendered text, where a short question may occur
    twice: the template is rendered once with marks in place of the fields, and every real rendering
    has to follow that layout.
    """

    name: str
    source: str
    """the Jinja text"""
    fill: Callable[[str, str, str], str]
    """(context, question, answer) to text"""
    adds_special_tokens: bool
    """whether the tokenizer still has to add its BOS; a chat template writes its own"""

    @cached_property
    def digest(self) -> str:
        """Twelve hex digits of the template's text."""
        return hashlib.blake2b(self.source.encode(), digest_size=6).hexdigest()

    def render(self, context: str, question: str, answer: str) -> Rendered:
        """Render one datapoint; raises PromptError where the template alters a field."""
        text = self.fill(context, question, answer)
        values = {"context": context, "question": question, "answer": answer}
        spans = _follow(text, self._open_book if context else self._closed_book, values)
        if spans is None:
            raise PromptError(
                f"the template {self.name!r} doesn't reproduce its fields for the question {question[:80]!r}",
                expected="context, question and answer in the text as they are, but for white space around them",
                remedy="a template without filters that rewrite the text",
            )
        start, end = spans["answer"]
        spaces = len(text[:start]) - len(text[:start].rstrip(" "))
        return Rendered(text, spans.get("context"), spans["question"], (start - spaces, end))

    def check(self) -> None:
        """Raise unless context, question and answer each appear once, the answer last, and closed book works."""
        _ = self._open_book, self._closed_book

    @cached_property
    def _open_book(self) -> list[str]:
        return self._layout(_MARK.format("context"))

    @cached_property
    def _closed_book(self) -> list[str]:
        return self._layout("")

    def _layout(self, context: str) -> list[str]:
        """Literal, field, literal, field, …, literal."""
        parts = _MARKED.split(self.fill(context, _MARK.format("question"), _MARK.format("answer")))
        found = parts[1::2]
        wanted = ["question", "answer"] + ["context"] * bool(context)
        for field in wanted:
            if found.count(field) != 1:
                how = "swallows" if field not in found else "repeats"
                raise AttnshiftError(
                    f"the template {self.name!r} {how} the {field}" + ("" if context else " in its closed-book form"),
                    expected=f"{{{{ {field} }}}} exactly once",
                    remedy="another --template: plain, alpaca, chat, or a Jinja file",
                )
        if found[-1] != "answer":
            raise AttnshiftError(
                f"the template {self.name!r} puts the {found[-1]} behind the answer",
                expected="the answer last: it is predicted from everything before it",
            )
        return parts


def load_template(name: str, tokenizer: Any) -> Template:
    """The template called ``plain``, ``alpaca``, ``chat`` (the tokenizer's own), or in the file ``name``.

    A file that doesn't mention ``{{ answer }}`` is a prompt: the answer follows after one space, or at
    once where the file ends in white space.
    """
    if name == "chat":
        template = _chat_template(tokenizer)
    elif (shipped := _SHIPPED / f"{name}.jinja").is_file() and re.fullmatch(r"\w+", name):
        template = _jinja_template(name, shipped.read_text(encoding="utf-8"))
    else:
        template = _jinja_template(name, _read(Path(name)))
    template.check()
    return template


def default_template(tokenizer: Any) -> str:
    """``chat`` where the tokenizer has a chat template, else ``plain``."""
    return "chat" if getattr(tokenizer, "chat_template", None) else "plain"


def _follow(text: str, layout: list[str], values: dict[str, str]) -> dict[str, Span] | None:
    """Walk through ``text`` along the layout; None where they part."""
    spans: dict[str, Span] = {}
    position = 0
    for literal, field in zip(layout[::2], [*layout[1::2], None], strict=True):
        if not text.startswith(literal, position):
            return None
        position += len(literal)
        if field is None:
            break
        value = next((v for v in (values[field], values[field].strip()) if text.startswith(v, position)), None)
        if value is None:
            return None
        spans[field] = (position, position + len(value))
        position += len(value)
    return spans if position == len(text) else None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise AttnshiftError(
            f"the template {str(path)!r} can't be read: {error}",
            expected="plain, alpaca, chat, or a Jinja file with {{ context }}, {{ question }} and {{ answer }}",
        ) from error


def _jinja_template(name: str, source: str) -> Template:
    from jinja2 import StrictUndefined, TemplateError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    if not re.search(r"\banswer\b", source):
        source = source.removesuffix("\n")
        source += "{{ answer }}" if source[-1:].isspace() else " {{ answer }}"
    try:
        compiled = environment.from_string(source)
    except TemplateError as error:
        raise AttnshiftError(f"the template {name!r} is not valid Jinja: {error}") from error

    def fill(context: str, question: str, answer: str) -> str:
        try:
            return compiled.render(context=context, question=question, answer=answer)
        except Exception as error:  # a template is somebody's program: whatever it raises is its fault
            raise AttnshiftError(
                f"the template {name!r} fails: {type(error).__name__}: {error}",
                expected="a Jinja text that uses context, question and answer",
            ) from error

    return Template(name, source, fill, adds_special_tokens=True)


def _chat_template(tokenizer: Any) -> Template:
    source = getattr(tokenizer, "chat_template", None)
    if not isinstance(source, str) or not source:
        raise AttnshiftError(
            "the tokenizer has no chat template",
            expected="a tokenizer with a chat template for --template chat",
            remedy="--template plain, --template alpaca, or a Jinja file",
        )

    def fill(context: str, question: str, answer: str) -> str:
        user = f"{context}\n\n{question}" if context else question
        chat = [{"role": "user", "content": user}, {"role": "assistant", "content": answer}]
        try:
            return str(tokenizer.apply_chat_template(chat, tokenize=False))
        except Exception as error:  # as above: the template is a program that came with the model
            raise AttnshiftError(
                f"the tokenizer's chat template fails on a user turn and an assistant turn: {error}",
                remedy="--template plain, --template alpaca, or a Jinja file",
            ) from error

    return Template("chat", source, fill, adds_special_tokens=False)
