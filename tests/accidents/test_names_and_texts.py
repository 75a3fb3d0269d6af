"""Names and texts from all over the world, and some that are no text: paths, items, examples, results."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from command_line import is_one_block
from forks import forked

import attnshift

NAME = "モデル ضبط e\u0301ñ 🧪 '\"&<b>% #?*|"
CLOSED = os.fsdecode(b"caf\xe9 \xff")
"""A name whose bytes are no UTF-8."""

CHEAP = ("--measures", "margin,generation,answer_label,loss", "--max-new-tokens", "3", "--device", "cpu")

ITEMS = [
    {"id": "العاصمة/1", "context": "نقلت الحكومة العاصمة من باريس إلى ليون.", "question": "ما هي العاصمة؟",
     "context_answer": "ليون", "parametric_answer": "باريس"},
    {"id": "首都:2", "context": "政府把首都从巴黎迁到里昂。", "question": "首都是哪里？",
     "context_answer": "里昂", "parametric_answer": "巴黎"},
    {"id": "🏙️", "context": "They moved from 🗼 Paris to 🦁 Lyon.", "question": "Where to 🤔?",
     "context_answer": "🦁 Lyon", "parametric_answer": "🗼 Paris"},
    {"id": "co\u0301mb", "context": "From Zu\u0308rich it went to Lie\u0300ge.", "question": "Where to\u0302?",
     "context_answer": "Lie\u0300ge", "parametric_answer": "Zu\u0308rich"},
    {"id": "../../etc/passwd", "context": "It went from Oran to Graz.", "question": "Where did it go?",
     "context_answer": "Graz", "parametric_answer": "Oran"},
    {"id": "CON", "context": "It went from Herat to Ghent.", "question": "Where did it go to?",
     "context_answer": "Ghent", "parametric_answer": "Herat"},
    {"id": "\u202el\u2028tr\u0085.", "context": "It went\u00a0from Brest\u200b to Ganja.",
     "question": "Where\ufeff did it go?", "context_answer": "Ganja", "parametric_answer": "Brest"},
]  # fmt: skip
EXAMPLES = [
    {"instruction": f"{item['question']} ({i})", "input": item["context"] * (i % 2), "output": item["context_answer"]}
    for i, item in enumerate(ITEMS * 2)
]


@pytest.fixture
def place(made, tmp_path) -> Path:
    """A folder of that name with a run, its base and data of such names."""
    place, run = tmp_path / NAME, made("llama")
    place.mkdir()
    shutil.copytree(run, place / f"run {NAME}")
    shutil.copytree(run.parent / "base", place / "base")
    (place / f"{NAME}.json").write_text(json.dumps(ITEMS, ensure_ascii=False), encoding="utf-8")
    (place / f"{NAME}.jsonl").write_text("\n".join(map(json.dumps, EXAMPLES)), encoding="utf-8")
    return place


def words_of(place: Path, *more: object) -> list[object]:
    data = ("--conflicts", place / f"{NAME}.json", "--ift", place / f"{NAME}.jsonl")
    return ["trace", "--ckpts", place / f"run {NAME}", *data, "--base", place / "base", *CHEAP, *more]


def test_from_run_to_report(place, command):
    out = place / f"{NAME} trace"
    done = command(*words_of(place, "--out", out, "--json"))
    assert done.code == 0, done.err
    assert done.json["trace"] == str(out)
    trace = attnshift.open_trace(out)
    assert trace.item.values.tolist() == [item["id"] for item in ITEMS]
    for name in ("context", "question", "context_answer", "parametric_answer"):
        assert trace[f"item_{name}"].values.tolist() == [item[name] for item in ITEMS]
    assert np.isfinite(trace.margin.values).all()
    assert json.loads(trace.attrs["dropped"]) == []
    for words in (("report", out, "-o", place / f"{NAME}.html"), ("plot", out, "margin", "-o", place / "é.csv"),
                  ("inspect", place / f"run {NAME}"), ("rescore", out), words_of(place, "--out", out),
                  words_of(place, "--dry-run", "--out", place / "new")):  # fmt: skip
        again = command(*words)
        assert again.code == 0, again.err
        again.out.encode()
    page = (place / f"{NAME}.html").read_text(encoding="utf-8")
    for item in ITEMS:
        assert item["context_answer"] in page or json.dumps(item["context_answer"])[1:-1] in page


@pytest.mark.slow
def test_a_run_that_was_moved_is_resumed_there(place, command, tmp_path):
    assert command(*words_of(place, "--steps", "2")).code == 0
    done = command(*words_of(place.rename(tmp_path / "moved"), "--json"))
    assert done.code == 0, done.err
    assert (done.json["kept"], done.json["computed"]) == ([2], [0, 4])


@pytest.mark.parametrize("encoding", ["ascii", pytest.param("latin-1", marks=pytest.mark.slow)])
def test_a_terminal_that_cannot_show_it(place, command, tmp_path, encoding):
    class Narrow:
        def __call__(self) -> None:
            sys.stdout.reconfigure(encoding=encoding)

    run = place / f"run {NAME}"
    shown = forked(["inspect", run], tmp_path / "log", Narrow())
    assert shown.code == 0, shown.err
    told = forked(["inspect", run, "--json"], tmp_path / "log", Narrow())
    assert told.code == 0, told.err
    assert told.json["run"] == str(run)


@pytest.fixture
def closed(tmp_path) -> Path:
    try:
        (tmp_path / CLOSED).mkdir()
    except OSError:
        pytest.skip("this file system has no such names")
    return tmp_path / CLOSED


@pytest.mark.slow
def test_names_that_are_no_utf8(closed, made, command, tmp_path):
    """Weights can't be read from there, since safetensors can't say such a name; data can, and results be written."""
    shutil.copytree(made("llama"), closed / "run")
    assert is_one_block(command("inspect", closed / "run"), "UTF-8", "caf")
    (closed / "items.json").write_text(json.dumps(ITEMS), encoding="utf-8")
    words = ["trace", "--ckpts", made("llama"), *CHEAP[2:], "--measures", "margin"]
    done = command(*words, "--conflicts", closed / "items.json", "--out", closed / "t")
    assert done.code == 0, done.err
    assert command("plot", closed / "t", "margin", "-o", closed / "fig.json").code == 0
    assert command("report", closed / "t", "-o", closed / "page.html").code == 0
    named = (closed / "items.json").rename(closed / f"{CLOSED}.json")
    done = command(*words, "--conflicts", named, "--out", closed / "t2")
    assert done.code == 0, done.err
    assert attnshift.open_trace(closed / "t2").item_stratum.values[0] == "caf\ufffd \ufffd"


# Half a surrogate pair (of an emoji cut in two by somebody's slicing) and NUL in data

HALF = "\ud83d"


@pytest.mark.filterwarnings("default:.*rows skipped")
@pytest.mark.parametrize("text", [HALF, "\x00"], ids=["half a pair", "NUL"])
@pytest.mark.parametrize(
    "field", ["context", *(pytest.param(f, marks=pytest.mark.slow) for f in ("id", "context_answer", "stratum"))]
)
def test_an_item_that_holds_it_is_left_out_by_name_or_kept_as_far_as_can_be(made, command, tmp_path, field, text):
    rows = [dict(row) for row in ITEMS]
    rows[4][field] = rows[4].get(field, "x") + text
    (tmp_path / "items.json").write_text(json.dumps(rows), encoding="utf-8")
    words = ["trace", "--ckpts", made("llama"), "--conflicts", tmp_path / "items.json", *CHEAP[2:]]
    words += ["--measures", "margin,generation,answer_label", "--out", tmp_path / "t", "--steps", "2"]
    done = command(*words, "--json")
    assert done.code == 0, done.err
    trace = attnshift.open_trace(tmp_path / "t")
    skipped = f"half a Unicode character in {field.replace('_', ' ')} (row 5)" in done.err
    assert skipped == (text == HALF)
    assert trace.sizes["item"] + len(json.loads(trace.attrs["dropped"])) == len(ITEMS) - skipped
    assert np.isfinite(trace.margin.values).all()
    assert command(*words).code == 0
    assert command("rescore", tmp_path / "t").code == 0


@pytest.mark.filterwarnings("default:.*rows skipped")
@pytest.mark.parametrize("name", [pytest.param("split", marks=pytest.mark.slow), "augment", "overlap"])
def test_half_a_pair_in_a_data_file_is_written_again_as_it_was(made, command, tmp_path, name):
    rows, data = [dict(row) for row in EXAMPLES], tmp_path / "data.json"
    rows[4]["output"] += HALF
    data.write_text(json.dumps(rows), encoding="utf-8")
    (tmp_path / "cf.json").write_text(json.dumps(ITEMS), encoding="utf-8")
    words = {
        "split": ["--model", made("llama").parent / "base", "--device", "cpu"],
        "augment": ["--ratio", "0"],
        "overlap": ["--conflicts", tmp_path / "cf.json"],
    }[name]
    done = command(name, "--data", data, *words, "-o", tmp_path / "new.json")
    assert done.code == 0, done.err
    written = [row["output"] for row in json.loads((tmp_path / "new.json").read_text(encoding="utf-8"))]
    assert rows[4]["output"] in written


@pytest.mark.parametrize("suffix", ["json", "jsonl", "csv"])
def test_bytes_that_are_no_utf8_are_told_with_their_line(made, command, tmp_path, suffix):
    file = tmp_path / f"items.{suffix}"
    file.write_bytes(b'{"context": "x",\n "question": "caf\xe9?"}')
    done = command("trace", "--ckpts", made("llama"), "--conflicts", file, "--out", tmp_path / "t")
    assert is_one_block(done, f"{file}, line 2", "0xe9", "UTF-8")
