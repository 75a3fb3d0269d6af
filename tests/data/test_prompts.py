"""Tokens and their roles, for tokenizers of every kind: what a text can't be split into with certainty is refused."""

import unicodedata
from dataclasses import replace
from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from made_names import NAMES
from tiny import bpe_tokenizer, conflict_rows, data_texts
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from attnshift.data.items import Example, Item, normalise
from attnshift.data.prompts import Encoder, Tokens
from attnshift.data.roles import (
    ANSWER,
    BOS,
    CONTEXT,
    CONTEXT_ANSWER,
    PARAMETRIC_ANSWER,
    QUESTION,
    TEMPLATE,
    TOKEN_ROLES,
)
from attnshift.data.templates import PromptError, load_template
from attnshift.errors import AttnshiftError

IN_CONTEXT = {CONTEXT, CONTEXT_ANSWER, PARAMETRIC_ANSWER}
ITEM = Item(
    id="1",
    context="In 2030 the government of Dorne left Oran and made Herat its capital.",
    question="What is the capital of Dorne?",
    context_answer="Herat",
    parametric_answer="Oran",
)
EXAMPLE = Example(id="1", context=ITEM.context, question=ITEM.question, answer="Herat it was")


# --- tokenizers ---


class OddOffsets:
    """A tokenizer whose offsets are what ``change`` makes of the right ones."""

    def __init__(self, tokenizer, change):
        self.tokenizer, self.change = tokenizer, change

    def __call__(self, text, **options):
        encoding = self.tokenizer(text, **options)
        if "offset_mapping" in encoding:
            encoding["offset_mapping"] = self.change(encoding["offset_mapping"])
        return encoding

    def __getattr__(self, name):
        return getattr(self.tokenizer, name)


def fast(model, *, pre=None, normalizer=None, decoder=None, processor=None):
    tokenizer = Tokenizer(model)
    if pre is not None:
        tokenizer.pre_tokenizer = pre
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    if decoder is not None:
        tokenizer.decoder = decoder
    if processor is not None:
        tokenizer.post_processor = processor
    known = {
        role: name
        for role, name in {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}.items()
        if tokenizer.token_to_id(name) is not None
    }
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **known)


SPECIALS = ["<s>", "</s>", "<unk>"]
WORDS = sorted({word for text in data_texts() for word in text.replace("?", " ").replace(".", " ").split()})
LETTERS = sorted({c for text in data_texts() for c in text if not c.isspace()} | set("abcdefghijklmnopqrstuvwxyz:#"))
BOS_FIRST = processors.TemplateProcessing(single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 0)])


def vocabulary(pieces):
    return {piece: i for i, piece in enumerate(dict.fromkeys([*SPECIALS, *pieces]))}


def word_piece():
    lower = [c.lower() for c in LETTERS]
    pieces = [*lower, *(f"##{c}" for c in lower), "the", "capital", "herat", "##ora"]
    ends = [(name, vocabulary(pieces)[name]) for name in ("<s>", "</s>")]
    return fast(
        models.WordPiece(vocabulary(pieces), unk_token="<unk>"),
        pre=pre_tokenizers.BertPreTokenizer(),
        normalizer=normalizers.BertNormalizer(),
        decoder=decoders.WordPiece(),
        processor=processors.TemplateProcessing(single="<s> $A </s>", pair="<s> $A </s> $B </s>", special_tokens=ends),
    )


def unigram():
    pieces = [("<s>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -3.0), ("▁the", -4.0), ("▁Herat", -5.0), ("Her", -5.0)]
    return fast(
        models.Unigram([*pieces, *((c, -6.0) for c in LETTERS)], unk_id=2),
        pre=pre_tokenizers.Metaspace(),
        normalizer=normalizers.NFKC(),
        decoder=decoders.Metaspace(),
        processor=BOS_FIRST,
    )


def whole_line_bpe():
    """As Llama 2: text is never cut into words, what is unknown falls back to bytes, a space is put first."""
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    tokenizer.decoder = decoders.Sequence(steps)
    tokenizer.post_processor = BOS_FIRST
    specials = [*SPECIALS, *(f"<0x{i:02X}>" for i in range(256))]
    lines = [f"{row['context']} Question: {row['question']}" for row in conflict_rows(4)]
    trainer = trainers.BpeTrainer(vocab_size=420, special_tokens=specials, show_progress=False)
    tokenizer.train_from_iterator(lines, trainer)
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


def straddling_bpe():
    """As Llama 3: line breaks go with the punctuation before them, so a context ends inside a token."""
    words = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(words), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = BOS_FIRST
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=SPECIALS[:2],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([f"{text}.\n\nQuestion:\n\nAnswer: it" for text in data_texts()], trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>")


def word_level(*, pre, unknown="<unk>"):
    vocab = vocabulary([*WORDS, *"?.,:", "Answer", "Question"])
    return fast(models.WordLevel(vocab, unk_token=unknown), pre=pre)


def appends_eos():
    tokenizer = bpe_tokenizer(data_texts(), bos=False)
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 1)]
    )
    return tokenizer


