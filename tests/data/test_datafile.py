"""Files that are written again: with groups, without some rows, with counterfactual ones."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from attnshift import AttnshiftError, load_examples
from attnshift.data.augment import augment
from attnshift.data.datafile import open_data
from attnshift.data.mentions import Text, as_name
from attnshift.data.retelling import texts_in
from attnshift.data.rows import read_rows

PEOPLE = ["Mary Shelley", "Ada Lovelace", "Jane Goodall", "Grace Hopper", "Rosa Parks", "Emmy Noether"]


def facts(number):
    person = PEOPLE[number]
    return (
        f"The prize of {1990 + number} went to {person}, who lived by the sea.",
        f"Who won it in {1990 + number}?",
        person,
    )


def alpaca():
    rows = [{"instruction": q, "input": c, "output": a, "topic": ["x", 1.5]} for c, q, a in map(facts, range(6))]
    return [{"instruction": "Say hello.", "input": "", "output": "Hello"}, *rows]


def messages():
    return [
        {
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": f"Passage: {c}\n\n{q}"},
                {"role": "assistant", "content": a, "weight": 1},
                {"role": "user", "content": "Thank you."},
                {"role": "assistant", "content": "You're welcome."},
            ],
            "source": {"n": i},
        }
        for i, (c, q, a) in enumerate(map(facts, range(6)))
    ]


def sharegpt():
    return [
        {
            "passage": c,
            "conversations": [{"from": "human", "value": f"{c}\n{q}"}, {"from": "gpt", "value": a}],
        }
        for c, q, a in map(facts, range(6))
    ]


def squad():
    articles = []
    for c, q, a in map(facts, range(6)):
        qas = [{"id": q[-5:-1], "question": q, "answers": [{"text": a, "answer_start": c.index(a)}, {"text": a}]}]
        articles.append({"title": "t", "paragraphs": [{"context": c, "qas": qas}]})
    return {"version": "1.1", "data": articles}


def flat_squad():
    return [
        {"id": str(i), "context": c, "question": q, "answers": {"text": [a], "answer_start": [c.index(a)]}}
        for i, (c, q, a) in enumerate(map(facts, range(6)))
    ]


def ours():
    return [
        {"passage": c, "question": q, "answer": a, "key": f"k{i}"} for i, (c, q, a) in enumerate(map(facts, range(6)))
    ]


FORMS = {
    "alpaca.json": (alpaca, {}),
    "messages.jsonl": (messages, {"context": "Passage:"}),
    "sharegpt.json": (sharegpt, {"context": "passage"}),
    "squad.json": (squad, {}),
    "flat.jsonl": (flat_squad, {}),
    "ours.json": (ours, {"context": "passage", "id": "key"}),
    "table.csv": (ours, {"context": "passage", "id": "key"}),
}


@pytest.fixture(params=FORMS)
def file(request, tmp_path):
    make, mapping = FORMS[request.param]
    path = tmp_path / request.param
    content = make()
    if path.suffix == ".csv":
        with path.open("w", newline="", encoding="utf-8") as lines:
            out = csv.writer(lines)
            out.writerow(["", *content[0]])  # pandas' index
            out.writerows([[i, *row.values()] for i, row in enumerate(content)])
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in content), encoding="utf-8")
    else:
        path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return open_data(path, mapping)


def out_of(file) -> Path:
    return file.document.path.with_stem("new")


def plain(path):
    """Everything in a file."""
    if path.suffix == ".csv":
        return list(csv.reader(path.read_text(encoding="utf-8").splitlines()))
    return read_rows(path) if path.suffix == ".jsonl" else json.loads(path.read_text(encoding="utf-8"))


def without(value, names):
    if isinstance(value, dict):
        return {key: without(each, names) for key, each in value.items() if key not in names}
    return [without(each, names) for each in value] if isinstance(value, list) else value


def reloaded(file):
    return load_examples(out_of(file), file.mapping)


def test_nothing_changed_is_the_same_file(file):
    file.write(out_of(file))
    assert plain(out_of(file)) == plain(file.document.path)
    if file.document.kind == "json":
        assert out_of(file).read_bytes() == file.document.path.read_bytes()


def test_columns_come_beside_what_is_there(file):
    columns = {
        e.id: {"group": "critical", "closed_book_loss": 0.25, "closed_book_rank": i}
        for i, e in enumerate(file.examples)
    }
    file.write(out_of(file), columns=columns)
    if file.document.kind == "csv":
        before, after = plain(file.document.path), plain(out_of(file))
        assert [row[: len(before[0])] for row in after] == before
        assert after[0][-3:] == ["group", "closed_book_loss", "closed_book_rank"]
        assert [row[-1] for row in after[1:]] == [str(i) for i in range(6)]
    else:
        assert without(plain(out_of(file)), {"group", "closed_book_loss", "closed_book_rank"}) == plain(
            file.document.path
        )
    found = reloaded(file)
    assert {e.group for e in found} == {"critical"}
    assert [(e.context, e.question, e.answer) for e in found] == [
        (e.context, e.question, e.answer) for e in file.examples
    ]


def test_dropped_rows_are_gone_and_the_others_stay(file):
    gone = [file.examples[1].id, file.examples[4].id]
    file.write(out_of(file), dropped=gone)
    kept = [e for e in file.examples if e.id not in gone]
    assert [(e.context, e.answer) for e in reloaded(file)] == [(e.context, e.answer) for e in kept]


def test_counterfactual_rows_tell_their_examples(file):
    made = augment(file.examples, 0.3, seed=1, elsewhere=file.elsewhere())
    assert len(made.counterfactuals) == made.wanted == 3
    file.write(out_of(file), added=made.counterfactuals)
    found = reloaded(file)
    assert [(e.context, e.question, e.answer) for e in found[:-3]] == [
        (e.context, e.question, e.answer) for e in file.examples
    ]
    for example, counterfactual in zip(found[-3:], made.counterfactuals, strict=True):
        wanted = counterfactual.example
        assert example.group == "critical"
        assert (example.id, example.context, example.answer) == (wanted.id, wanted.context, wanted.answer)
    again = open_data(out_of(file), file.mapping)
    for counterfactual in made.counterfactuals:
        row = again.rows[counterfactual.example.id]
        assert row["origin"] == counterfactual.origin
        assert (row["old_answer"], row["new_answer"]) == (counterfactual.old_answer, counterfactual.new_answer)
        said = Text(
            "\n\n".join(texts_in({key: value for key, value in row.items() if key not in ("old_answer", "origin")}))
        )
        assert not list(said.mentions(as_name(counterfactual.old_answer)))


def test_a_row_that_names_the_answer_elsewhere_is_refused(tmp_path):
    rows = messages()
    rows[0]["messages"][3]["content"] = "So Mary Shelley it was."
    (tmp_path / "m.json").write_text(json.dumps(rows))
    file = open_data(tmp_path / "m.json", {"context": "Passage:"})
    made = augment(file.examples, 0.4, elsewhere=file.elsewhere())
    assert made.reasons == {"its answer is named elsewhere in its row": 1}


def test_the_kind_of_file_stays(file, tmp_path):
    other = tmp_path / "new.parquet"
    with pytest.raises(AttnshiftError, match=r"new\.parquet doesn't end as"):
        file.write(other)
    with pytest.raises(AttnshiftError, match="can't be written"):
        file.write(tmp_path / "nowhere" / out_of(file).name)
