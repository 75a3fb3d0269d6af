"""Data files of any content: rows, items, examples, results and scores, or one clear error."""

from __future__ import annotations

import csv
import datetime
import io
import json
from pathlib import Path

import pytest
from fuzzing import ODD_JSON, TEXT, as_json, broken, fuzz, json_values, result_or_error
from hypothesis import example, given
from hypothesis import strategies as st
from made_stores import made_store

from attnshift.data.conflicts import ITEM_FORMATS
from attnshift.data.datafile import open_data
from attnshift.data.formats import load_examples, load_items
from attnshift.data.instructions import EXAMPLE_FORMATS
from attnshift.data.items import Example, Item
from attnshift.data.rows import read_rows
from attnshift.tracing.benchmarks import read_benchmarks
from attnshift.tracing.results import COLUMNS, load_results

SUFFIXES = st.sampled_from([".json", ".jsonl", ".ndjson", ".csv", ".parquet", ".JSON", ""])
WORDS = sorted({column for columns in (*ITEM_FORMATS, *EXAMPLE_FORMATS) for column in columns})
INNER = [
    "input",
    "role",
    "from",
    "content",
    "value",
    "paragraphs",
    "qas",
    "text",
    "data",
    "id",
    "group",
    "split",
    "stratum",
]
RESULTS = sorted({name for names in COLUMNS.values() for name in names})
NAMES = st.sampled_from([*WORDS, *INNER, *RESULTS, "context_aliases", "mmlu"]) | TEXT
ROWS = st.lists(st.dictionaries(NAMES, json_values(NAMES, 8), max_size=9), max_size=4)
MAPPINGS = st.none() | st.dictionaries(st.sampled_from(["context", "question", "answer", "id", "x"]), NAMES, max_size=2)
ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32", "latin-1", "cp1252", "utf-7", "shift_jis", "cp037"]
PLAIN = [{"context": "Grüße aus Łódź.", "question": "Wo?", "answer": "Łódź", "memory_answer": "東京"}] * 2


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def trace(tmp_path_factory) -> Path:
    return made_store(tmp_path_factory.mktemp("trace") / "t", {0: ["Lyon"], 50: ["Paris"]}).path


def read_all(path: Path, trace: Path, mapping: dict[str, str] | None = None) -> None:
    """Every reader of data files; what they return is what they say."""
    rows = result_or_error(read_rows, path)
    assert rows is None or (rows and all(isinstance(row, dict) for row in rows))
    for load, kind in ((load_items, Item), (load_examples, Example)):
        found = result_or_error(load, path, mapping)
        assert found is None or (found and all(isinstance(each, kind) for each in found))
    result_or_error(load_results, [path], mapping)
    result_or_error(read_benchmarks, trace, path)
    if (file := result_or_error(open_data, path, mapping)) is not None:
        result_or_error(file.elsewhere)
        copy = path.with_name(f"copy{path.suffix}")
        columns = {each.id: {"group": "critical"} for each in file.examples}
        if result_or_error(file.write, copy, columns=columns) is not None:
            again = result_or_error(load_examples, copy, mapping)
            assert again is not None
            assert [each.question for each in again] == [each.question for each in file.examples]


@fuzz(30)
@given(st.binary(max_size=80) | ODD_JSON.map(str.encode), SUFFIXES)
def test_any_bytes(folder, trace, content, suffix):
    path = folder / f"bytes{suffix}"
    path.write_bytes(content)
    read_all(path, trace)


@fuzz(30)
@given(ROWS | json_values(NAMES), MAPPINGS, st.sampled_from([".json", ".jsonl"]))
def test_any_json(folder, trace, document, mapping, suffix):
    path = folder / f"json{suffix}"
    several = suffix == ".jsonl" and isinstance(document, list)
    path.write_text("\n".join(map(as_json, document)) if several else as_json(document))
    read_all(path, trace, mapping)


@fuzz(30)
@given(st.lists(st.lists(TEXT | st.sampled_from([*WORDS, *RESULTS]), max_size=5), max_size=5), MAPPINGS)
@example([["question", "answer"], ["a\rb", "c"]], None)
def test_any_csv(folder, trace, records, mapping):
    path = folder / "any.csv"
    text = io.StringIO(newline="")
    csv.writer(text).writerows(records)
    path.write_bytes(text.getvalue().encode("utf-8", "surrogatepass"))
    read_all(path, trace, mapping)


@fuzz(30)
@given(
    st.sampled_from(ENCODINGS), st.sampled_from(ENCODINGS), SUFFIXES, st.sampled_from(["", "\ufeff", "\ufeff\ufeff"])
)
def test_mixed_encodings_and_marks(folder, trace, first, second, suffix, mark):
    path = folder / f"encoded{suffix}"
    header = "context,question,answer,memory_answer\r\n" if suffix == ".csv" else ""
    lines = [",".join(row.values()) if suffix == ".csv" else json.dumps(row, ensure_ascii=False) for row in PLAIN]
    parts = [(mark + header + lines[0] + "\n").encode(first, "replace"), lines[1].encode(second, "replace")]
    path.write_bytes(b"".join(parts))
    read_all(path, trace)


