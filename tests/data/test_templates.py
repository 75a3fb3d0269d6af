"""A template reproduces its fields, and says where; one that doesn't is refused."""

import re
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tiny import bpe_tokenizer

from attnshift.data.templates import PromptError, Rendered, default_template, load_template
from attnshift.errors import AttnshiftError

FIELDS = {"context": "Herat is the capital.", "question": "What is the capital?", "answer": "Herat"}
ALPACA_OPEN = (
    "Below is an instruction that describes a task, paired with an input that provides further context. "
    "Write a response that appropriately completes the request.\n\n"
    "### Instruction:\nWhat is the capital?\n\n### Input:\nHerat is the capital.\n\n### Response:\nHerat"
)
ALPACA_CLOSED = (
    "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n"
    "### Instruction:\nWhat is the capital?\n\n### Response:\nHerat"
)

plain, alpaca = load_template("plain", None), load_template("alpaca", None)


@pytest.fixture(scope="module")
def chat():
    return load_template("chat", bpe_tokenizer(["a b c"], chat=True))


@pytest.fixture
def load(tmp_path):
    """Load a template file with this text."""

    def load_text(text: str):
        path = tmp_path / "mine.jinja"
        path.write_text(text, encoding="utf-8")
        return load_template(str(path), None)

    return load_text


def pieces(rendered: Rendered) -> tuple[str | None, str, str]:
    """The texts of the spans; the prompt and the answer must make up the text as far as the answer."""
    assert rendered.prompt + rendered.text[slice(*rendered.answer)] == rendered.text[: rendered.answer[1]]
    assert not rendered.prompt.endswith(" ")
    context = None if rendered.context is None else rendered.text[slice(*rendered.context)]
    return context, rendered.text[slice(*rendered.question)], rendered.text[slice(*rendered.answer)]


# --- what they render ---


def test_plain():
    rendered = plain.render(**FIELDS)
    assert rendered.text == "Herat is the capital.\n\nQuestion: What is the capital?\nAnswer: Herat"
    assert pieces(rendered) == (FIELDS["context"], FIELDS["question"], " Herat")
    closed = plain.render(**FIELDS | {"context": ""})
    assert closed.text == "Question: What is the capital?\nAnswer: Herat"
    assert pieces(closed) == (None, FIELDS["question"], " Herat")


def test_alpaca():
    rendered = alpaca.render(**FIELDS)
    assert rendered.text == ALPACA_OPEN
    assert pieces(rendered) == tuple(FIELDS.values())
    closed = alpaca.render(**FIELDS | {"context": ""})
    assert closed.text == ALPACA_CLOSED
    assert pieces(closed) == (None, FIELDS["question"], "Herat")


def test_chat_writes_its_own_special_tokens(chat):
    rendered = chat.render(**FIELDS)
    assert rendered.text == (
        "<s><|user|>\nHerat is the capital.\n\nWhat is the capital?</s>\n<|assistant|>\nHerat</s>\n"
    )
    assert pieces(rendered) == tuple(FIELDS.values())
    closed = chat.render(**FIELDS | {"context": ""})
    assert closed.text == "<s><|user|>\nWhat is the capital?</s>\n<|assistant|>\nHerat</s>\n"
    assert pieces(closed) == (None, FIELDS["question"], "Herat")
    assert not chat.adds_special_tokens
    assert plain.adds_special_tokens


@pytest.mark.parametrize("blank", [" ", "\n\t"])
def test_a_blank_context_is_none(blank):
    assert plain.render(**FIELDS | {"context": blank}) == plain.render(**FIELDS | {"context": ""})


def test_the_default_is_chat_where_the_tokenizer_has_one():
    assert default_template(bpe_tokenizer(["a"], chat=True)) == "chat"
    assert default_template(bpe_tokenizer(["a"])) == "plain"


def test_chat_without_a_chat_template():
    with pytest.raises(AttnshiftError, match="no chat template"):
        load_template("chat", bpe_tokenizer(["a"]))


def test_a_chat_template_that_fails_on_two_turns():
    tokenizer = bpe_tokenizer(["a"], chat=True)
    tokenizer.chat_template = "{{ raise_exception('only one turn') }}"
    with pytest.raises(AttnshiftError, match="only one turn"):
        load_template("chat", tokenizer)


def test_a_chat_template_that_drops_the_answer():
    tokenizer = bpe_tokenizer(["a"], chat=True)
    tokenizer.chat_template = "{{ messages[0]['content'] }}"
    with pytest.raises(AttnshiftError, match="swallows the answer"):
        load_template("chat", tokenizer)


def test_digests_tell_templates_apart(load):
    text = "{{ context }} {{ question }} {{ answer }}"
    assert load(text).digest == load(text).digest
    assert len({t.digest for t in (plain, alpaca, load(text), load(text + "."))}) == 4
    assert re.fullmatch("[0-9a-f]{12}", plain.digest)


# --- files ---


