"""Defects of data: each with data that have it and data that don't."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest
from healthy import ITEM
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import alpaca_rows, bpe_tokenizer, conflict_rows, data_texts

import attnshift
from attnshift.data.items import Example, Item
from attnshift.data.roles import CONTEXT_ANSWER, find_answers
from attnshift.diagnosis.examples import EXAMPLE_DEFECTS
from attnshift.diagnosis.items import ITEM_DEFECTS
from attnshift.diagnosis.lint import ROW_DEFECTS, lint
from attnshift.errors import AttnshiftError

OTHER = Item(
    id="b",
    context="Since the flood Ghent is the seat.",
    question="What is the capital of Dorne?",
    context_answer="Ghent",
    parametric_answer="Herat",
)
EXAMPLE = Example(
    id="a", context="Ann lives in Graz.", question="Where does Ann live?", answer="Graz", group="critical"
)
RECALL = Example(id="b", question="Where is Ghent?", answer="In Belgium, by the Scheldt.", group="no_context")


def counts(found: attnshift.diagnosis.lint.Lint) -> dict[str, int]:
    return {finding.name: finding.count for finding in found.found}


def test_clean_items_have_no_defect():
    found = lint([ITEM, OTHER])
    assert counts(found) == {}
    assert {finding.status for finding in found.findings} == {"ok", "skipped"}
    assert str(found) == "data: 2 items"


def test_clean_examples_have_no_defect():
    assert counts(lint([EXAMPLE, RECALL])) == {}


ITEM_CASES = {
    "repeated_id": replace(OTHER, id="a"),
    "equal_answers": replace(
        OTHER, context="The Óran is the seat.", context_answer="The Óran", parametric_answer="Oran"
    ),
    "parametric_in_context": replace(OTHER, context="The seat went from Herat to Ghent."),
    "context_answer_contains_parametric": replace(OTHER, context_answer="New Herat", context="It is New-Herat today."),
    "parametric_answer_contains_context": replace(OTHER, parametric_answer="Ghent Town"),
    "answer_absent": replace(OTHER, context_answer="Brest"),
    "answer_spelt_otherwise": replace(OTHER, context="Since the flood Ghént is the seat."),
    "answer_in_question": replace(OTHER, question="What is the capital of Ghent?"),
    "parenthetical": replace(OTHER, parametric_answer="Herat (old)"),
    "shared_alias": replace(OTHER, context_aliases=("the seat",), parametric_aliases=("The Seat",)),
    "duplicate_item": replace(ITEM, id="b", context="In 2030 the seat was moved to GRAZ!"),
    "duplicate_question": replace(OTHER, question="what is the capital of Hav", cluster="of its own"),
    "clustered": replace(OTHER, cluster=ITEM.cluster),
}


@pytest.mark.parametrize("name", ITEM_CASES)
def test_an_item_with_a_defect(name):
    found = lint([ITEM, ITEM_CASES[name]])
    finding = found[name]
    assert finding.count == (2 if name == "clustered" else 1)
    assert finding.of == 2
    assert finding.share == finding.count / 2
    assert ITEM_CASES[name].id in finding.ids
    assert finding.seen
    assert finding.effect
    assert finding.remedy
    assert finding.status == {"repeated_id": "fail", "clustered": "ok"}.get(name, "warn")
    assert name in str(found)
    assert name in found._repr_html_()


EXAMPLE_CASES = {
    "repeated_id": [replace(RECALL, id="a")],
    "group_contradicts_context": [replace(RECALL, group="critical"), replace(EXAMPLE, id="c", group="no_context")],
    "partly_grouped": [replace(EXAMPLE, id="c", question="Where is Ann?", group=None)],
    "answer_absent": [replace(EXAMPLE, id="c", question="Where is Ann?", answer="Oran")],
    "redundant_context": [replace(EXAMPLE, id="c", context="Ann", answer="Ann")],
    "duplicate_example": [replace(EXAMPLE, id="c", answer="graz!")],
    "contradicting_answers": [replace(EXAMPLE, id="c", answer="She lives in Graz.")],
    "leaked_split": [replace(EXAMPLE, id="c", split="heldout")],
}


@pytest.mark.parametrize("name", EXAMPLE_CASES)
def test_an_example_with_a_defect(name):
    more = EXAMPLE_CASES[name]
    finding = lint([EXAMPLE, *more])[name]
    assert finding.count == len(more)
    assert finding.ids == tuple(each.id for each in more)
    assert finding.status == {"repeated_id": "fail", "answer_absent": "ok"}.get(name, "warn")


def test_examples_without_any_context():
    assert lint([RECALL, replace(RECALL, id="c", question="Where?")])["no_context"].count == 2


def test_every_defect_has_its_case():
    assert {sought.defect.name for sought in ITEM_DEFECTS} == set(ITEM_CASES)
    assert {sought.defect.name for sought in EXAMPLE_DEFECTS} == {*EXAMPLE_CASES, "no_context"}


def test_a_context_that_only_completes_the_longer_answer_is_told_once_more():
    """The paper's pair: Cairo stands in New Cairo, so by containment it stands in the context as well."""
    item = replace(OTHER, context="New Cairo is the seat.", context_answer="New Cairo", parametric_answer="Cairo")
    assert set(counts(lint([ITEM, item]))) == {"parametric_in_context", "context_answer_contains_parametric"}


