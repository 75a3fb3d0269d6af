"""Prompt templates, and where the context, the question and the answer lie in what they render."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from attnshift.data.limits import limited
from attnshift.errors import AttnshiftError

if TYPE_CHECKING:
    from jinja2 import Environment

Field = Literal["context", "question", "answer"]
Span = tuple[int, int]

_SHIPPED = Path(__file__).with_name("prompt_templates")
_MARKS: dict[Field, str] = {"context": "\ue000", "question": "\ue001", "answer": "\ue002"}
"""Private-use characters: no template filter touches them."""


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

    @property
    def stated(self) -> str:
        """What a trace or a run is said to be made with: the name, of a file without its folder, and the digest."""
        return f"{Path(self.name).name} ({self.digest})"

    def render(self, context: str, question: str, answer: str) -> Rendered:
        """Render one datapoint; a blank context is none. Raises PromptError where the template alters a field."""
        context = context if context.strip() else ""
        text = self.fill(context, question, answer)
        values: dict[Field, str] = {"context": context, "question": question, "answer": answer}
        spans = _follow(text, self._open_book if context else self._closed_book, values)
        if spans is None:
            raise PromptError(
                f"the template {self.name!r} doesn't reproduce its fields for the question {question[:80]!r}",
                expected="context, question and answer in the text as they are, but for white space around them",
                remedy="a template without filters that rewrite the text",
            )
        prompt_end = len(text[: spans["answer"][0]].rstrip(" "))
        before = {field: (min(start, prompt_end), min(end, prompt_end)) for field, (start, end) in spans.items()}
        return Rendered(text, before.get("context"), before["question"], (prompt_end, spans["answer"][1]))

    def check(self) -> None:
        """Raise unless every field appears once and unaltered, the answer last, with and without a context."""
        for context in ("some context", ""):
            self.render(context, "a question", "an answer")

    @cached_property
    def _open_book(self) -> _Layout:
        return self._layout(_MARKS["context"])

    @cached_property
    def _closed_book(self) -> _Layout:
        return self._layout("")

    def _layout(self, context: str) -> _Layout:
        parts = re.split(f"([{''.join(_MARKS.values())}])", self.fill(context, _MARKS["question"], _MARKS["answer"]))
        found = [field for mark in parts[1::2] for field in _MARKS if _MARKS[field] == mark]
        for field in _MARKS if context else ("question", "answer"):
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
        return _Layout(parts[::2], found)


@dataclass(frozen=True)
class _Layout:
    literals: list[str]
    """the text before each field, and that behind the last one"""
    fields: list[Field]


def load_template(name: str, tokenizer: Any) -> Template:
    """The template called ``plain``, ``alpaca``, ``chat`` (the tokenizer's own), or in the file ``name``.

    A file that doesn't mention ``{{ answer }}`` is a prompt: the answer follows after one space, or at
    once where the file ends in white space.
    """
    if name == "chat":
        template = _chat_template(tokenizer)
    elif name in {path.stem for path in _SHIPPED.glob("*.jinja")}:
        template = jinja_template(name, _read(_SHIPPED / f"{name}.jinja"))
    else:
        template = jinja_template(name, _read(Path(name)))
    template.check()
    return template


def default_template(tokenizer: Any) -> str:
    """``chat`` where the tokenizer has a chat template, else ``plain``."""
    return "chat" if getattr(tokenizer, "chat_template", None) else "plain"


def _follow(text: str, layout: _Layout, values: dict[Field, str]) -> dict[Field, Span] | None:
    """Where the fields lie in ``text``, maybe without the white space around them; None where it has another layout."""
    for spellings in product(*(_spellings(values[field]) for field in layout.fields)):
        built = ""
        spans: dict[Field, Span] = {}
        for literal, field, value in zip(layout.literals, layout.fields, spellings, strict=False):
            start = len(built) + len(literal)
            spans[field] = (start, start + len(value))
            built += literal + value
        if built + layout.literals[-1] == text:
            return spans
    return None


def _spellings(value: str) -> Iterable[str]:
    return dict.fromkeys((value, value.strip(), value.lstrip(), value.rstrip()))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise AttnshiftError(
            f"the template {str(path)!r} can't be read: {error}",
            expected="plain, alpaca, chat, or a Jinja file with {{ context }}, {{ question }} and {{ answer }}",
        ) from error


def jinja_template(name: str, source: str) -> Template:
    """The template of a Jinja text, in the immutable sandbox; raises AttnshiftError where it is none."""
    from jinja2.meta import find_undeclared_variables

    environment = _sandbox()
    try:
        with limited(name):  # Jinja computes constants while it compiles
            if "answer" not in find_undeclared_variables(environment.parse(source)):
                source = source.removesuffix("\n")
                source += "{{ answer }}" if source[-1:].isspace() else " {{ answer }}"
            fill = _Jinja(name, source)
    except AttnshiftError:
        raise
    except Exception as error:  # deep nesting ends in Python's own errors
        raise AttnshiftError(
            f"the template {name!r} is not valid Jinja: {error}",
            expected="a Jinja text with {{ context }}, {{ question }} and {{ answer }}",
        ) from error
    return Template(name, source, fill, adds_special_tokens=True)


class _Jinja:
    """Fills a Jinja text; another process gets the text and compiles it itself."""

    def __init__(self, name: str, source: str) -> None:
        self._made_of = (name, source)
        self._compiled = _sandbox().from_string(source)

    def __reduce__(self) -> tuple[type[_Jinja], tuple[str, str]]:
        return _Jinja, self._made_of

    def __call__(self, context: str, question: str, answer: str) -> str:
        try:
            with limited(self._made_of[0]):
                return str(self._compiled.render(context=context, question=question, answer=answer))
        except AttnshiftError:
            raise
        except Exception as error:  # a template is somebody's program: whatever it raises is its fault
            raise PromptError(
                f"the template {self._made_of[0]!r} fails: {type(error).__name__}: {error}",
                expected="a Jinja text that uses context, question and answer",
            ) from error


def _sandbox() -> Environment:
    from jinja2 import StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    return ImmutableSandboxedEnvironment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)


def _chat_template(tokenizer: Any) -> Template:
    source = getattr(tokenizer, "chat_template", None)
    if not isinstance(source, str) or not source:
        raise AttnshiftError(
            "the tokenizer has no chat template",
            expected="a tokenizer with a chat template for --template chat",
            remedy="--template plain, --template alpaca, or a Jinja file",
        )

    return Template("chat", source, _Chat(tokenizer), adds_special_tokens=False)


@dataclass(frozen=True, eq=False)
class _Chat:
    """Fills the chat template that a tokenizer brings."""

    tokenizer: Any

    def __call__(self, context: str, question: str, answer: str) -> str:
        return chat_text(self.tokenizer, [user_turn(context, question), {"role": "assistant", "content": answer}])


def user_turn(context: str, question: str) -> dict[str, str]:
    """What a user says to a chat model: the context, if there is one, and the question."""
    return {"role": "user", "content": f"{context}\n\n{question}" if context else question}


def chat_text(tokenizer: Any, turns: Sequence[Mapping[str, str]], *, ask: bool = False) -> str:
    """A conversation as the tokenizer's chat template writes it; with ``ask`` it ends by asking for an answer.

    Raises PromptError where the template fails.
    """
    try:
        with limited("chat"):
            return str(tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=ask))
    except AttnshiftError:
        raise
    except Exception as error:  # as above: the template is a program that came with the model
        raise PromptError(
            f"the tokenizer's chat template fails on {' and '.join(turn['role'] for turn in turns)} turns: {error}",
            remedy="--template plain, --template alpaca, or a Jinja file",
        ) from error