def test_file(load):
    template = load("{% if context %}[{{ context }}] {% endif %}{{ question }}\n=> {{ answer }}!")
    rendered = template.render(**FIELDS)
    assert rendered.text == "[Herat is the capital.] What is the capital?\n=> Herat!"
    assert pieces(rendered) == (FIELDS["context"], FIELDS["question"], " Herat")
    assert template.render(**FIELDS | {"context": ""}).text == "What is the capital?\n=> Herat!"


@pytest.mark.parametrize(
    ("file", "ends"),
    [
        ("Answer:", "Answer: Herat"),
        ("Answer:\n", "Answer: Herat"),  # editors end files with a line break
        ("Answer: ", "Answer: Herat"),
        ("Answer:\n\n", "Answer:\nHerat"),
        ("The answer is", "The answer is Herat"),  # the word alone is not the field
        ("Answer: {{ answer }}", "Answer: Herat"),
        ("Answer: {{ answer }}\n", "Answer: Herat"),
        ("Answer: {{answer|trim}}", "Answer: Herat"),
    ],
)
def test_a_file_without_the_answer_is_a_prompt(load, file, ends):
    rendered = load("{{ context }}\n{{ question }}\n" + file).render(**FIELDS)
    assert rendered.text == f"Herat is the capital.\nWhat is the capital?\n{ends}"
    assert pieces(rendered)[2].strip() == "Herat"


def test_a_byte_order_mark_is_not_text(tmp_path):
    path = tmp_path / "windows.jinja"
    path.write_bytes("\ufeff{{ context }}\r\n{{ question }}\r\n{{ answer }}".encode())
    assert load_template(str(path), None).render("c", "q", "a").text == "c\nq\na"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{{ question }} {{ answer }}", "swallows the context"),
        ("{{ context }} {{ answer }}", "swallows the question"),
        ("", "swallows the context"),
        ("{{ context }} {{ context }} {{ question }} {{ answer }}", "repeats the context"),
        ("{{ context }} {{ question }} {{ answer }} {{ answer }}", "repeats the answer"),
        ("{{ context }} {% if context %}{{ question }}{% endif %} {{ answer }}", "swallows the question in its closed"),
        ("{{ context }} {{ answer }} {{ question }}", "puts the question behind the answer"),
        ("{{ answer }} {{ question }} {{ context }}", "puts the context behind the answer"),
        ("{{ context }} {{ question {{ answer }}", "not valid Jinja"),
        ("{% if context %}{{ context }} {{ question }} {{ answer }}", "not valid Jinja"),
        ("{{ context|nofilter }} {{ question }} {{ answer }}", "not valid Jinja"),
        ("{% for i in '' %}" * 30 + "{{ answer }}" + "{% endfor %}" * 30, "not valid Jinja"),
        ("{{ " + "(" * 5000 + "answer" + ")" * 5000 + " }}", "not valid Jinja"),
        ("{{ context }} {{ question }} {{ passage }} {{ answer }}", "'passage' is undefined"),
        ("{{ context }} {{ question }} {% include 'other' %} {{ answer }}", "fails"),
        ("{{ context }} {{ question.missing }} {{ answer }}", "missing"),
        ("{{ context }} {{ question }} {{ 1 / 0 }} {{ answer }}", "ZeroDivisionError"),
        ("{{ ''.__class__.__mro__ }}{{ context }} {{ question }} {{ answer }}", "unsafe"),
        ("{{ ''.__class__ }}{{ context }} {{ question }} {{ answer }}", "unsafe"),
        ("{{ cycler.__init__.__globals__ }}{{ context }} {{ question }} {{ answer }}", "unsafe"),
        ("{{ ''|attr('__class__') }}{{ context }} {{ question }} {{ answer }}", "unsafe"),
        ("{{ '{0.__class__}'.format('') }}{{ context }} {{ question }} {{ answer }}", "unsafe"),
    ],
)
def test_templates_that_are_refused(load, text, problem):
    with pytest.raises(AttnshiftError) as error:
        load(text)
    assert problem in error.value.problem
    assert "mine.jinja" in error.value.problem


@pytest.mark.parametrize("rewritten", ["question|upper", "question|title", "context|replace('e', 'a')", "answer|upper"])
def test_filters_that_rewrite_a_field(load, rewritten):
    text = "{{ context }}\n{{ question }}\n{{ answer }}".replace(rewritten.split("|")[0], rewritten)
    with pytest.raises(PromptError, match="doesn't reproduce its fields"):
        load(text)


def test_a_filter_that_rewrites_some_fields_only(load):
    template = load("{{ context|replace('&', 'and') }}\n{{ question }}\n{{ answer }}")
    assert pieces(template.render(**FIELDS)) == tuple(FIELDS.values())
    with pytest.raises(PromptError, match="doesn't reproduce its fields"):
        template.render(**FIELDS | {"context": "this & that"})


def test_a_template_that_fails_on_some_fields_only(load):
    template = load("{{ context }}\n{{ question }}{{ '' if 1 / (answer|length - 3) }}\n{{ answer }}")
    with pytest.raises(PromptError, match="ZeroDivisionError"):
        template.render(**FIELDS | {"answer": "Ayr"})