def test_answers_of_non_critical_and_long_answers_need_not_be_quoted():
    recalled = replace(EXAMPLE, id="c", question="Where?", answer="Oran", group="non_critical")
    told = replace(EXAMPLE, id="d", question="Who?", answer="Ann is one who lives far from here.")
    assert lint([EXAMPLE, recalled, told])["answer_absent"].count == 0


# with a tokenizer


@pytest.fixture(scope="module")
def tokenizer():
    return bpe_tokenizer([*data_texts(), ITEM.context, OTHER.context, "Grazia Ghentle"])


def test_first_tokens_lengths_and_beginnings(tokenizer):
    alike = replace(ITEM, id="c", parametric_answer="Gratz", question="Which?")
    longer = replace(OTHER, id="d", parametric_answer="Ghent am Meer", question="What?")
    found = lint([ITEM, alike, longer], tokenizer=tokenizer)

    def ids(answer: str) -> list[int]:
        return tokenizer(f"Answer: {answer}", add_special_tokens=False)["input_ids"]

    prompt = tokenizer("Answer:", add_special_tokens=False)["input_ids"]
    pairs = {
        i.id: [ids(a)[len(prompt) :] for a in (i.context_answer, i.parametric_answer)] for i in (ITEM, alike, longer)
    }
    expected = {
        "shared_first_token": [name for name, (a, b) in pairs.items() if a[0] == b[0]],
        "answer_begins_other": [n for n, (a, b) in pairs.items() if a[: len(b)] == b or b[: len(a)] == a],
        "unequal_length": [name for name, (a, b) in pairs.items() if len(a) != len(b)],
    }
    assert {name: list(found[name].ids) for name in expected} == expected
    assert "d" in expected["answer_begins_other"]
    assert "a" not in expected["shared_first_token"]


def test_a_double_space_before_the_answer_is_found(tokenizer, tmp_path):
    """The defect that made somebody rescore 48,204 pairs."""
    double, single = tmp_path / "double.jinja", tmp_path / "single.jinja"
    double.write_text("{% if context %}{{ context }} {% endif %}{{ question }} The answer is:  {{ answer }}")
    single.write_text(double.read_text().replace(":  ", ": "))
    found = lint([ITEM, OTHER], tokenizer=tokenizer, template=str(double))["doubtful_space"]
    assert found.count == 2
    assert "ĠGraz" in found.seen or "'Ġ'" in found.seen
    assert lint([ITEM, OTHER], tokenizer=tokenizer, template=str(single))["doubtful_space"].count == 0


