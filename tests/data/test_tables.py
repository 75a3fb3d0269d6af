"""Parquet files and saved datasets give the rows that were put into them, or say what is wrong."""

import json
import shutil
import sys
from contextlib import suppress
from datetime import date
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from attnshift.checkpoints.manifest import read_manifest
from attnshift.data.datafile import open_data
from attnshift.data.formats import load_examples, load_items
from attnshift.data.rows import read_rows
from attnshift.errors import AttnshiftError

pyarrow = pytest.importorskip("pyarrow")

ITEMS = [
    {"context": f"The capital is {a}.", "question": f"Which capital {i}?", "answer": a, "memory_answer": "Paris"}
    for i, a in enumerate(["Lyon", "Nîmes", "„Pau“"])
]
SQUAD = [
    {
        "id": f"q{i}",
        "context": "Ada wrote it.",
        "question": f"Who {i}?",
        "answers": {"text": ["Ada"], "answer_start": [0]},
    }
    for i in range(4)
]
TURNS = [
    {"messages": [{"role": "user", "content": f"Why {i}?"}, {"role": "assistant", "content": "So."}]} for i in range(3)
]


def parquet(path: Path, rows: list) -> Path:
    from pyarrow import parquet as module

    module.write_table(pyarrow.Table.from_pylist(rows), path)
    return path


