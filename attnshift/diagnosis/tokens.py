"""A run's tokenizer and template: BOS, EOS, pad, offsets, and where the prompt ends."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from attnshift.data.items import Example
from attnshift.data.prompts import Encoder
from attnshift.data.templates import PromptError, chat_text, default_template, user_turn
from attnshift.diagnosis.check import Check, failed
from attnshift.errors import AttnshiftError

PROBES = (
    Example(id="probe", context="The café moved to Graz in 2031.", question="Where is the café?", answer="Graz"),
    Example(id="probe", context="a", question="b", answer="a"),
)
"""What is rendered where the data have nothing that the tokenizer can read."""


@dataclass(frozen=True)
class Subject:
    """A run's tokenizer as its models read through it."""

    encoder: Encoder
    sample: Example
    """a datapoint that can be encoded, from the data where there are any"""
    config: Mapping[str, Any]
    """the model's config.json, and over it its generation_config.json"""
    named: str
    """who names the template; empty where nobody does"""

    @property
    def tokenizer(self) -> Any:
        """The tokenizer."""
        return self.encoder.tokenizer

    @property
    def text(self) -> str:
        """The sample as the template renders it, answer and end included."""
        return self.encoder.template.render(self.sample.context, self.sample.question, self.sample.answer).text

    @property
    def prompt(self) -> str:
        """The sample's text up to its answer."""
        return self.encoder.template.render(self.sample.context, self.sample.question, self.sample.answer).prompt

    @property
    def ids(self) -> list[int]:
        """The sample's tokens, target and end included."""
        return list(map(int, self.encoder.example(self.sample).sequence.ids))


def subject_of(encoder: Encoder, data: Sequence[Example], config: Mapping[str, Any], named: str) -> Subject:
    """The tokenizer with the first datapoint that it can encode; raises PromptError where it can encode none."""
    first: PromptError | None = None
    for sample in (*data[:20], *PROBES):
        try:
            encoder.example(sample)
        except PromptError as error:
            first = first or error
        else:
            return Subject(encoder, sample, config, named)
    assert first is not None  # noqa: S101  (there are probes)
    raise first


def _template(subject: Subject) -> Check:
    template, tail = subject.encoder.template, subject.prompt[-60:]
    seen = f"{template.stated}; prompts end in {tail!r}"
    if subject.named:
        return Check("template", "ok", f"{seen}; {subject.named} names it")
    if template.name == default_template(subject.tokenizer) == "chat":
        return Check("template", "ok", f"{seen}; the tokenizer's own, as nothing names another")
    return Check("template", "warn", f"{seen}; nothing names one", "name what training used with --template")


def _generation_prompt(subject: Subject) -> Check:
    """Whether what comes before the answer is what the chat template puts there when it asks for one."""
    name, tokenizer = "generation_prompt", subject.tokenizer
    if subject.encoder.template.name != "chat":
        return Check(name, "skipped", f"the template {subject.encoder.template.stated} is no chat template")
    user = [user_turn(subject.sample.context, subject.sample.question)]
    asked, bare = (chat_text(tokenizer, user, ask=ask) for ask in (True, False))
    begun = subject.text[: len(asked)]
    if asked == bare:
        seen = f"the chat template has none; measured is behind {subject.prompt[-40:]!r}"
        return Check(name, "warn", seen, "check that training put the same before its answers")
    if begun != asked:
        seen = f"it asks with {asked[len(bare) :]!r}, but before an answer it writes {subject.prompt[-40:]!r}"
        return Check(name, "warn", seen, "a Jinja file with --template that writes what training wrote")
    return Check(name, "ok", f"{asked[len(bare) :]!r}, the same as before an answer")


def _bos(subject: Subject) -> Check:
    tokenizer, bos = subject.tokenizer, subject.tokenizer.bos_token_id
    if bos is None:
        return Check("bos", "ok", f"the tokenizer has no BOS; the first token is {_token(tokenizer, subject.ids[0])}")
    count = _leading(subject.ids, bos)
    usual = _leading(tokenizer(subject.text)["input_ids"], bos)
    told = f"prompts begin with {_token(tokenizer, bos)}"
    if count > 1:
        remedy = "take the BOS out of the template: the tokenizer adds its own"
        return Check("bos", "fail", f"{told} {count} times: template and tokenizer both write it", remedy)
    if count and usual > 1:
        seen = f"{told} once; but the tokenizer adds another to a rendered chat, so that training may have seen two"
        return Check("bos", "warn", seen, "check that training tokenised rendered chats with add_special_tokens=False")
    if count:
        return Check("bos", "ok", f"{told} once")
    if usual:
        seen = f"prompts begin without {_token(tokenizer, bos)}, which the tokenizer puts before a text"
        return Check(
            "bos", "warn", seen, "check whether training saw it: write {{ bos_token }} into the template if so"
        )
    first = _token(tokenizer, subject.ids[0])
    return Check("bos", "ok", f"neither tokenizer nor template writes {_token(tokenizer, bos)}; the first is {first}")


def _leading(ids: Sequence[int], token: int) -> int:
    return next((i for i, each in enumerate(ids) if each != token), len(ids))


