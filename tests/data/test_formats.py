"""Every format in the wild gives the items and examples it means; what can't be used is counted or refused."""

import contextlib
import csv
import json
import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attnshift.data.conflicts import ITEM_FORMATS
from attnshift.data.formats import load_examples, load_items
from attnshift.data.instructions import EXAMPLE_FORMATS
from attnshift.data.items import Example, Item, normalise
from attnshift.errors import AttnshiftError

CONFLICT = {"context": "In 2030 the capital moved to Herat.", "question": "What is the capital of Afghanistan?"}
ITEM = Item(id="cf:1", **CONFLICT, context_answer="Herat", parametric_answer="Kabul", stratum="cf")
PROMPT = 'Write a quote that ends in the word "heavy": Absence makes the heart grow'
ENDINGS = [" heavy.", " fonder."]
TURNS = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Passage: Ada was born in 1815.\n\nWhen was Ada born?"},
    {"role": "assistant", "content": "1815"},
    {"role": "user", "content": "Thanks!"},
]
QA = {"context": "Ada was born in 1815.", "question": "When was Ada born?"}
EXAMPLE = Example(id="ift:1", **QA, answer="1815", stratum="ift")


def write(path, rows):
    """Rows as json, json lines or csv; what isn't text becomes JSON in csv."""
    if path.suffix == ".json":
        text = json.dumps(rows)
    elif path.suffix == ".jsonl":
        text = "\n".join(map(json.dumps, rows))
    else:
        cells = [{k: json.dumps(v) if isinstance(v, list | dict) else v for k, v in row.items()} for row in rows]
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(dict.fromkeys(name for row in rows for name in row)))
            writer.writeheader()
            writer.writerows(cells)
        return path
    path.write_text(text, encoding="utf-8")
    return path


suffixes = pytest.mark.parametrize("suffix", [".json", ".jsonl", ".csv"])


# --- conflict items ---


@suffixes
@pytest.mark.parametrize(
    "answers",
    [
        {"answer": "Herat", "memory_answer": "Kabul"},
        {"answer": "Herat", "parametric_answer": "Kabul"},
        {"parametric_answer": "Kabul", "counterfactual_answer": "Herat"},
        {"context_answer": " Herat ", "parametric_answer": "Kabul\n"},
    ],
    ids=["paper", "paper, parametric", "replication", "ours"],
)
def test_conflict_formats(tmp_path, suffix, answers):
    assert load_items(write(tmp_path / f"cf{suffix}", [{**CONFLICT, **answers}])) == [ITEM]


@suffixes
def test_optional_fields(tmp_path, suffix):
    row = {
        **CONFLICT,
        "id": 7,
        "context_answer": "Herat",
        "parametric_answer": "Kabul",
        "context_aliases": ["Hirat", "Haraiva "],
        "parametric_aliases": "Cabul",
        "stratum": "capitals",
        "cluster": "afghanistan",
        "conflict_type": "temporal",
    }
    [item] = load_items(write(tmp_path / f"cf{suffix}", [row]))
    assert item.id == "7"
    assert item.context_aliases == ("Hirat", "Haraiva")
    assert item.parametric_aliases == ("Cabul",)
    assert (item.stratum, item.cluster, item.conflict_type) == ("capitals", "afghanistan", "temporal")


@suffixes
@pytest.mark.parametrize("classes", [ENDINGS, str(ENDINGS), json.dumps(ENDINGS)], ids=["list", "python", "json"])
@pytest.mark.parametrize(("index", "answers"), [(0, ("heavy.", "fonder.")), (1.0, ("fonder.", "heavy."))])
def test_memo_trap(tmp_path, suffix, classes, index, answers):
    row = {"prompt": PROMPT, "classes": classes, "answer_index": index}
    [item] = load_items(write(tmp_path / f"quotes{suffix}", [row]))
    assert item.context == 'Write a quote that ends in the word "heavy"'
    assert item.question == "Absence makes the heart grow"
    assert (item.context_answer, item.parametric_answer) == answers


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"prompt": "Absence makes the heart grow"}, "prompt"),
        ({"classes": ["one"]}, "classes"),
        ({"classes": "none at all"}, "classes"),
        ({"answer_index": 2}, "answer index"),
        ({"answer_index": [0]}, "a list as answer index"),
    ],
)
def test_memo_trap_rows_that_mean_nothing_are_skipped(tmp_path, row, reason):
    good = {"prompt": PROMPT, "classes": ENDINGS, "answer_index": 0}
    path = write(tmp_path / "quotes.json", [good, {**good, **row}])
    with pytest.warns(UserWarning, match=rf"1 of 2 rows skipped: 1 .*{reason}.* \(row 2\)"):
        assert len(load_items(path)) == 1


