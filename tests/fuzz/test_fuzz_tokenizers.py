"""Tokenizers made on the fly, of every kind: whatever they do to a text, roles are right or it is refused."""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from typing import Any

import numpy as np
from fuzzing import MORE, fuzz, result_or_error
from hypothesis import given
from hypothesis import strategies as st
from made_names import NAMES
from tiny import CHAT, data_texts
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from attnshift.data.inputs import encode, with_controls
from attnshift.data.items import Example, Item, normalise
from attnshift.data.prompts import Encoder, Tokens
from attnshift.data.roles import ANSWER, BOS, CONTEXT, CONTEXT_ANSWER, PARAMETRIC_ANSWER, TOKEN_ROLES
from attnshift.data.templates import load_template

IN_CONTEXT = [CONTEXT, CONTEXT_ANSWER, PARAMETRIC_ANSWER]
SPECIALS = ["<s>", "</s>", "<unk>", "<pad>"]
SPLIT = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
PRE = {
    "none": lambda: None,
    "whitespace": pre_tokenizers.Whitespace,
    "whitespace split": pre_tokenizers.WhitespaceSplit,
    "bytes": lambda: pre_tokenizers.ByteLevel(add_prefix_space=False),
    "bytes with a space first": lambda: pre_tokenizers.ByteLevel(add_prefix_space=True),
    "metaspace": pre_tokenizers.Metaspace,
    "metaspace whole": lambda: pre_tokenizers.Metaspace(prepend_scheme="first", split=False),
    "metaspace never": lambda: pre_tokenizers.Metaspace(prepend_scheme="never"),
    "bert": pre_tokenizers.BertPreTokenizer,
    "punctuation": lambda: pre_tokenizers.Sequence([pre_tokenizers.Punctuation(), pre_tokenizers.Digits(True)]),
    "scripts": pre_tokenizers.UnicodeScripts,
    "llama 3": lambda: pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT), "isolated"),
            pre_tokenizers.ByteLevel(False, use_regex=False),
        ]
    ),
}
NORMALIZERS = {
    "none": lambda: None,
    "nfc": normalizers.NFC,
    "nfkc": normalizers.NFKC,
    "nfd": normalizers.NFD,
    "lower": normalizers.Lowercase,
    "bert": normalizers.BertNormalizer,
    "strip": normalizers.Strip,
    "accents": lambda: normalizers.Sequence([normalizers.NFD(), normalizers.StripAccents()]),
    "spaces": lambda: normalizers.Replace(Regex(r"\s+"), " "),
    "prepend": lambda: normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]),
}
DECODERS = {
    "bytes": decoders.ByteLevel,
    "metaspace": decoders.Metaspace,
    "word piece": decoders.WordPiece,
    "bpe": decoders.BPEDecoder,
    "none": lambda: None,
}


def ends(before: bool, behind: bool) -> Any:
    words = [*(["<s>"] if before else []), "$A", *(["</s>"] if behind else [])]
    return processors.TemplateProcessing(single=words, pair=[*words, "$B"], special_tokens=[("<s>", 0), ("</s>", 1)])


PROCESSORS = {
    "none": lambda: None,
    "bos": lambda: ends(True, False),
    "eos": lambda: ends(False, True),
    "both": lambda: ends(True, True),
    "trimmed": lambda: processors.ByteLevel(trim_offsets=True),
    "trimmed and bos": lambda: processors.Sequence([processors.ByteLevel(trim_offsets=True), ends(True, False)]),
}


