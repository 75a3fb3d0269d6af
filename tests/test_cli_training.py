"""split, augment, overlap and finetune from the command line."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from test_cli import Command, is_one_block
from test_cli import attnshift as attnshift  # the fixture
from tiny import alpaca_rows

from attnshift import load_examples

sys.path.insert(0, str(Path(__file__).parent / "training"))

from made import base_of, city_rows, data_of, write

FAST = ("--steps", 2, "--batch-size", 8, "--saves", 1, "--device", "cpu", "--template", "plain")


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    return base_of(tmp_path_factory.mktemp("cli") / "base")


@pytest.fixture
def files(tmp_path) -> tuple[Path, Path]:
    return data_of(tmp_path)


def test_split_writes_groups_into_the_same_rows(attnshift: Command, base, files, tmp_path):
    out = tmp_path / "split.json"
    done = attnshift("split", "--model", base, "--data", files[0], "-o", out, "--device", "cpu")
    assert done.code == 0, done.err
    assert "24 critical, 8 non_critical, 8 no_context" in done.out
    assert "score sum" in done.out
    assert "Jaccard" in done.out
    rows = json.loads(out.read_text())
    columns = ("group", "closed_book_loss", "closed_book_rank")
    assert [{k: v for k, v in row.items() if k not in columns} for row in rows] == city_rows()
    assert [e.group for e in load_examples(out)].count("non_critical") == 8
    again = attnshift("split", "--model", base, "--data", out, "-o", tmp_path / "two.json", "--device", "cpu", "--json")
    assert again.json["auc_of_given_groups"] == 1.0
    assert again.json["sizes"] == {"critical": 24, "non_critical": 8, "no_context": 8}


def test_augment_adds_rows_and_says_what_it_refused(attnshift: Command, files, tmp_path):
    out = tmp_path / "more.json"
    done = attnshift("augment", "--data", files[0], "--ratio", 0.2, "-o", out, "--json")
    assert (done.json["made"], done.json["wanted"], done.json["ratio"]) == (10, 10, 0.2)
    rows = json.loads(out.read_text())
    assert rows[:40] == city_rows()
    assert all(row["output"] == row["new_answer"] and row["old_answer"] not in row["input"] for row in rows[40:])
    told = attnshift("augment", "--data", files[0], "--ratio", 0.6, "-o", out)
    assert "60 counterfactual examples of 60 that were wanted, beside 40: 60.0% of the training set" in told.out
    wordy = write(tmp_path / "wordy.json", [*city_rows(), *alpaca_rows()])
    told = attnshift("augment", "--data", wordy, "--ratio", 0.5, "-o", out)
    assert "examples were refused" in told.out


def test_overlap_drops_rows_and_lists_them(attnshift: Command, files, tmp_path):
    item = {
        "context": "c",
        "question": "Where was Person3 born?",
        "context_answer": "Bonn",
        "parametric_answer": "Bern",
    }
    items, out = write(tmp_path / "items.json", [item]), tmp_path / "fewer.json"
    done = attnshift("overlap", "--data", files[0], "--conflicts", items, "-o", out)
    assert "39 examples kept, 1 dropped" in done.out
    assert len(json.loads(out.read_text())) == 39
    dropped = [json.loads(line) for line in (tmp_path / "fewer.dropped.jsonl").read_text().splitlines()]
    assert [(row["id"], row["reason"]) for row in dropped] == [("cities:4", "names 'Person3' (question of items:1)")]
    assert dropped[0]["mentions"][0]["found"] == "Person3"


def test_finetune_leaves_a_run(attnshift: Command, base, files, tmp_path):
    run = tmp_path / "run"
    command = ("finetune", "--base", base, "--data", files[0], "--conflicts", files[1], "-o", run, *FAST)
    done = attnshift(*command)
    assert done.code == 0, done.err
    assert done.out.splitlines()[0] == f"run: {run}"
    assert "step 2/2 · loss" in done.err
    inspected = attnshift("inspect", run, "--json").json
    assert [c["step"] for c in inspected["checkpoints"]] == [0, 2]
    assert inspected["manifest"]["arm"] == "full"
    assert "is complete" in attnshift(*command).err
    assert is_one_block(attnshift(*command, "--seed", 1), "holds a finetuning with other seed")


@pytest.mark.parametrize(
    ("arguments", "quoted"),
    [
        (("finetune", "--arm", "half"), "there is no arm 'half'"),
        (("finetune", "--arm", "no-overlap"), "needs conflict items"),
        (("finetune", "--template", "chat"), "the tokenizer has no chat template"),
        (("finetune", "--max-length", 6), "window of 6"),
        (("finetune", "--base", "no/such"), "no/such"),
        (("finetune", "--fraction", 2), "the fraction is 2.0"),
        (("split", "--by", "luck"), "by 'luck'"),
        (("split", "--model", "no/such"), "no/such"),
        (("augment", "--ratio", 1), "the ratio is 1.0"),
        (("overlap", "--names", "none"), "items have no names from 'none'"),
    ],
)
def test_bad_input_is_one_block(arguments, quoted, attnshift: Command, base, files, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    command, *options = arguments
    usual = {
        "finetune": ("--base", base, "--data", files[0], "-o", tmp_path / "run", *FAST),
        "split": ("--model", base, "--data", files[0], "-o", tmp_path / "o.json", "--device", "cpu"),
        "augment": ("--data", files[0], "-o", tmp_path / "o.json"),
        "overlap": ("--data", files[0], "--conflicts", files[1], "-o", tmp_path / "o.json"),
    }
    assert is_one_block(attnshift(command, *usual[command], *options), quoted)
    assert not (tmp_path / "run").exists()
    assert not (tmp_path / "o.json").exists()


def test_data_without_contexts_is_one_block(attnshift: Command, base, tmp_path):
    data = write(tmp_path / "bare.json", [{"instruction": f"Say {i}.", "output": str(i)} for i in range(9)])
    split = attnshift("split", "--model", base, "--data", data, "-o", tmp_path / "o.json", "--device", "cpu")
    assert is_one_block(split, "none of the 9 examples has a context", "--map context=passage")
    for arm in ("context-only", "critical", "random-drop", "augmented"):
        done = attnshift("finetune", "--base", base, "--data", data, "-o", tmp_path / "run", "--arm", arm, *FAST)
        assert is_one_block(done, "has a context")


def test_the_form_of_the_file_stays(attnshift: Command, files, tmp_path):
    done = attnshift("augment", "--data", files[0], "--ratio", 0.2, "-o", tmp_path / "o.csv")
    assert is_one_block(done, "o.csv doesn't end as cities.json does", "o.json")
