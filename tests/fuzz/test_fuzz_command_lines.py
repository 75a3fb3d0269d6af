"""Command lines of any words: they end with 0, 1 or 2, in a line or one short block, and never in a traceback."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from fuzzing import fuzz, result_or_error
from hypothesis import given
from hypothesis import strategies as st
from made_stores import made_store
from tiny import conflict_rows

from attnshift.cli.choices import chosen_steps, read_seeds

COMMANDS = ["inspect", "trace", "plot", "report", "rescore", "compare", "ingest", "split", "augment",
          "overlap", "doctor", "patch", "graft", "theory", "demo", "finetune", "nonsense", ""]  # fmt: skip
OPTIONS = ["--ckpts", "--conflicts", "--ift", "--out", "-o", "--measures", "--steps", "--every", "--limit",
          "--template", "--map", "--tokenizer", "--rows", "--device", "--dtype", "--max-new-tokens",
          "--token-budget", "--seed", "--json", "--dry-run", "--with", "--width", "--smooth", "--list",
          "--source", "--target", "--data", "--model", "--debug", "--help", "--benchmark-csv", "--controls",
          "--arm", "--seeds", "--steps", "--nonsense", "--", "-"]  # fmt: skip
VALUES = ["RUN", "TRACE", "DATA", "NOWHERE", "RUN/checkpoint-2", "TRACE/inputs.nc", "margin", "inversion",
          "0,2", "2-", "9" * 400, "-1", "0", "1", "nan", "", " ", "a=b", "=", "x=RUN", "TRACE@peak",
          "TRACE@2", "plain", "chat", "cpu", "float32", "meta", "float99", "answer", "last", "x.json",
          "x.csv", "/dev/null", "/proc/1/mem", "\ud800", "é", "../..", "~", "*", "#train",
          "question=context", "critical-only"]  # fmt: skip
# Nothing here may begin a training or a trace that computes; those that prepare one are told not to.
TAMED = {
    "trace": ["--dry-run"],
    "demo": ["--arm", "nonsense"],
    "finetune": ["--arm", "nonsense"],
    "patch": ["--limit", "0"],
    "graft": ["--limit", "0"],
    "split": ["--model", "NOWHERE"],
}


@pytest.fixture(scope="module")
def places(made, tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("words")
    (folder / "data.json").write_text(json.dumps(conflict_rows(3)))
    texts = {0: [" Paris"] * 4, 2: [" Lyon"] * 4}
    return {
        "RUN": Path(shutil.copytree(made("llama"), folder / "run")),
        "TRACE": made_store(folder / "trace", texts).path,
        "DATA": folder / "data.json",
        "NOWHERE": folder / "nowhere",
    }


@fuzz(60)
@given(st.sampled_from(COMMANDS), st.lists(st.sampled_from([*OPTIONS, *VALUES, *VALUES]), max_size=6))
def test_any_words(command, places, tmp_path, monkeypatch, name, words):
    monkeypatch.chdir(tmp_path)
    given_words = [name, *TAMED.get(name, ()), *words] if name else words
    for short, place in places.items():
        given_words = [word.replace(short, str(place)) for word in given_words]
    done = command(*given_words)
    assert done.code in (0, 1, 2), given_words
    assert "this is a bug" not in done.err, (given_words, done.err)
    assert "Traceback" not in done.err or "--debug" in words
    if done.code == 2:
        assert done.err.strip()
        assert done.out == "" or "--json" in words
    shutil.rmtree(tmp_path)
    tmp_path.mkdir()


@fuzz(60)
@given(st.sampled_from(["steps", "seeds"]), st.text(alphabet="0123456789-, ٣x", max_size=10))
def test_any_list_of_steps_and_seeds(kind, text):
    wanted = (read_seeds, text) if kind == "seeds" else (chosen_steps, text, None, (0, 5, 10))
    found = result_or_error(*wanted)
    assert found is None or all(isinstance(each, int) for each in found)