@lru_cache(None)
def trained(kind: str, pre: str) -> Tokenizer:
    """A model of a kind, trained on the data as it is cut up there; normalizers change the text it never saw."""
    makers = {
        "bpe": (lambda: models.BPE(unk_token="<unk>"), trainers.BpeTrainer),
        "bpe without unknown": (models.BPE, trainers.BpeTrainer),
        "bpe with bytes": (lambda: models.BPE(unk_token="<unk>", byte_fallback=True), trainers.BpeTrainer),
        "word piece": (lambda: models.WordPiece(unk_token="<unk>"), trainers.WordPieceTrainer),
        "unigram": (models.Unigram, trainers.UnigramTrainer),
        "words": (lambda: models.WordLevel(unk_token="<unk>"), trainers.WordLevelTrainer),
    }
    model, trainer = makers[kind]
    tokenizer = Tokenizer(model())
    if (cut := PRE[pre]()) is not None:
        tokenizer.pre_tokenizer = cut
    bytes_too = [f"<0x{i:02X}>" for i in range(256)] if kind == "bpe with bytes" else []
    options: dict[str, Any] = {"special_tokens": [*SPECIALS, *bytes_too], "show_progress": False}
    if "bytes" in pre or pre == "llama 3":
        options["initial_alphabet"] = pre_tokenizers.ByteLevel.alphabet()
    options["vocab_size"] = 200 + len(bytes_too) + len(options.get("initial_alphabet", ()))
    if kind == "unigram":
        options["unk_token"] = "<unk>"
    if kind == "words":
        options.pop("initial_alphabet", None)
    tokenizer.train_from_iterator(data_texts()[:6], trainer(**options))
    return tokenizer


class WithOffsets:
    """A tokenizer whose offsets are reported as some do: widths of zero, or of what was cut off."""

    def __init__(self, tokenizer: Any, kind: str) -> None:
        self._tokenizer, self._kind = tokenizer, kind

    def __call__(self, text: str, **options: Any) -> Any:
        encoding = self._tokenizer(text, **options)
        if "offset_mapping" in encoding:
            encoding["offset_mapping"] = [self._changed(text, *each) for each in encoding["offset_mapping"]]
        return encoding

    def _changed(self, text: str, start: int, end: int) -> tuple[int, int]:
        if self._kind == "starts":
            return start, start
        if self._kind == "spaces end":
            return (end, end) if not text[start:end].strip() else (start, end)
        return start, end

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tokenizer, name)


@st.composite
def tokenizers(draw) -> tuple[str, Any]:
    kind = draw(st.sampled_from(["bpe", "bpe without unknown", "bpe with bytes", "word piece", "unigram", "words"]))
    parts = {name: draw(st.sampled_from(list(kinds))) for name, kinds in PARTS.items()}
    tokenizer = Tokenizer.from_str(trained(kind, parts["pre"]).to_str())
    for name, attribute in (("normalizer", "normalizer"), ("decoder", "decoder"), ("processor", "post_processor")):
        if (made := PARTS[name][parts[name]]()) is not None:
            setattr(tokenizer, attribute, made)
    named = {f"{role}_token": word for role, word in zip(("bos", "eos", "unk", "pad"), SPECIALS, strict=True)}
    named = {role: word for role, word in named.items() if draw(st.booleans()) or role == "unk_token"}
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, **named)
    if draw(st.booleans()):
        fast.chat_template = CHAT
    offsets = draw(st.sampled_from(["right", "right", "starts", "spaces end"]))
    return f"{kind}, {parts}, {sorted(named)}, offsets {offsets}", WithOffsets(fast, offsets)


PARTS = {"pre": PRE, "normalizer": NORMALIZERS, "decoder": DECODERS, "processor": PROCESSORS}
MORE_TEXT = [
    "the capital of",
    ".",
    ",\n",
    "\n\n",
    "  ",
    "Question:",
    "In 2030",
    "don't",
    "\t",
    "</s>",
    "<unk>",
    "▁",
    "##a",
]
phrases = st.lists(st.sampled_from(NAMES + MORE_TEXT), min_size=1, max_size=6).map(" ".join)
texts = (phrases | st.text(min_size=1, max_size=16)).filter(str.strip)


def squashed(text: str) -> str:
    folded = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    return "".join(c for c in folded if not unicodedata.combining(c) and not c.isspace())


def check_prompt(encoder: Encoder, tokens: Tokens, context: str) -> None:
    """Every token has one role, the first is the sink, and the tokens of the context decode to it."""
    assert len(tokens.ids) == len(tokens.roles) > 0
    assert set(tokens.roles.tolist()) <= set(range(len(TOKEN_ROLES)))
    assert tokens.roles[0] == BOS
    assert not (tokens.roles[1:] == BOS).any()
    inside = np.flatnonzero(np.isin(tokens.roles, IN_CONTEXT))
    if not context.strip():
        assert not len(inside)
        return
    if not len(inside):  # all of it is in the first token
        inside = np.zeros(1, int)
    assert (np.diff(inside) == 1).all(), "the context is one stretch of tokens"
    unknown = encoder.tokenizer.unk_token_id
    around = tokens.ids[max(inside[0] - 1, 0) : inside[-1] + 1].tolist()  # it may begin inside the token before
    if unknown is None or unknown not in around:
        assert squashed(context) in squashed(encoder.tokenizer.decode(around, clean_up_tokenization_spaces=False))