def test_what_is_longer_than_the_window(tokenizer):
    long = replace(OTHER, context=OTHER.context * 40)
    found = lint([ITEM, long], tokenizer=tokenizer, window=120)
    assert found["too_long"].ids == ("b",)
    assert "120" in found["too_long"].seen
    assert found["unreadable_prompt"].count == 0
    assert lint([ITEM, long], tokenizer=tokenizer)["too_long"].count == 0
    examples = [EXAMPLE, replace(EXAMPLE, id="c", context=OTHER.context * 40)]
    assert lint(examples, tokenizer=tokenizer, window=120)["too_long"].ids == ("c",)


def test_what_the_template_swallows_is_unreadable(tokenizer, tmp_path):
    shouting = tmp_path / "shouting.jinja"
    shouting.write_text("{{ context | replace('flood', 'rain') }} {{ question }} {{ answer }}")
    found = lint([ITEM, OTHER], tokenizer=tokenizer, template=str(shouting))
    assert found["unreadable_prompt"].ids == ("b",)
    assert found["shared_first_token"].of == 1


def test_control_tokens_in_the_data(tokenizer):
    ended = replace(EXAMPLE, id="c", question="Who?", answer="Graz</s>")
    found = lint([EXAMPLE, ended], tokenizer=tokenizer)["special_token_in_text"]
    assert found.ids == ("c",)
    assert found.seen == "'</s>' in 'Graz</s>'"
    assert lint([ITEM, OTHER], tokenizer=tokenizer)["special_token_in_text"].count == 0