def _eos(subject: Subject) -> Check:
    tokenizer, eos, stated = subject.tokenizer, subject.tokenizer.eos_token_id, _listed(subject.config, "eos_token_id")
    if eos is None and not subject.encoder.target_eos:
        return Check("eos", "ok", "the tokenizer has none, and targets don't end with one, as the manifest says")
    if eos is None:
        seen = "the tokenizer has none: targets don't end, and generations run on"
        return Check("eos", "warn", seen, "set eos_token in the tokenizer's configuration, as training had it")
    told = _token(tokenizer, eos)
    written = tokenizer(str(tokenizer.eos_token), add_special_tokens=False)["input_ids"]
    if list(written) != [eos]:
        seen = (
            f"{told}, but its text is read as {len(written)} tokens: where training wrote it as text, it learnt those"
        )
        return Check("eos", "warn", seen, "add it to the tokenizer as a special token")
    if stated and eos not in stated:
        seen = f"{told}, but generation ends at {_tokens(tokenizer, stated)} (generation_config.json or config.json)"
        return Check("eos", "warn", seen, "make eos_token_id of the model's configuration that of the tokenizer")
    return Check("eos", "ok", told)


def _target_end(subject: Subject) -> Check:
    """What training targets end with, as losses are taken."""
    encoder, tokenizer = subject.encoder, subject.tokenizer
    if not encoder.target_eos:
        return Check("target_end", "ok", "targets end with their answer; EOS isn't scored, as the manifest says")
    rendered = encoder.template.render(subject.sample.context, subject.sample.question, subject.sample.answer)
    behind = tokenizer(rendered.text[rendered.answer[1] :].rstrip(), add_special_tokens=False)["input_ids"]
    ends = [e for e in (*_listed(subject.config, "eos_token_id"), tokenizer.eos_token_id) if e is not None]
    last = subject.ids[-1]
    told = f"targets end with {_tokens(tokenizer, behind or [last])}"
    if ends and not {*behind, last} & {*ends}:
        seen = f"{told}, but generation ends at {_tokens(tokenizer, sorted({*ends}))}"
        return Check("target_end", "warn", seen, "a template that closes the answer as training did")
    return Check("target_end", "ok", told)


def _pad(subject: Subject) -> Check:
    tokenizer = subject.tokenizer
    pad, eos, rows = tokenizer.pad_token_id, tokenizer.eos_token_id, subject.config.get("vocab_size")
    if pad is None:
        return Check("pad", "ok", "none; attnshift pads behind the last token, where nothing looks at it")
    told = _token(tokenizer, pad)
    if isinstance(rows, int) and pad >= rows:
        seen = f"{told} is beyond the model's {rows} embeddings"
        return Check("pad", "warn", seen, "trainers fail on it: resize the embeddings, or pad with another token")
    if pad == eos:
        seen = f"{told} is EOS too: a collator that masks padding hides EOS from the loss, and generations run on"
        return Check("pad", "warn", seen, "check that training's labels kept the EOS at the end")
    return Check("pad", "ok", told)


def _vocabulary(subject: Subject) -> Check:
    tokens, rows = len(subject.tokenizer), subject.config.get("vocab_size")
    seen = f"{tokens} tokens, {rows} embeddings"
    if not isinstance(rows, int):
        return Check("vocabulary", "skipped", f"{tokens} tokens; no config.json says how many embeddings there are")
    if tokens > rows:
        remedy = "the tokenizer that the model was trained with, by --tokenizer DIR"
        return Check("vocabulary", "fail", f"{seen}: some texts can't be fed to this model", remedy)
    return Check("vocabulary", "ok", seen)


def _offsets(subject: Subject) -> Check:
    """Whether tokens can be placed in the text."""
    encoding = subject.tokenizer(subject.prompt, add_special_tokens=False, return_offsets_mapping=True)
    spans = encoding["offset_mapping"]
    empty = sum(start == end for start, end in spans)
    if empty:
        seen = f"{empty} of {len(spans)} tokens have none of their own: they reach to the next token's, and are checked"
        return Check("offsets", "ok", seen)
    return Check("offsets", "ok", f"all {len(spans)} tokens of a prompt have their place in the text")


def _listed(config: Mapping[str, Any], key: str) -> list[int]:
    value = config.get(key)
    return [each for each in (value if isinstance(value, list) else [value]) if isinstance(each, int)]


def _tokens(tokenizer: Any, ids: Sequence[int]) -> str:
    return " ".join(_token(tokenizer, each) for each in ids)


def _token(tokenizer: Any, number: int) -> str:
    return f"{tokenizer.convert_ids_to_tokens(int(number))!r} ({number})"


TOKEN_CHECKS: Final[dict[str, Callable[[Subject], Check]]] = {
    "template": _template,
    "generation_prompt": _generation_prompt,
    "bos": _bos,
    "eos": _eos,
    "target_end": _target_end,
    "pad": _pad,
    "vocabulary": _vocabulary,
    "offsets": _offsets,
}
"""Every check of tokenizer and template, by name."""


def token_checks(subject: Subject) -> list[Check]:
    """What they come to."""
    found = []
    for name, check in TOKEN_CHECKS.items():
        try:
            found.append(check(subject))
        except AttnshiftError as error:
            found.append(failed(name, error))
    return found