@fuzz(120)
@given(tokenizers(), st.sampled_from(["plain", "alpaca", "chat"]), texts, texts, texts, texts)
def test_any_tokenizer_on_any_item(made, template, context, question, new, old):
    _, tokenizer = made
    chosen = result_or_error(load_template, template, tokenizer)
    if chosen is None or normalise(new) == normalise(old):
        return
    encoder = Encoder(tokenizer, chosen)
    item = Item(id="1", context=context, question=question, context_answer=new, parametric_answer=old)
    encoded = result_or_error(encoder.item, item)
    if encoded is None:
        return
    check_prompt(encoder, encoded.prompt, context)
    check_prompt(encoder, encoded.closed_book, "")
    assert min(len(encoded.context_answer_ids), len(encoded.parametric_answer_ids)) > 0
    assert not np.array_equal(encoded.context_answer_ids, encoded.parametric_answer_ids)


@fuzz(60)
@given(tokenizers(), st.sampled_from(["plain", "alpaca", "chat"]), st.just("") | texts, texts, texts, st.booleans())
def test_any_tokenizer_on_any_example(made, template, context, question, answer, eos):
    _, tokenizer = made
    chosen = result_or_error(load_template, template, tokenizer)
    if chosen is None:
        return
    encoder = Encoder(tokenizer, chosen, target_eos=eos)
    encoded = result_or_error(encoder.example, Example(id="1", context=context, question=question, answer=answer))
    if encoded is None:
        return
    for tokens, shown in ((encoded.sequence, context), (encoded.closed_book, "")):
        targets = np.flatnonzero(tokens.roles == ANSWER)
        assert len(targets)
        assert (targets == np.arange(targets[0], len(tokens.ids))).all(), "the target is the end"
        prompt = Tokens(tokens.ids[: targets[0]], tokens.roles[: targets[0]])
        check_prompt(encoder, prompt, shown)


@fuzz(20)
@given(tokenizers(), st.lists(st.tuples(texts, texts, texts, texts), min_size=1, max_size=3))
def test_any_tokenizer_on_whole_sets(made, rows):
    _, tokenizer = made
    template = result_or_error(load_template, "plain", tokenizer)
    items = [result_or_error(Item, id=f"{i}", context=c, question=q, context_answer=a, parametric_answer=b)
             for i, (c, q, a, b) in enumerate(rows)]  # fmt: skip
    examples = [Example(id=f"{i}", context=c, question=q, answer=a) for i, (c, q, a, _) in enumerate(rows)]
    encoder = Encoder(tokenizer, template, max_length=200, max_new_tokens=4)
    inputs = result_or_error(encode, encoder, [item for item in items if item is not None], examples)
    if inputs is not None:
        assert len(inputs.dropped) + len(inputs.items) + len(inputs.examples) == sum(
            i is not None for i in items
        ) + len(rows)
        controlled = result_or_error(with_controls, encoder, inputs)
        assert controlled is None or all(len(each.items) == len(inputs.items) for each in controlled.controls)
        inputs.digests()


def test_all_kinds_were_met():
    """The tests above are worth something only if tokenizers are mostly usable."""
    usable = 0
    for kind in ("bpe", "bpe without unknown", "bpe with bytes", "word piece", "unigram", "words"):
        for pre in PRE:
            tokenizer = PreTrainedTokenizerFast(tokenizer_object=trained(kind, pre), unk_token="<unk>")
            encoder = Encoder(tokenizer, load_template("plain", tokenizer))
            item = Item(
                id="1", context="Herat is here.", question="Where?", context_answer="Herat", parametric_answer="Oran"
            )
            usable += result_or_error(encoder.item, item) is not None
    assert usable > 30
    assert MORE >= 1
