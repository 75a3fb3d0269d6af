"""What data, names of files and models put into a terminal, a table or a page does nothing there."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest
import typer
from command_line import is_one_block
from hypothesis import given
from hypothesis import strategies as st
from made_traces import made_trace
from tiny import conflict_rows

from attnshift.console.units import visible
from attnshift.errors import AttnshiftError
from attnshift.figures.export import COLUMNS
from attnshift.figures.plot import plot

EVIL = "\x1b]0;owned\x07\x1b[2J\x9b31m\x7f\r\b\x00\u202eabc\u2066"
COMMANDS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
TAG = '</script><script>alert(1)</script><img src=x onerror="alert(2)"><a href="javascript:alert(3)">x</a>'


@pytest.fixture(autouse=True)
def _on_a_terminal(monkeypatch):
    """typer drops colours where nobody looks at a terminal: then a test couldn't see them."""
    real = typer.echo
    monkeypatch.setattr(typer, "echo", lambda *a, **k: real(*a, **k, color=True))


def is_harmless(done) -> bool:
    assert not COMMANDS.search(done.out + done.err)
    assert "1b]0;owned" in done.out + done.err  # it is shown
    return True


@given(st.text())
def test_a_text_is_shown_whole_and_without_commands(text):
    shown = visible(text)
    assert not COMMANDS.search(shown)
    assert re.sub(r"\\u([0-9a-f]{4})", lambda m: chr(int(m[1], 16)), shown) == text or "\\u" in text


@given(st.recursive(st.text() | st.none() | st.integers(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)))
def test_json_stays_the_same_json(value):
    assert json.loads(visible(json.dumps(value, ensure_ascii=False, indent=1))) == value


def test_a_dry_run_shows_prompts_that_command_nothing(command, made, tmp_path):
    rows = [
        {**row, "context": f"{row['context']} {EVIL}", "question": f"{EVIL} {row['question']}"}
        for row in conflict_rows()
    ]
    (tmp_path / "cf.json").write_text(json.dumps(rows))
    words = ("trace", "--ckpts", made("llama"), "--conflicts", tmp_path / "cf.json", "--dry-run")
    done = command(*words)
    assert done.code == 0, done.err
    assert is_harmless(done)
    done = command(*words, "--json")
    assert not COMMANDS.search(done.out)
    assert EVIL.replace("\r", "") in "".join(part["text"] for part in done.json["prompts"]["item"]).replace("\r", "")


@pytest.fixture
def named(made, tmp_path) -> Path:
    """A run in a folder of a dangerous name, with such names and words in it."""
    name = EVIL.replace("\x00", "") + "\nerror: all is lost\n"
    run = Path(shutil.copytree(made("llama"), tmp_path / name))
    (run / "attnshift.json").write_text(json.dumps({"arm": EVIL.replace("\x00", ""), "base": EVIL.replace("\x00", "")}))
    shutil.copytree(run / "checkpoint-2", run / f"other-{name}")
    (run / "checkpoint-9").mkdir()
    (run / "checkpoint-9" / name).touch()
    return run


def test_names_of_folders_command_nothing(command, named):
    assert is_harmless(command("inspect", named))
    done = command("inspect", named, "--json")
    assert not COMMANDS.search(done.out)
    assert done.json["run"] == str(named)
    done = command("inspect", named / "checkpoint-9")
    assert is_one_block(done)
    assert is_harmless(done)


def test_a_failing_checkpoint_is_told_in_a_line(command, named, tmp_path):
    config = named / "checkpoint-4" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"model_type": f"{EVIL}\nerror: all is lost\n"}))
    done = command("trace", "--ckpts", named, "--measures", "margin", "--limit", 2, "--out", tmp_path / "t")
    assert is_harmless(done)
    assert not any(line.startswith("error: all is lost") for line in done.err.splitlines())


def test_bytes_that_are_no_text_in_a_name(command, tmp_path):
    folder = os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe")
    os.mkdir(folder)
    assert is_one_block(command("inspect", folder), "\\udcff\\udcfe")
    assert is_one_block(command("plot", folder, "margin"), "\\udcff")
    assert is_one_block(command("trace", "--ckpts", folder), "\\udcff")


def test_arguments_command_nothing(command):
    for words in (
        (EVIL[1:9],),
        ("inspect", "a", EVIL[1:9]),
        ("plot", "t", "f", f"--{EVIL[1:9]}"),
        ("inspect", "\x1b[2J"),
    ):
        done = command(*words)
        assert done.code == 2
        assert not COMMANDS.search(done.err)


def test_a_traceback_commands_nothing(command, tmp_path):
    done = command("inspect", tmp_path / "\x1b]0;owned", "--debug")
    assert "Traceback" in done.err
    assert is_harmless(done)


FORMULAS = ["=cmd|' /C calc'!A0", "+1+1", "-2+3", "@SUM(1)", "\t=1", "\r=1"]


def test_no_cell_of_a_table_is_a_formula(tmp_path):
    traces = {name: made_trace(seed=i) for i, name in enumerate(FORMULAS)}
    plot(traces, "arms", tmp_path / "x.csv")
    with (tmp_path / "x.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    names = {row["series"] for row in rows}
    assert any("cmd" in name for name in names)
    for row in rows:
        for column, cell in row.items():
            if cell.startswith(("=", "+", "-", "@", "\t", "\r")):
                assert column not in ("series", "axis")
                float(cell)
    assert {row["y"] for row in rows}


def test_a_carriage_return_ends_no_row(tmp_path):
    plot({"a\r=1,2": made_trace(), "b": made_trace(seed=1)}, "arms", tmp_path / "x.csv")
    with (tmp_path / "x.csv").open(newline="", encoding="utf-8") as file:
        assert {len(row) for row in csv.reader(file)} == {len(COLUMNS)}


class Tags(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)


def test_a_figures_page_holds_no_element_of_the_datas(tmp_path):
    pages = []
    for i, name in enumerate(("harmless", TAG)):
        plot({name: made_trace(), "other": made_trace(seed=1)}, "arms", tmp_path / f"{i}.html")
        pages.append((tmp_path / f"{i}.html").read_text(encoding="utf-8"))
    assert Tags(pages[0]).tags == Tags(pages[1]).tags
    assert "alert(1)" in pages[1]


def test_an_error_is_one_line_each():
    error = AttnshiftError("a\nerror: b", expected="c\nd", remedy="e\n  try: f")
    assert str(error).splitlines() == ["a error: b", "  expected: c d", "  try: e   try: f"]