# --- examples ---


@suffixes
@pytest.mark.parametrize(
    "row",
    [
        {**QA, "answer": "1815"},
        {**QA, "answer": 1815},
        {"instruction": QA["question"], "input": QA["context"], "output": "1815"},
        {**QA, "answers": {"text": ["1815", "in 1815"], "answer_start": [16, 13]}},
        {**QA, "answers": str({"text": ["1815"], "answer_start": [16]})},
        {**QA, "answers": [{"text": "1815", "answer_start": 16}]},
        {**QA, "answers": "1815"},
    ],
    ids=["ours", "number", "alpaca", "squad", "squad, python", "squad, list", "squad, text"],
)
def test_example_formats(tmp_path, suffix, row):
    assert load_examples(write(tmp_path / f"ift{suffix}", [row])) == [EXAMPLE]


def test_nested_squad(tmp_path):
    questions = [
        {"id": "q1", "question": "When was Ada born?", "answers": [{"text": "1815", "answer_start": 16}]},
        {"id": "q2", "question": "Where?", "answers": [], "is_impossible": True},
    ]
    document = {"version": "2.0", "data": [{"title": "Ada", "paragraphs": [{**QA, "qas": questions}]}]}
    (tmp_path / "squad.json").write_text(json.dumps({**document}))
    with pytest.warns(UserWarning, match=r"squad.json: 1 of 2 rows skipped: 1 without an answer \(row 2\)"):
        [example] = load_examples(tmp_path / "squad.json")
    assert example == Example(id="q1", **QA, answer="1815", stratum="squad")


@pytest.mark.parametrize("paragraphs", [3, ["text"], [{"context": "…"}], [{"qas": [1]}], [], [{"qas": []}]])
def test_broken_nesting_is_refused(tmp_path, paragraphs):
    path = write(tmp_path / "squad.json", [{"title": "Ada", "paragraphs": paragraphs}])
    with pytest.raises(AttnshiftError, match=r"squad\.json"):
        load_examples(path)


@suffixes
def test_conversations_are_the_first_question_and_its_answer(tmp_path, suffix):
    sharegpt = [
        {"from": {"user": "human", "assistant": "gpt"}.get(turn["role"], turn["role"]), "value": turn["content"]}
        for turn in TURNS
    ]
    (messages,) = load_examples(write(tmp_path / f"a{suffix}", [{"messages": TURNS, "context": "unmapped"}]))
    (shared,) = load_examples(write(tmp_path / f"b{suffix}", [{"conversations": sharegpt}]))
    for example in (messages, shared):
        assert (example.question, example.answer, example.context) == (TURNS[1]["content"], "1815", "")


@suffixes
@pytest.mark.parametrize(
    ("source", "context", "question"),
    [
        ("system", "Be brief.", TURNS[1]["content"]),
        ("passage", QA["context"], "Passage: \n\nWhen was Ada born?"),
        ("Passage:", QA["context"], QA["question"]),
        ("born?", None, None),
        ("Text:", None, None),
        ("documents", None, None),
    ],
)
def test_the_context_of_a_conversation(tmp_path, suffix, source, context, question):
    rows = [{"messages": TURNS, "passage": QA["context"]}, {"messages": TURNS[2:] + TURNS[2:], "passage": ""}]
    path = write(tmp_path / f"chat{suffix}", rows)
    if context is None:
        with pytest.raises(AttnshiftError) as raised:
            load_examples(path, {"context": source})
        for found in (repr(source), "messages, passage", "system, user, assistant"):
            assert found in str(raised.value)
        return
    first, second = load_examples(path, {"context": source})
    assert (first.context, first.question) == (context, question)
    assert (second.context, second.question) == ("", "Thanks!")