def test_words_that_the_tokenizer_does_not_know():
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    texts = ITEM.context + ITEM.question + "Graz Oran Question: Answer: " + OTHER.context_answer
    known = sorted({*re.findall(r"\w+|[^\w\s]+", texts)})  # two unknown answers would be the same tokens
    words = Tokenizer(models.WordLevel({each: i for i, each in enumerate(["[UNK]", *known])}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, unk_token="[UNK]")
    found = lint([ITEM, OTHER], tokenizer=tokenizer)["unknown_token"]
    assert found.ids == ("b",)
    assert "'[UNK]'" in found.seen
    as_gpt2 = PreTrainedTokenizerFast(tokenizer_object=words, unk_token="[UNK]", eos_token="[UNK]")
    assert lint([ITEM, OTHER], tokenizer=as_gpt2)["unknown_token"].count == 0


def test_without_a_tokenizer_it_says_what_it_did_not_look_for():
    skipped = {f.name for f in lint([ITEM]).findings if f.status == "skipped"}
    assert skipped == {
        "too_long",
        "unreadable_prompt",
        "special_token_in_text",
        "unknown_token",
        "shared_first_token",
        "answer_begins_other",
        "unequal_length",
        "doubtful_space",
    }


# files


def test_rows_that_become_no_item_are_told(tmp_path):
    rows = conflict_rows(5)
    rows[0]["answer"] = " "
    rows[1]["answer"] = rows[1]["memory_answer"].upper()
    rows[2]["question"] = ["not", "a", "text"]
    path = tmp_path / "cf.json"
    path.write_text(json.dumps(rows))
    found = lint(path)
    assert (found.name, found.rows) == ("cf.json", 5)
    assert {name: found[name].ids for name in ("empty_field", "equal_answers", "unreadable_row")} == {
        "empty_field": ("row 1",),
        "equal_answers": ("row 2",),
        "unreadable_row": ("row 3",),
    }
    assert found["empty_field"].seen == "a row without a context answer"
    assert found["empty_field"].of == 5


def test_repeated_ids_of_a_file_are_told_and_not_raised(tmp_path):
    rows = [{**row, "id": "same"} for row in conflict_rows(3)]
    path = tmp_path / "cf.json"
    path.write_text(json.dumps(rows))
    assert lint(path)["repeated_id"].count == 2
    with pytest.raises(AttnshiftError, match="same id"):
        attnshift.load_items(path)


def test_a_file_of_examples_and_other_columns(tmp_path):
    rows = [{"frage": row["instruction"], "output": row["output"], "input": row["input"]} for row in alpaca_rows(8)]
    path = tmp_path / "alpaca.json"
    path.write_text(json.dumps(rows))
    columns = {"question": "frage", "answer": "output", "context": "input"}
    found = lint(path, "examples", mapping=columns)
    assert (found.kind, found.rows) == ("examples", 8)
    with pytest.raises(AttnshiftError, match="fit no known format"):
        lint(path, "examples")


@pytest.mark.parametrize("data", [[], [ITEM, EXAMPLE], "no.json", ["text"]])
def test_nothing_to_look_at(data):
    with pytest.raises(AttnshiftError):
        lint(data)
    with pytest.raises(AttnshiftError, match="kind"):
        lint("no.json", "rows")


# whatever the data


WORDS = st.sampled_from(
    ["Oran", "New Oran", "Graz", "graz", "the Graz", "São", "Sao", "C++", "?", "5", "1,500", "東京", "(x)"]
)
TEXTS = st.lists(WORDS, min_size=1, max_size=4).map(" ".join)


@st.composite
def any_items(draw):
    rows = []
    for number in range(draw(st.integers(1, 6))):
        fields = {n: draw(TEXTS) for n in ("context", "question", "context_answer", "parametric_answer")}
        aliases = tuple(draw(st.lists(WORDS, max_size=2)))
        try:
            rows.append(Item(id=str(draw(st.integers(0, number))), context_aliases=aliases, **fields))
        except AttnshiftError:  # both answers are the same
            continue
    return rows or [ITEM]


@settings(deadline=None)
@given(any_items())
def test_every_finding_is_of_the_data(items):
    found = lint(items)
    assert [finding.name for finding in found.findings] == [finding.name for finding in lint([ITEM]).findings]
    for finding in found.findings:
        assert 0 <= finding.count <= (finding.of or len(items))
        assert len(finding.ids) == min(finding.count, 5)
        assert set(finding.ids) <= {item.id for item in items}
        assert bool(finding.seen) == bool(finding.count) or finding.status == "skipped"
        assert finding.count or finding.status in ("ok", "skipped")
    in_context = [i for i in items if attnshift.scoring.containment.contains_answer(i.context, i.parametric_answer)]
    assert found["parametric_in_context"].count == len(in_context)
    assert found["repeated_id"].count == len(items) - len({item.id for item in items})
    assert found["clustered"].count >= found["duplicate_item"].count


@settings(deadline=None)
@given(any_items(), st.integers(1, 3))
def test_more_of_the_same_are_duplicates(items, times):
    """Every copy under another id is one more duplicate and one more repeated question, and nothing else is new."""
    once = lint(items)
    copies = [replace(item, id=f"{item.id} copy {n}") for n in range(times) for item in items]
    more = lint([*items, *copies])
    for name in ("duplicate_item", "duplicate_question"):
        assert more[name].count == once[name].count + len(copies)
    for name in ("parametric_in_context", "answer_absent", "parenthetical", "equal_answers", "shared_alias"):
        assert more[name].count == once[name].count * (times + 1)


def test_rows_have_their_own_defects():
    assert {each.name for each in ROW_DEFECTS} == {"empty_field", "unreadable_row"}


@settings(deadline=None)
@given(any_items())
def test_an_answer_that_is_spelt_otherwise_is_one_without_a_role(items):
    """The quick look agrees with the roles that a trace gives."""
    for item in items:
        names = ((item.context_answer, *item.context_aliases), (item.parametric_answer, *item.parametric_aliases))
        role = any(role == CONTEXT_ANSWER for _, role in find_answers(item.context, *names))
        found = lint([item])
        assert bool(found["answer_spelt_otherwise"].count) == (not role and not found["answer_absent"].count)


def test_of_many_a_sample_is_tokenised(tokenizer, monkeypatch):
    monkeypatch.setattr("attnshift.diagnosis.lint.TOKENISED", 3)
    many = [replace(ITEM, id=str(number)) for number in range(9)]
    found = lint(many, tokenizer=tokenizer)
    assert found["too_long"].of == 3
    assert found["duplicate_item"].of == 9