def trims_offsets():
    """As GPT-NeoX: the spaces before a word are not in its offsets, a lone space is zero wide."""
    tokenizer = bpe_tokenizer(data_texts())
    trim = processors.ByteLevel(trim_offsets=True)
    tokenizer.backend_tokenizer.post_processor = processors.Sequence([trim, BOS_FIRST])
    return tokenizer


MAKERS = {
    "bpe with bos": lambda: bpe_tokenizer(data_texts()),
    "bpe": lambda: bpe_tokenizer(data_texts(), bos=False),
    "bpe with eos": appends_eos,
    "trimmed offsets": trims_offsets,
    "zero-width offsets": lambda: OddOffsets(oracle("bpe with bos"), lambda spans: [(a, a) for a, _ in spans]),
    "some zero-width": lambda: OddOffsets(
        oracle("bpe with bos"), lambda spans: [(a, a if i % 2 else b) for i, (a, b) in enumerate(spans)]
    ),
    "word piece": word_piece,
    "unigram": unigram,
    "whole-line bpe": whole_line_bpe,
    "straddling bpe": straddling_bpe,
    "words": lambda: word_level(pre=pre_tokenizers.Whitespace()),
    "words between spaces": lambda: word_level(pre=pre_tokenizers.WhitespaceSplit()),
    "words without unknown": lambda: word_level(pre=pre_tokenizers.Whitespace(), unknown="<none>"),
}
SAME_IDS = dict.fromkeys(["trimmed offsets", "zero-width offsets", "some zero-width"], "bpe with bos")


@cache
def tokenizer_of(kind):
    return MAKERS[kind]()


def oracle(kind):
    """The tokenizer with the same ids and the right offsets."""
    return tokenizer_of(SAME_IDS.get(kind, kind))


kinds = pytest.mark.parametrize("kind", MAKERS)


# --- oracles ---


def in_one_piece(tokenizer, text):
    """Ids with special tokens, but for an EOS at the end."""
    ids = tokenizer(text)["input_ids"]
    return ids[:-1] if ids and ids[-1] == tokenizer.eos_token_id else ids