def arrow_values() -> st.SearchStrategy:
    import pyarrow as pa

    simple = {
        pa.string(): TEXT.filter(lambda text: "\ud800" not in text),
        pa.large_string(): st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
        pa.int64(): st.integers(-(2**63), 2**63 - 1),
        pa.float64(): st.floats(),
        pa.bool_(): st.booleans(),
        pa.binary(): st.binary(max_size=5),
        pa.timestamp("ns"): st.integers(-(2**63), 2**63 - 1),
        pa.timestamp("s", "Europe/Nowhere"): st.integers(-(2**40), 2**40),
        pa.duration("us"): st.integers(-(2**63), 2**63 - 1),
        pa.date32(): st.integers(-(2**31), 2**31 - 1),
        pa.time64("us"): st.integers(0, 10**10),
        pa.decimal128(38, 2): st.decimals(
            allow_nan=False, allow_infinity=False, places=2, max_value=10**20, min_value=0
        ),
        pa.null(): st.none(),
    }

    def column(draw) -> pa.Array:
        kind = draw(st.sampled_from(list(simple)))
        values = draw(st.lists(st.none() | simple[kind], min_size=2, max_size=2))
        made = pa.array(values, kind)
        how = draw(st.sampled_from(["plain", "plain", "list", "struct", "map", "dictionary"]))
        if how == "list":
            return pa.ListArray.from_arrays([0, 1, 2], made)
        if how == "struct":
            return pa.StructArray.from_arrays([made], ["text"])
        if how == "map":
            return pa.MapArray.from_arrays([0, 1, 2], pa.array(["a", "b"]), made)
        return made.dictionary_encode() if how == "dictionary" and kind != pa.null() else made

    return st.composite(column)()


@fuzz(30)
@given(st.data())
def test_any_table(folder, trace, data):
    import pyarrow as pa
    from pyarrow import parquet

    names = data.draw(st.lists(NAMES.filter(lambda n: "\ud800" not in n), min_size=1, max_size=5))
    table = pa.Table.from_arrays([data.draw(arrow_values()) for _ in names], names)
    path = folder / "any.parquet"
    try:
        parquet.write_table(table, path)
    except (pa.ArrowException, ValueError):
        return
    read_all(path, trace)


@pytest.fixture(scope="module")
def tables(folder) -> dict[str, bytes]:
    import pyarrow as pa
    from pyarrow import parquet

    table = pa.Table.from_pylist(PLAIN)
    parquet.write_table(table, folder / "whole.parquet")
    with pa.OSFile(str(folder / "whole.arrow"), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    return {suffix: (folder / f"whole.{suffix}").read_bytes() for suffix in ("parquet", "arrow")}


@fuzz(30)
@given(st.data())
def test_damaged_tables(folder, trace, tables, data):
    path = folder / "damaged.parquet"
    path.write_bytes(data.draw(broken(tables["parquet"])))
    read_all(path, trace)
    saved = folder / "saved"
    saved.mkdir(exist_ok=True)
    (saved / "data.arrow").write_bytes(data.draw(broken(tables["arrow"])))
    (saved / "state.json").write_text('{"_data_files": [{"filename": "data.arrow"}]}')
    read_all(saved, trace)


@fuzz(30)
@given(
    json_values(st.sampled_from(["_data_files", "filename", "splits"])) | ODD_JSON,
    st.sampled_from(["state.json", "dataset_dict.json"]),
    st.sampled_from(["", "#train", "#", "#../saved2", "#\x00"]),
)
def test_saved_datasets_of_any_description(folder, trace, tables, said, name, split):
    saved = folder / "saved2"
    saved.mkdir(exist_ok=True)
    for other in ("state.json", "dataset_dict.json"):
        (saved / other).unlink(missing_ok=True)
    (saved / "data.arrow").write_bytes(tables["arrow"])
    (saved / name).write_bytes((said if isinstance(said, str) else as_json(said)).encode("utf-8", "surrogatepass"))
    result_or_error(read_rows, Path(f"{saved}{split}"))


def test_dates_and_bytes_are_no_text(folder):
    import pyarrow as pa
    from pyarrow import parquet

    rows = [{"question": "When?", "answer": datetime.date(2020, 1, 1)}, {"question": "Where?", "answer": None}]
    parquet.write_table(pa.Table.from_pylist(rows), folder / "dates.parquet")
    assert result_or_error(load_examples, folder / "dates.parquet") is None
