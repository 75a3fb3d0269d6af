"""Templates and fields of any text: spans that hold the fields, or one clear error."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from fuzzing import TEXT, fuzz, result_or_error
from hypothesis import example, given
from hypothesis import strategies as st
from tiny import bpe_tokenizer, data_texts

from attnshift.data.items import Example, Item
from attnshift.data.templates import Template, load_template

PIECES = [
    "{{ context }}", "{{ question }}", "{{ answer }}", "{{ context|trim }}", "{{ answer|trim }}",
    "{{ question|upper }}",
    "{% if context %}", "{% else %}", "{% endif %}", "{% for i in range(2) %}", "{% endfor %}", "{# c #}", "{% raw %}",
    "{{ context[:3] }}", "{{ missing }}", "{{ 1/0 }}", "{{", "}}", "{%", "%}", "\n", " ", "  ", "\t", "\ue000",
    "### Input:\n", "Answer:", "{% set context = 'x' %}", "{{ context ~ question }}", "{{ loop.index }}", "{{ self }}",
    "{% block a %}{% endblock %}", "{{ question|replace('a', '') }}", "{%- if context -%}", "{{- answer -}}", "\r\n",
]  # fmt: skip
SOUND = ["{% if context %}{{ context }}\n{% endif %}", "{{ question }}", "\n{{ answer }}"]
SOURCES = st.one_of(
    st.lists(st.sampled_from(PIECES) | TEXT, max_size=8).map("".join),
    st.tuples(*(st.tuples(st.sampled_from(PIECES) | TEXT, st.just(part)) for part in SOUND)).map(
        lambda parts: "".join(piece for pair in parts for piece in pair)
    ),
)
TURNS = st.lists(
    st.sampled_from(
        [
            "{% for m in messages %}", "{% endfor %}", "{{ m.content }}", "{{ m['role'] }}",
            "{{ messages[0].content }}",
            "{{ messages[1]['content']|trim }}", "{{ eos_token }}", "{{ bos_token }}", "{{ raise_exception('no') }}",
            "{% generation %}", "{% endgeneration %}", "{{ strftime_now('%Y') }}", "{{ tools }}", *PIECES[:8],
        ]
    ),
    max_size=7,
).map("".join)  # fmt: skip
FIELDS = TEXT | st.text(alphabet=" \n\tab{}%#.\ue000\ue001\ue002\u00a0\u200b\u0301", max_size=12)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("templates")


@pytest.fixture(scope="module")
def tokenizer():
    return bpe_tokenizer(data_texts())


def check_spans(template: Template, context: str, question: str, answer: str) -> None:
    """Every span holds its field, but for white space around it; they don't overlap; the answer is last."""
    rendered = result_or_error(template.render, context, question, answer)
    if rendered is None:
        return
    spans = {"question": (rendered.question, question), "answer": (rendered.answer, answer)}
    if rendered.context is not None:
        spans["context"] = (rendered.context, context)
    for (start, end), value in spans.values():
        assert rendered.text[start:end].strip() == value.strip()
    assert (rendered.context is None) == (not context.strip())
    ordered = sorted(span for span, _ in spans.values() if span[0] < span[1])
    assert all(end <= start for (_, end), (start, _) in pairwise(ordered))
    assert rendered.answer[1] >= max(end for (_, end), _ in spans.values())
    assert rendered.prompt == rendered.text[: rendered.answer[0]]


@fuzz(150)
@given(SOURCES, FIELDS, FIELDS, FIELDS)
@example("{{ context }}{{ question }}{{ answer }}", "a", "a", "a")
def test_any_template_file(folder, source, context, question, answer):
    path = folder / "any.jinja"
    path.write_bytes(source.encode("utf-8", "surrogatepass"))
    template = result_or_error(load_template, str(path), None)
    if template is not None:
        check_spans(template, context, question, answer)


@fuzz(60)
@given(TURNS, FIELDS, FIELDS, FIELDS)
@example("{% for m in messages %}{{ m.content }}\n{% endfor %}", " c ", "q", " a")
def test_any_chat_template(tokenizer, source, context, question, answer):
    tokenizer.chat_template = source
    template = result_or_error(load_template, "chat", tokenizer)
    if template is not None:
        check_spans(template, context, question, answer)


@fuzz(30)
@given(st.binary(max_size=30), TEXT)
def test_any_name_and_content_of_a_template(folder, content, name):
    (folder / "bytes.jinja").write_bytes(content)
    result_or_error(load_template, str(folder / "bytes.jinja"), None)
    result_or_error(load_template, name, None)


@fuzz(60)
@given(FIELDS, FIELDS, FIELDS, FIELDS, st.lists(FIELDS, max_size=2), st.none() | TEXT, TEXT)
def test_any_item_and_example(context, question, new, old, others, group, split):
    fields = {"context": context, "question": question, "context_answer": new, "parametric_answer": old}
    result_or_error(Item, id="i", **fields, context_aliases=tuple(others))
    result_or_error(Example, id="i", question=question, answer=new, context=context, group=group, split=split)