def test_a_template_whose_layout_depends_on_a_field(load):
    template = load("{{ context }}\n{% if 'Who' in question %}A person: {% endif %}{{ question }}\n{{ answer }}")
    with pytest.raises(PromptError, match="doesn't reproduce its fields"):
        template.render(**FIELDS | {"question": "Who lives there?"})


@pytest.mark.parametrize("name", ["nowhere.jinja", "nowhere", "../templates", ".", "a\0b", "{{ context }}" * 100])
def test_files_that_cannot_be_read(name):
    with pytest.raises(AttnshiftError, match="can't be read"):
        load_template(name, None)


def test_a_file_that_is_not_text(tmp_path):
    path = tmp_path / "image.jinja"
    path.write_bytes(b"\x89PNG\xff")
    with pytest.raises(AttnshiftError, match="can't be read"):
        load_template(str(path), None)


# --- spans ---

TRIMMING = "{% if context %}{{ context|trim }}\n\n{% endif %}{{ question|trim }}\n{{ answer|trim }}"


@pytest.mark.parametrize("around", ["{}", " {}", "{} ", "\n{}\n", "{}\n\n", "\u00a0{}\t"])
def test_a_trimming_template(load, around):
    padded = {name: around.format(value) for name, value in FIELDS.items()}
    assert pieces(load(TRIMMING).render(**padded)) == tuple(FIELDS.values())


@pytest.mark.parametrize("around", [" {}", "{} ", "{}\n", "\n{}", " {}\n"])
def test_a_chat_template_trims_whole_turns(chat, around):
    """The user turn is context and question: of the context it trims the left, of the question the right."""
    padded = {name: around.format(value) for name, value in FIELDS.items()}
    context, question, answer = pieces(chat.render(**padded))
    assert (context, question) == (padded["context"].lstrip(), padded["question"].rstrip())
    assert answer == FIELDS["answer"]


def test_a_question_that_occurs_in_the_context():
    rendered = plain.render("s r o . s r", "s r", "o")
    assert rendered.text == "s r o . s r\n\nQuestion: s r\nAnswer: o"
    assert (rendered.context, rendered.question) == ((0, 11), (23, 26))


def test_fields_that_are_alike(load):
    rendered = load("{{ context }} {{ question }} {{ answer }}").render("a", "a", "a")
    assert (rendered.context, rendered.question, rendered.answer) == ((0, 1), (2, 3), (3, 5))
    rendered = load("{{ question }} {{ context }} {{ answer }}").render("s r o . s r", "s r", "o")
    assert (rendered.question, rendered.context, rendered.answer) == ((0, 3), (4, 15), (15, 17))


def test_fields_that_look_like_template_code():
    fields = {"context": "{{ answer }} {% if %}", "question": "{{ question }}", "answer": "{# no #}"}
    assert pieces(plain.render(**fields)) == ("{{ answer }} {% if %}", "{{ question }}", " {# no #}")


def test_spaces_between_question_and_answer_belong_to_the_answer(load):
    rendered = load("{{ context }}\n{{ question }} {{ answer }}").render("c", "The heart grows  ", "fonder")
    assert pieces(rendered) == ("c", "The heart grows", "   fonder")


text = st.text(min_size=1, max_size=30).filter(str.strip)


@pytest.mark.parametrize("template", [plain, alpaca], ids=lambda t: t.name)
@settings(max_examples=80, deadline=None)
@given(context=st.just("") | text, question=text, answer=text, spaces=st.sampled_from(["", " ", "  "]))
@example(context="Answer: ", question="Answer: ", answer="Answer: ", spaces=" ")
@example(context="\ue000\ue001", question="\ue002", answer="\ue000", spaces="")
@example(context="c\n", question="q\r\n", answer="a\n", spaces="")
def test_spans_hold_the_fields(template, context, question, answer, spaces):
    rendered = template.render(context, question, spaces + answer)
    shown_context, shown_question, shown_answer = pieces(rendered)
    assert shown_question == question
    assert shown_answer.lstrip(" ") == answer.lstrip(" ")
    assert rendered.answer[1] == len(rendered.text)
    ordered = sorted([rendered.question, rendered.answer] + [rendered.context] * (rendered.context is not None))
    assert all(end <= start for (_, end), (start, _) in pairwise(ordered))
    assert ordered[-1] == rendered.answer
    if context.strip():
        assert shown_context == context
    else:
        assert shown_context is None


def test_a_template_file_is_told_by_its_name_and_text_wherever_it_lies(tmp_path):
    """A run that was moved can be extended: its trace was made with the same template."""
    text = "{% if context %}{{ context }} {% endif %}{{ question }} {{ answer }}"
    told = []
    for folder, written in (("a", text), ("b", text), ("c", f"Read: {text}")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine.jinja").write_text(written)
        told.append(load_template(str(tmp_path / folder / "mine.jinja"), None).stated)
    assert told[0] == told[1] != told[2]
    assert told[0].startswith("mine.jinja (")
