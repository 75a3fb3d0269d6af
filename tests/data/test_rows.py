"""Files of every kind give the same rows, and broken ones say where they are broken."""

import csv
import io
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attnshift.data.rows import csv_text, read_rows
from attnshift.errors import AttnshiftError

ROWS = [{"question": "Who?", "answer": "Ada"}, {"question": "Wo, „hier“?\r\n\u2028", "answer": 'say "yes"'}]


def write_csv(path, rows):
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def write_rows(path, rows):
    match path.suffix:
        case ".csv":
            write_csv(path, rows)
        case ".json":
            path.write_bytes(json.dumps(rows, ensure_ascii=False).encode())
        case _:
            path.write_bytes("\n".join(json.dumps(row, ensure_ascii=False) for row in rows).encode())


@pytest.mark.parametrize("name", ["a.json", "a.jsonl", "a.ndjson", "a.csv", "A.JSON"])
def test_every_kind_of_file_gives_the_same_rows(tmp_path, name):
    write_rows(tmp_path / name, ROWS)
    assert read_rows(tmp_path / name) == ROWS
    assert read_rows(str(tmp_path / name)) == ROWS


@pytest.mark.parametrize("suffix", [".json", ".jsonl", ".csv"])
def test_a_byte_order_mark_is_no_part_of_the_first_column(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    write_rows(path, ROWS)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert read_rows(path) == ROWS


@pytest.mark.parametrize(
    "text",
    [
        json.dumps({"version": "1", "tags": [1, 2], "data": ROWS}),
        "\n\n".join(map(json.dumps, ROWS)) + "\n",
        "\r\n".join(map(json.dumps, ROWS)),
    ],
    ids=["wrapped", "json lines", "json lines from Windows"],
)
def test_json_that_is_not_a_bare_list(tmp_path, text):
    path = tmp_path / "a.json"
    path.write_bytes(text.encode())
    assert read_rows(path) == ROWS


def test_csv_fields_may_be_longer_than_pythons_limit(tmp_path):
    limit = csv.field_size_limit()
    rows = [{"context": "long " * limit, "question": "Who?"}]
    write_csv(tmp_path / "a.csv", rows)
    assert read_rows(tmp_path / "a.csv") == rows
    assert csv.field_size_limit() == limit


def test_csv_from_spreadsheets_and_pandas(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b",question , answer,group\r\n0,Who?,Ada\r\n\r\n1,Where?,Here,critical\r\n")
    assert read_rows(path) == [
        {"question": "Who?", "answer": "Ada", "group": ""},
        {"question": "Where?", "answer": "Here", "group": "critical"},
    ]


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.json", b"", "no rows"),
        ("a.json", b" \n", "no rows"),
        ("a.json", b"[]", "no rows"),
        ("a.jsonl", b"\n\n", "no rows"),
        ("a.csv", b"question,answer\n", "no rows"),
        ("a.json", b'[{"a": 1},\n {"a": }]', "line 2: not valid JSON"),
        ("a.json", b'[{"a": 1}]\n]', "line 2: not valid JSON"),
        ("a.json", b'{"a": 1}\n{"a": 2}\n{"a"', "line 3: not valid JSON"),
        ("a.jsonl", b'{"a": 1}\n\n{"a": }', "line 3: not valid JSON"),
        ("a.json", b"[" * 100_000, "not valid JSON"),
        ("a.json", b"[{" + b'"a": ' + b"1" * 5000 + b"}]", "not valid JSON"),
        ("a.json", b'[{"a": 1}, 2]', "row 2: 2 is not an object"),
        ("a.jsonl", b'{"a": 1}\n[1]', "row 2: [1] is not an object"),
        ("a.json", b'"text"', "no list of objects in 'text'"),
        ("a.json", b'{"a": 1}', "no list of objects"),
        ("a.json", b'{"a": [{"x": 1}], "b": [{"x": 1}]}', "several lists of objects: 'a', 'b'"),
        ("a.json", b'[{"a": "x"},\n {"a": "caf\xe9"}]', "line 2: the byte 0xe9 is not UTF-8"),
        ("a.csv", "a,b\nx,y".encode("utf-16"), "line 1: the byte 0xff is not UTF-8"),
        ("a.csv", b",,\n1,2,3", "is no header"),
        ("a.csv", b"yes,yes,no\n1,2,3", "is no header"),
        ("a.csv", b"a,b\n1,2\n1,2,3", "line 3: 3 fields under 2 column names"),
        ("a.csv", b'a,b\n1,"2\n3,4\n', "not valid csv"),
        ("a.xlsx", b"PK\xff", "files ending in '.xlsx'"),
        ("a", b"{}", "files ending in ''"),
    ],
)
def test_broken_files_are_told_with_the_place(tmp_path, name, content, told):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(AttnshiftError) as raised:
        read_rows(path)
    assert told in str(raised.value)
    assert str(path) in str(raised.value)
    assert "expected: " in str(raised.value)


def test_no_file_and_a_folder(tmp_path):
    with pytest.raises(AttnshiftError, match=r"there is no file .*gone\.json"):
        read_rows(tmp_path / "gone.json")
    with pytest.raises(AttnshiftError, match="is a folder without state"):
        read_rows(tmp_path)


@settings(deadline=None)  # files, on a machine that may be busy
@given(st.binary(max_size=60), st.sampled_from([".json", ".jsonl", ".csv"]))
def test_any_bytes_give_rows_or_an_error(tmp_path_factory, content, suffix):
    path = tmp_path_factory.getbasetemp() / f"bytes{suffix}"
    path.write_bytes(content)
    try:
        rows = read_rows(path)
    except AttnshiftError:
        return
    assert rows
    assert all(isinstance(row, dict) for row in rows)


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@settings(deadline=None)  # files, on a machine that may be busy
@given(st.lists(st.fixed_dictionaries({"question": TEXT, "answer": TEXT.map("x".__add__)}), min_size=1, max_size=5))
def test_whatever_the_text_holds_json_jsonl_and_csv_agree(tmp_path_factory, rows):
    for suffix in (".json", ".jsonl", ".csv"):
        path = tmp_path_factory.getbasetemp() / f"text{suffix}"
        write_rows(path, rows)
        assert read_rows(path) == rows


@given(st.lists(st.lists(TEXT, min_size=2, max_size=2), min_size=1, max_size=4), st.sampled_from(["\n", "\r\n"]))
def test_written_records_are_read_again(records, end):
    assert list(csv.reader(io.StringIO(csv_text(records, end), newline=""), strict=True)) == records