def saved(folder: Path, rows: list, shards: int = 1) -> Path:
    """A dataset's folder as save_to_disk lays it out."""
    folder.mkdir(parents=True)
    names = [f"data-{i:05}-of-{shards:05}.arrow" for i in range(shards)]
    for i, name in enumerate(names):
        table = pyarrow.Table.from_pylist(rows[i * len(rows) // shards : (i + 1) * len(rows) // shards])
        with pyarrow.OSFile(str(folder / name), "wb") as sink, pyarrow.ipc.new_stream(sink, table.schema) as stream:
            stream.write_table(table)
    (folder / "dataset_info.json").write_text("{}")
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": name} for name in names]}))
    return folder


def splits(folder: Path, **rows: list) -> Path:
    for name, part in rows.items():
        saved(folder / name, part)
    (folder / "dataset_dict.json").write_text(json.dumps({"splits": list(rows)}))
    return folder


@pytest.mark.parametrize("rows", [ITEMS, SQUAD, TURNS], ids=["items", "squad", "messages"])
@pytest.mark.parametrize("shards", [1, 2])
def test_rows_as_they_were(tmp_path, rows, shards):
    assert read_rows(parquet(tmp_path / "a.parquet", rows)) == rows
    assert read_rows(saved(tmp_path / "a", rows, shards)) == rows
    assert read_rows(f"{splits(tmp_path / 'b', train=rows, test=rows[:1])}#train") == rows
    assert read_rows(f"{tmp_path / 'b'}#test") == rows[:1]


def test_the_datasets_library_itself(tmp_path):
    """Its features, indices after a selection, shards and splits."""
    datasets = pytest.importorskip("datasets")
    whole = datasets.Dataset.from_list(SQUAD)
    whole.select([3, 0, 1]).save_to_disk(tmp_path / "chosen", num_shards=2)
    assert read_rows(tmp_path / "chosen") == [SQUAD[3], SQUAD[0], SQUAD[1]]
    datasets.DatasetDict({"train": whole, "test": whole.select([2])}).save_to_disk(tmp_path / "both")
    assert read_rows(tmp_path / "both#test") == [SQUAD[2]]
    whole.to_parquet(tmp_path / "a.parquet")
    assert read_rows(tmp_path / "a.parquet") == SQUAD
    with pytest.raises(AttnshiftError, match="2 splits: train, test"):
        read_rows(tmp_path / "both")


def test_items_and_examples(tmp_path):
    plain = tmp_path / "plain.json"
    plain.write_text(json.dumps(ITEMS))
    items = load_items(parquet(tmp_path / "plain.parquet", ITEMS))
    assert items == load_items(plain)
    assert [item.id for item in load_items(saved(tmp_path / "cf", ITEMS))] == ["cf:1", "cf:2", "cf:3"]
    assert load_items(f"{splits(tmp_path / 'd', train=ITEMS)}#train")[0].stratum == "d#train"
    assert load_examples(saved(tmp_path / "squad", SQUAD))[0].answer == "Ada"
    assert load_examples(parquet(tmp_path / "turns.parquet", TURNS))[2].question == "Why 2?"


def test_a_missing_value_is_none(tmp_path):
    assert read_rows(parquet(tmp_path / "a.parquet", [{"a": None, "b": 1}, {"a": "x", "b": None}]))[0]["a"] is None


# What can't be read


def refusal(path) -> AttnshiftError:
    with pytest.raises(AttnshiftError) as raised:
        read_rows(path)
    assert str(raised.value).count("\n") <= 3
    return raised.value


def test_a_split_has_to_be_named(tmp_path):
    folder = splits(tmp_path / "d", train=ITEMS, validation=ITEMS)
    assert "2 splits: train, validation" in refusal(folder).problem
    assert refusal(folder).remedy.endswith(f"{folder}#train")
    assert "no split 'test'" in refusal(f"{folder}#test").problem
    assert "train, validation" in refusal(f"{folder}#test").expected
    assert "has no splits" in refusal(f"{saved(tmp_path / 's', ITEMS)}#train").problem
    assert "there is no file" in refusal(f"{tmp_path}/gone#train").problem


def test_a_name_that_holds_the_mark_itself(tmp_path):
    assert read_rows(saved(tmp_path / "a#b", ITEMS)) == ITEMS
    (tmp_path / "c#d.json").write_text(json.dumps(ITEMS))
    assert read_rows(tmp_path / "c#d.json") == ITEMS


def test_a_folder_of_files(tmp_path):
    assert "without state.json" in refusal(tmp_path).problem
    parquet(tmp_path / "train-00000-of-00001.parquet", ITEMS)
    assert "train-00000-of-00001.parquet" in refusal(tmp_path).remedy


def test_pyarrow_is_asked_for_where_it_is_needed(tmp_path, monkeypatch):
    path = parquet(tmp_path / "a.parquet", ITEMS)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert "pip install 'attnshift[data]'" in refusal(path).remedy


@pytest.mark.parametrize("name", ["../out.arrow", "/etc/passwd", "a/b.arrow", "link.arrow", ".."])
def test_a_dataset_stays_in_its_folder(tmp_path, name):
    folder, outside = saved(tmp_path / "d", ITEMS), saved(tmp_path / "o", ITEMS)
    shutil.copy(next(outside.glob("*.arrow")), tmp_path / "out.arrow")
    (folder / "link.arrow").symlink_to("../out.arrow")
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": name}]}))
    assert "leaves it" in refusal(folder).problem
    (tmp_path / "s").mkdir()
    (tmp_path / "s/dataset_dict.json").write_text(json.dumps({"splits": ["../o"]}))
    assert refusal(f"{tmp_path / 's'}#../o").problem


def test_a_manifests_dataset_stays_in_the_run(tmp_path):
    run, outside = tmp_path / "run", splits(tmp_path / "outside", train=ITEMS)
    splits(run / "data", train=ITEMS)
    (run / "link").symlink_to(outside)
    (run / "attnshift.json").write_text(json.dumps({"conflicts": "data#train"}))
    assert load_items(read_manifest(run).conflicts[0])[0].context_answer == "Lyon"
    for name in ("link#train", "../outside#train"):
        (run / "attnshift.json").write_text(json.dumps({"conflicts": name}))
        with pytest.raises(AttnshiftError, match="leaves"):
            read_manifest(run)


@pytest.mark.parametrize(
    "content", ["", "{}", "[]", '{"_data_files": []}', '{"_data_files": [{"filename": 3}]}', "[" * 9999]
)
def test_a_damaged_state(tmp_path, content):
    (saved(tmp_path / "d", ITEMS) / "state.json").write_text(content)
    assert "state.json can't be read" in refusal(tmp_path / "d").problem


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(kept=st.floats(0, 1, exclude_max=True), junk=st.binary(max_size=50))
@pytest.mark.parametrize("kind", ["parquet", "arrow"])
def test_damaged_tables(tmp_path_factory, kind, kept, junk):
    at = tmp_path_factory.mktemp("damaged")
    path = parquet(at / "a.parquet", ITEMS) if kind == "parquet" else saved(at / "a", ITEMS)
    file = path if kind == "parquet" else next(path.glob("*.arrow"))
    content = file.read_bytes()
    file.write_bytes(content[: int(kept * len(content))] + junk)
    with suppress(AttnshiftError):
        assert all(isinstance(row, dict) for row in read_rows(path))


# Written again


def test_a_table_is_written_again_as_json_lines(tmp_path):
    rows = [{**row, "day": date(2024, 1, i + 1)} for i, row in enumerate(SQUAD)]
    file = open_data(parquet(tmp_path / "a.parquet", rows))
    with pytest.raises(AttnshiftError, match=r"b\.parquet doesn't end as a\.parquet does") as raised:
        file.check_name(tmp_path / "b.parquet")
    assert raised.value.remedy == f"-o {tmp_path / 'b.jsonl'}"
    out = file.write(tmp_path / "b.jsonl", columns={"q1": {"group": "critical"}}, dropped=["q0"])
    written = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["id"] for row in written] == ["q1", "q2", "q3"]
    assert written[0]["group"] == "critical"
    assert written[0]["answers"] == SQUAD[1]["answers"]
    assert written[0]["day"] == "2024-01-02"
    assert [example.id for example in load_examples(out)] == ["q1", "q2", "q3"]