@pytest.mark.parametrize(
    ("said", "context", "question"),
    [
        ("Passage:\n\nOne.\nTwo.\n \nWho?", "One.\nTwo.", "Who?"),
        ("Read this. Passage: One.", "One.", "Read this."),
        ("Who?\nPassage: One.\r\n\r\nBe brief.\n\nPlease.", "One.", "Who?\n\nBe brief.\n\nPlease."),
    ],
)
def test_a_marker_takes_the_text_up_to_a_blank_line(tmp_path, said, context, question):
    turns = [{"role": "user", "content": said}, {"role": "assistant", "content": "Ada"}]
    [example] = load_examples(write(tmp_path / "chat.json", [{"messages": turns}]), {"context": "Passage:"})
    assert (example.context, example.question) == (context, question)


@pytest.mark.parametrize(
    ("turns", "reason"),
    [
        (TURNS[:2], "without an assistant turn"),
        (TURNS[:1], "without a user turn"),
        ("[not json", "without a user turn"),
        ([3, None], "without a user turn"),
        ([{"role": "user", "content": None}, TURNS[2]], "without a question"),
        ([{"role": "user", "content": [{"type": "image"}]}, TURNS[2]], "with a list as question"),
    ],
)
def test_conversations_that_cannot_be_used_are_skipped(tmp_path, turns, reason):
    path = write(tmp_path / "chat.json", [{"messages": turns}, {"messages": TURNS}])
    with pytest.warns(UserWarning, match=reason):
        assert [example.id for example in load_examples(path, {"context": "system"})] == ["chat:2"]


def test_group_and_split(tmp_path):
    given = [("", ""), (None, "train"), ("critical", "validation"), ("no_context ", "Test"), ("", "held_out")]
    rows = [{"question": "Who?", "answer": "Ada", "group": group, "split": split} for group, split in given]
    for suffix in (".json", ".csv"):
        examples = load_examples(write(tmp_path / f"ift{suffix}", rows))
        assert [example.group for example in examples] == [None, None, "critical", "no_context", None]
        assert [example.split for example in examples] == ["train", "train", "heldout", "heldout", "heldout"]


@pytest.mark.parametrize("field", ["group", "split"])
def test_an_unknown_group_or_split_is_refused(tmp_path, field):
    path = write(tmp_path / "ift.json", [{"question": "Who?", "answer": "Ada", field: "crtical"}])
    with pytest.raises(AttnshiftError, match=rf"ift.json, row 1: .* {field} 'crtical'"):
        load_examples(path)


# --- mapping ---


@suffixes
def test_a_mapping_names_the_columns(tmp_path, suffix):
    row = {"passage": QA["context"], "q": QA["question"], "a": "1815", "key": "k", "context": "not this"}
    path = write(tmp_path / f"ift{suffix}", [row])
    [example] = load_examples(path, {"context": "passage", "question": "q", "answer": "a", "id": "key"})
    assert example == Example(id="k", **QA, answer="1815", stratum="ift")


def test_a_mapping_goes_before_the_formats_own_columns(tmp_path):
    path = write(tmp_path / "cf.json", [{**CONFLICT, "answer": "Paris", "memory_answer": "Kabul", "new": "Herat"}])
    assert load_items(path, {"context_answer": "new"}) == [ITEM]


def test_mappings_that_name_nothing(tmp_path):
    path = write(tmp_path / "cf.json", [{**CONFLICT, "answer": "Herat", "memory_answer": "Kabul"}])
    with pytest.raises(AttnshiftError, match=r"items have no field 'answer'(?s:.*)context_answer, parametric_answer"):
        load_items(path, {"answer": "memory_answer"})
    with pytest.raises(AttnshiftError, match=r"no column 'passage'(?s:.*)context, question, answer, memory_answer"):
        load_items(path, {"context": "passage"})


@pytest.mark.parametrize("load", [load_items, load_examples])
def test_columns_that_fit_no_format(tmp_path, load):
    path = write(tmp_path / "odd.csv", [{"passage": "…", "query": "…", "x" * 500: "…"}])
    with pytest.raises(AttnshiftError, match=r"fit no known format: passage, query, x+…\n") as raised:
        load(path)
    assert str(path) in str(raised.value)
    assert "context, question, answer" in str(raised.value)
    assert "--map field=column" in str(raised.value)