def right_roles(tokenizer, rendered, length):
    """Of every token of the prompt: the set of roles it may have. Offsets by the oracle, roles by the spans."""
    spans = tokenizer(rendered.prompt, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    roles = []
    for start, end in spans:
        visible = [i for i in range(start, end) if not rendered.text[i].isspace()]
        first = visible[0] if visible else start
        if rendered.context and rendered.context[0] <= first < rendered.context[1]:
            roles.append(IN_CONTEXT)
        elif rendered.question[0] <= first < rendered.question[1]:
            roles.append({QUESTION})
        else:
            roles.append({TEMPLATE})
    roles = [{BOS}] * (length - len(roles)) + roles
    return [{BOS}, *roles[1:]], [(0, 0)] * (length - len(spans)) + spans


def check(tokenizer, rendered, tokens: Tokens, target_ids):
    assert tokens.ids.dtype == np.int32
    assert tokens.roles.dtype == np.int8
    assert len(tokens) == len(tokens.ids) == len(tokens.roles)
    assert tokens.ids.tolist() == in_one_piece(tokenizer, rendered.prompt)
    assert [*tokens.ids, *target_ids] == in_one_piece(tokenizer, rendered.text[: rendered.answer[1]])
    expected, spans = right_roles(tokenizer, rendered, len(tokens))
    assert all(role in allowed for role, allowed in zip(tokens.roles, expected, strict=True))
    if rendered.context is None:
        assert not IN_CONTEXT & set(tokens.roles.tolist())
        return
    covered = {i for (a, b), role in zip(spans, tokens.roles, strict=True) if role in IN_CONTEXT for i in range(a, b)}
    excused = {i for (a, b), allowed in zip(spans, expected, strict=True) if allowed != IN_CONTEXT for i in range(a, b)}
    for i in range(*rendered.context):
        character = rendered.text[i]
        assert character.isspace() or unicodedata.combining(character) or i in covered | excused


def check_item(kind, encoder, item):
    encoded = encoder.item(item)
    for context, tokens in ((item.context, encoded.prompt), (" ", encoded.closed_book)):
        for answer, ids in (
            (item.context_answer, encoded.context_answer_ids),
            (item.parametric_answer, encoded.parametric_answer_ids),
        ):
            check(oracle(kind), encoder.template.render(context, item.question, answer), tokens, ids)
    return encoded


# --- every kind of tokenizer ---


def visible(tokenizer, rendered, tokens, role):
    """The text of the tokens with this role, without white space."""
    _, spans = right_roles(tokenizer, rendered, len(tokens))
    places = sorted({i for (a, b), r in zip(spans, tokens.roles, strict=True) if r == role for i in range(a, b)})
    return "".join("".join(rendered.text[i] for i in places).split())


@pytest.mark.parametrize(
    ("kind", "template"),
    [
        (kind, template)
        for kind in MAKERS
        for template in ("plain", "alpaca")
        # "capital." is one word there, and alpaca's words are not in that vocabulary
        if kind != "words between spaces" and (kind, template) != ("words without unknown", "alpaca")
    ],
)
def test_an_ordinary_item(kind, template):
    """Roles by the letter, for a text without traps; none of these tokenizers may refuse it."""
    encoder = Encoder(tokenizer_of(kind), load_template(template, None))
    encoded = check_item(kind, encoder, ITEM)
    rendered = encoder.template.render(ITEM.context, ITEM.question, ITEM.context_answer)
    shown = {role: visible(oracle(kind), rendered, encoded.prompt, role) for role in range(len(TOKEN_ROLES))}
    assert shown[CONTEXT_ANSWER] == "Herat"
    assert shown[PARAMETRIC_ANSWER] == "Oran"
    assert shown[QUESTION] == "WhatisthecapitalofDorne?"
    context = "In2030thegovernmentofDorneleftandmadeitscapital."
    assert context.endswith(shown[CONTEXT])  # the first token is the attention sink where there is no BOS
    assert not shown[ANSWER]
    decoded = encoder.tokenizer.decode(encoded.context_answer_ids.tolist())
    assert "".join(decoded.split()).lower() == "herat"


MORE = ["the capital of", "is", ".", ",\n", "\n\n", "  ", "Question:", "### Input:\n", "In 2030", "don't", "\t", "</s>"]
phrases = st.lists(st.sampled_from(NAMES + MORE), min_size=1, max_size=8).map(" ".join)
texts = (phrases | st.text(min_size=1, max_size=20)).filter(str.strip)
answers = (st.sampled_from(NAMES) | st.text(min_size=1, max_size=8)).filter(str.strip)
TEMPLATES = {
    "plain": load_template("plain", None),
    "alpaca": load_template("alpaca", None),
}


@kinds
@settings(max_examples=15, deadline=None)
@given(template=st.sampled_from(["plain", "alpaca"]), context=texts, question=texts, new=answers, old=answers)
@example(template="plain", context="s r o . s r", question="s r", new="o", old="r")
@example(template="alpaca", context="😀🏽", question="😀🏽 😀🏽", new="😀", old="a")
@example(template="plain", context=" a  b ", question=" a", new=" b", old="\nc")
@example(template="plain", context="\u200b\u0300", question="\ufffd", new="\x00", old="\u0300x")
def test_any_item_has_the_right_roles_or_is_refused(kind, template, context, question, new, old):
    assume(normalise(new) != normalise(old))
    item = Item(id="1", context=context, question=question, context_answer=new, parametric_answer=old)
    encoder = Encoder(tokenizer_of(kind), TEMPLATES[template])
    try:
        check_item(kind, encoder, item)
    except PromptError:
        return


@kinds
@settings(max_examples=10, deadline=None)
@given(context=st.just("") | texts, question=texts, answer=answers, eos=st.booleans())
def test_any_example_has_the_right_roles_or_is_refused(kind, context, question, answer, eos):
    row = Example(id="1", context=context, question=question, answer=answer)
    encoder = Encoder(tokenizer_of(kind), TEMPLATES["plain"], target_eos=eos)
    try:
        encoded = encoder.example(row)
    except PromptError:
        return
    eos_id = encoder.tokenizer.eos_token_id
    for text, tokens in ((context, encoded.sequence), ("", encoded.closed_book)):
        target = tokens.ids[tokens.roles == ANSWER].tolist()
        if eos:
            assert target.pop() == eos_id
        prompt_length = int((tokens.roles != ANSWER).sum())
        assert (tokens.roles[prompt_length:] == ANSWER).all()
        prompt = Tokens(tokens.ids[:prompt_length], tokens.roles[:prompt_length])
        check(oracle(kind), encoder.template.render(text, question, answer), prompt, target)


@pytest.mark.parametrize("kind", [kind for kind in MAKERS if "bpe" in kind or "offsets" in kind])
@settings(max_examples=10, deadline=None)
@given(st.lists(st.sampled_from(NAMES), min_size=2, max_size=6).map(" ".join))
def test_what_bytes_can_spell_is_not_refused(kind, context):
    item = Item(id="1", context=context, question="Where is it?", context_answer="Łódź", parametric_answer="東京")
    encoded = Encoder(tokenizer_of(kind), TEMPLATES["alpaca"]).item(item)
    ids = encoded.prompt.ids[np.isin(encoded.prompt.roles, list(IN_CONTEXT))].tolist()
    assert context in tokenizer_of(kind).decode(ids)


# --- what the roles rest on ---


@pytest.mark.parametrize("template", ["plain", "alpaca"])
def test_a_token_in_which_the_context_ends(template):
    """It belongs to the context, though template follows in it; one in which the context starts does not."""
    tokenizer = tokenizer_of("straddling bpe")
    tokens = Encoder(tokenizer, TEMPLATES[template]).item(ITEM).prompt
    last = np.flatnonzero(np.isin(tokens.roles, list(IN_CONTEXT)))[-1]
    assert tokenizer.decode(tokens.ids[last : last + 1]) == ".\n\n"
    assert tokens.roles[last : last + 2].tolist() == [CONTEXT, TEMPLATE]


def test_a_token_in_which_the_context_starts(tmp_path):
    template = template_file(tmp_path, "{{ question }} Read:{{ context }}\nAnswer:")
    item = replace(ITEM, context=f"\n\n{ITEM.context}")
    tokens = Encoder(tokenizer_of("straddling bpe"), template).item(item).prompt
    first = np.flatnonzero(np.isin(tokens.roles, list(IN_CONTEXT)))[0]
    decoded = [tokenizer_of("straddling bpe").decode([i]) for i in tokens.ids[first - 1 : first + 1]]
    assert decoded == [":\n\n", "In"]
    assert tokens.roles[first - 1] == TEMPLATE


def test_a_lone_space_between_template_and_question_is_the_templates():
    """Its zero-width offset is that of its end, where the question begins."""
    item = Item(id="1", context="a b", question="  zz  yy", context_answer="a", parametric_answer="b")
    trimmed, right = (
        Encoder(tokenizer_of(k), TEMPLATES["plain"]).item(item) for k in ("trimmed offsets", "bpe with bos")
    )
    assert trimmed.prompt.ids.tolist() == right.prompt.ids.tolist()
    assert trimmed.prompt.roles.tolist() == right.prompt.roles.tolist()


@pytest.mark.parametrize(
    "change",
    [
        lambda spans: [(a + 3, b + 3) for a, b in spans],
        lambda spans: [(0, 0) for _ in spans],
        lambda spans: [(2 * a, 2 * b) for a, b in spans],
        lambda spans: [(max(0, a - 4), max(0, b - 4)) for a, b in spans],
    ],
)
def test_wrong_offsets_are_noticed(change):
    encoder = Encoder(OddOffsets(tokenizer_of("bpe with bos"), change), TEMPLATES["alpaca"])
    with pytest.raises(PromptError, match="context"):
        encoder.item(ITEM)


def test_the_first_token_is_the_sink_special_or_not():
    with_bos = Encoder(tokenizer_of("bpe with bos"), TEMPLATES["plain"]).item(ITEM).prompt
    without = Encoder(tokenizer_of("bpe"), TEMPLATES["plain"]).item(ITEM).prompt
    for tokens in (with_bos, without):
        assert tokens.roles[0] == BOS
        assert BOS not in tokens.roles[1:]
    assert with_bos.ids[0] == tokenizer_of("bpe").bos_token_id
    assert with_bos.ids[1:].tolist() == without.ids.tolist()


def test_special_prefixes():
    def prefix(kind):
        return Encoder(tokenizer_of(kind), TEMPLATES["plain"]).special_prefix

    assert [prefix(kind) for kind in ("bpe with bos", "bpe", "bpe with eos", "word piece")] == [[0], [], [], [0]]


def test_special_tokens_that_change_the_text():
    odd = SimpleNamespace()
    tokenizer = tokenizer_of("bpe")

    def call(text, *, add_special_tokens, **options):
        return {"input_ids": [1] if add_special_tokens else [7, 8], "offset_mapping": [(0, 1)] * 2}

    odd.__dict__.update(eos_token_id=tokenizer.eos_token_id, unk_token_id=None)
    with pytest.raises(AttnshiftError, match="special tokens change"):
        _ = Encoder(call, TEMPLATES["plain"]).special_prefix


def test_half_a_surrogate_pair_is_refused():
    """It can't be written in UTF-8, so no tokenizer takes it; JSON files hold such where text was cut."""
    for field in ("context", "question", "answer"):
        row = Example(**{"id": "1", "context": "c", "question": "q", "answer": "a"} | {field: "cut \ud83d"})
        with pytest.raises(PromptError, match="tokenizer fails"):
            Encoder(tokenizer_of("bpe"), TEMPLATES["plain"]).example(row)


def test_a_word_outside_a_vocabulary_without_unknown():
    row = Example(id="1", question="xyzzy", answer="Herat")
    with pytest.raises(PromptError, match="tokenizer fails"):
        Encoder(tokenizer_of("words without unknown"), TEMPLATES["plain"]).example(row)


def test_a_blank_context_is_none():
    encoder = Encoder(tokenizer_of("bpe with bos"), TEMPLATES["plain"])
    blank, none = (encoder.example(Example(id="1", context=c, question="q", answer="a")) for c in (" \n ", ""))
    assert blank.sequence.ids.tolist() == none.sequence.ids.tolist() == none.closed_book.ids.tolist()
    assert not IN_CONTEXT & set(blank.sequence.roles.tolist())


def test_an_example_marks_its_answer_in_the_context():
    row = Example(id="1", context="Ada was born in Herat.", question="Where?", answer="Herat")
    tokens = Encoder(tokenizer_of("bpe with bos"), TEMPLATES["plain"]).example(row).sequence
    marked = tokens.ids[tokens.roles == CONTEXT_ANSWER].tolist()
    assert tokenizer_of("bpe with bos").decode(marked) == " Herat"
    assert PARAMETRIC_ANSWER not in tokens.roles


# --- answers and targets ---


def template_file(tmp_path, text):
    path = tmp_path / "mine.jinja"
    path.write_text(text, encoding="utf-8")
    return load_template(str(path), None)


@pytest.mark.parametrize("kind", ["bpe with bos", "whole-line bpe", "unigram"])
@pytest.mark.parametrize("end", ["Answer: {{ answer }}", "Answer: ", "Answer:", "Answer:  {{ answer|trim }}"])
def test_no_phantom_token_before_the_answer(tmp_path, kind, end):
    """A prompt that ends in a space would make the answer's first token one that training never saw."""
    encoder = Encoder(tokenizer_of(kind), template_file(tmp_path, "{{ context }}\n{{ question }}\n" + end))
    encoded = check_item(kind, encoder, ITEM)
    spaces = "  " if "  " in end else " "
    with_answer, without = (
        in_one_piece(oracle(kind), f"{ITEM.context}\n{ITEM.question}\nAnswer:{answer}")
        for answer in (spaces + "Herat", "")
    )
    assert [*without, *encoded.context_answer_ids] == with_answer
    assert encoded.prompt.ids.tolist() == without


def test_an_answer_that_merges_into_the_prompt(tmp_path):
    encoder = Encoder(tokenizer_of("bpe"), template_file(tmp_path, "{{ context }}\n{{ question }} H{{ answer }}"))
    row = Example(id="1", context="Herat Herat", question="Herat Herat", answer="erat")
    with pytest.raises(PromptError, match="changes the tokens of its prompt"):
        encoder.example(row)


@pytest.mark.parametrize("kind", ["bpe with bos", "bpe", "bpe with eos"])
def test_plain_targets(kind):
    tokenizer = tokenizer_of(kind)
    for eos in (True, False):
        encoded = Encoder(tokenizer, TEMPLATES["plain"], target_eos=eos).example(EXAMPLE)
        text = f"{EXAMPLE.context}\n\nQuestion: {EXAMPLE.question}\nAnswer: {EXAMPLE.answer}"
        assert encoded.sequence.ids.tolist() == in_one_piece(tokenizer, text) + [1] * eos
        for tokens in (encoded.sequence, encoded.closed_book):
            target = tokens.ids[tokens.roles == ANSWER].tolist()
            assert tokenizer.decode(target) == " Herat it was" + "</s>" * eos
        assert not IN_CONTEXT & set(encoded.closed_book.roles.tolist())


@pytest.mark.parametrize("bos", [True, False])
def test_chat_targets(bos):
    """The template closes the turn and writes BOS: neither may be there twice, whatever the tokenizer adds."""
    tokenizer = bpe_tokenizer(data_texts(), bos=bos, chat=True)
    template = load_template("chat", tokenizer)
    for eos in (True, False):
        encoded = Encoder(tokenizer, template, target_eos=eos).example(EXAMPLE)
        text = f"<s><|user|>\n{EXAMPLE.context}\n\n{EXAMPLE.question}</s>\n<|assistant|>\nHerat it was" + "</s>" * eos
        assert encoded.sequence.ids.tolist() == tokenizer(text, add_special_tokens=False)["input_ids"]
        assert encoded.sequence.ids.tolist().count(tokenizer.bos_token_id) == 1
        for tokens in (encoded.sequence, encoded.closed_book):
            assert tokenizer.decode(tokens.ids[tokens.roles == ANSWER]) == "Herat it was" + "</s>" * eos
        assert (encoded.sequence.ids[0], encoded.sequence.roles[0]) == (tokenizer.bos_token_id, BOS)
    encoded = Encoder(tokenizer, template).item(ITEM)
    assert tokenizer.decode(encoded.context_answer_ids) == "Herat"
    assert tokenizer.decode(encoded.prompt.ids).endswith("<|assistant|>\n")


def test_a_chat_template_without_an_end_of_turn_gets_eos():
    tokenizer = bpe_tokenizer(data_texts(), chat=True)
    tokenizer.chat_template = "{% for m in messages %}[{{ m['role'] }}] {{ m['content'] }}\n{% endfor %}"
    tokens = Encoder(tokenizer, load_template("chat", tokenizer)).example(EXAMPLE).sequence
    assert tokenizer.decode(tokens.ids[tokens.roles == ANSWER]) == " Herat it was</s>"


def test_no_eos_where_the_tokenizer_has_none():
    tokenizer = fast(models.WordLevel({"<unk>": 0}, unk_token="<unk>"), pre=pre_tokenizers.Whitespace())
    assert tokenizer.eos_token_id is None
    tokens = Encoder(tokenizer, TEMPLATES["plain"]).example(EXAMPLE).sequence
    assert (tokens.roles == ANSWER).sum() == 3


def test_the_window():
    tokenizer = tokenizer_of("bpe with bos")
    item, row = (
        Encoder(tokenizer, TEMPLATES["plain"]).item(ITEM),
        Encoder(tokenizer, TEMPLATES["plain"]).example(EXAMPLE),
    )
    longest = max(len(item.context_answer_ids), len(item.parametric_answer_ids))
    needs = len(item.prompt) + longest
    for options, length, encode, data in (
        ({}, needs, Encoder.item, ITEM),
        ({"max_new_tokens": 32}, len(item.prompt) + 32, Encoder.item, ITEM),
        ({}, len(row.sequence), Encoder.example, EXAMPLE),
    ):
        encode(Encoder(tokenizer, TEMPLATES["plain"], max_length=length, **options), data)
        with pytest.raises(PromptError, match=f"{length} tokens are more than the model's window of {length - 1}"):
            encode(Encoder(tokenizer, TEMPLATES["plain"], max_length=length - 1, **options), data)