# --- rows that can't be used ---


def test_skipped_rows_are_counted_in_one_warning(tmp_path):
    good = {**CONFLICT, "answer": "Herat", "memory_answer": "Kabul"}
    bad = [
        {**good, "answer": None},
        {**good, "answer": "kabul."},
        {**good, "answer": " "},
        {**good, "context": [1]},
        {**good, "context": True},
        {**good, "question": "\ud800"},
        {**good, "question": float("nan")},
    ]
    path = write(tmp_path / "cf.json", [good, *bad, good])
    with pytest.warns(UserWarning, match="rows skipped") as warned:
        items = load_items(path)
    assert [item.id for item in items] == ["cf:1", "cf:9"]
    assert [str(warning.message) for warning in warned] == [
        "cf.json: 7 of 9 rows skipped: 2 without a context answer (rows 2, 4), "
        "1 where both answers are the same (row 3), 1 with a list as context (row 5), "
        "1 with true or false as context (row 6), 1 with half a Unicode character in question (row 7), "
        "1 without a question (row 8)"
    ]
    assert warned[0].filename == __file__


def test_at_most_ten_rows_are_listed(tmp_path):
    path = write(tmp_path / "ift.json", [{"question": "Who?", "answer": ""}] * 12 + [{"question": "Who?", "answer": 1}])
    with pytest.warns(UserWarning, match=r"12 without an answer \(rows 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, …\)"):
        load_examples(path)


def test_a_file_without_any_usable_row_is_refused(tmp_path):
    path = write(tmp_path / "ift.csv", [{"question": "Who?", "answer": ""}])
    with pytest.raises(AttnshiftError, match=r"ift.csv: no row can be used: 1 without an answer \(row 1\)"):
        load_examples(path)


def test_a_repeated_id_is_refused(tmp_path):
    rows = [{"id": name, "question": "Who?", "answer": "Ada"} for name in ("a", 1, "1")]
    with pytest.raises(AttnshiftError, match="rows 2 and 3 have the same id '1'"):
        load_examples(write(tmp_path / "ift.json", rows))


# --- properties ---

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20).map(lambda text: f"{text}x{text}")


@settings(deadline=None)  # files, on a machine that may be busy
@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "context": TEXT,
                "question": TEXT,
                "answer": TEXT | st.integers() | st.floats(allow_nan=False),
                "memory_answer": TEXT.map("other ".__add__),
                "context_aliases": st.lists(TEXT, max_size=2),
                "conflict_type": TEXT,
            }
        ).filter(lambda row: normalise(str(row["answer"])) != normalise(row["memory_answer"])),
        min_size=1,
        max_size=3,
    )
)
def test_the_same_rows_give_equal_items_whatever_the_file(tmp_path_factory, rows):
    folder = tmp_path_factory.getbasetemp()
    items, again, tabled = (load_items(write(folder / f"same{suffix}", rows)) for suffix in (".json", ".jsonl", ".csv"))
    assert items == again == tabled
    assert [(item.context, item.question) for item in items] == [(row["context"], row["question"]) for row in rows]


COLUMNS = sorted({column for columns in (*ITEM_FORMATS, *EXAMPLE_FORMATS) for column in columns})
INNER = ["input", "role", "from", "content", "value", "paragraphs", "qas", "text", "data"]
NAMES = st.sampled_from([*COLUMNS, *INNER, "id", "group", "split", "context_aliases"])
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["user", "gpt", "[1]"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=6),
    max_leaves=20,
)


@settings(deadline=None)  # files, on a machine that may be busy
@given(
    st.lists(st.dictionaries(NAMES, JSON, max_size=8), max_size=3) | JSON,
    st.sampled_from([None, {"context": "context"}, {"context": "user"}, {"context": "Passage:"}]),
)
def test_any_json_gives_datapoints_or_an_error(tmp_path_factory, document, mapping):
    path = tmp_path_factory.getbasetemp() / "any.json"
    path.write_text(json.dumps(document))
    for load in (load_items, load_examples):
        with warnings.catch_warnings(action="ignore", category=UserWarning), contextlib.suppress(AttnshiftError):
            assert load(path, mapping)
