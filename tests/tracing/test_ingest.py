"""Results made elsewhere as a trace: what is stated is kept, what follows is computed, the rest stays missing."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from command_line import is_one_block

import attnshift
from attnshift.measures.label import AnswerLabel

ITEMS = [
    {"id": "a", "context": "Avalon made Lyon its capital.", "question": "What is Avalon's capital?",
     "context_answer": "Lyon", "parametric_answer": "Paris", "stratum": "capitals"},
    {"id": "b", "context": "Dorne made Graz its capital.", "question": "What is Dorne's capital?",
     "context_answer": "Graz", "parametric_answer": "Vienna", "stratum": "capitals"},
]  # fmt: skip
TEXTS = {(0, "a"): " Paris", (0, "b"): " Vienna", (100, "a"): " not Paris but Lyon", (100, "b"): " I don't know"}


def rows(**more) -> list[dict]:
    about = {item["id"]: {name: value for name, value in item.items() if name != "id"} for item in ITEMS}
    told = [{"step": step, "item": item, "generation": text, **about[item]} for (step, item), text in TEXTS.items()]
    return [row | more for row in told]


def write(path: Path, content: list[dict]) -> Path:
    if path.suffix == ".csv":
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(dict.fromkeys(key for row in content for key in row)))
            writer.writeheader()
            writer.writerows(content)
    elif path.suffix == ".jsonl":
        path.write_text("\n".join(map(json.dumps, content)), encoding="utf-8")
    else:
        path.write_text(json.dumps(content), encoding="utf-8")
    return path


@pytest.mark.parametrize("ending", ["json", "jsonl", "csv"])
def test_labels_and_accuracies_follow_from_generations(tmp_path, ending):
    trace = attnshift.ingest([write(tmp_path / f"r.{ending}", rows())], tmp_path / "t")
    assert trace.step.values.tolist() == [0, 100]
    assert trace.item.values.tolist() == ["a", "b"]
    assert trace.answer_label.values.tolist() == [["parametric", "parametric"], ["context", "neither"]]
    assert trace.answer_label.attrs["key"] == AnswerLabel().key
    assert trace.counterfactual_accuracy.values.tolist() == [[0, 0], [1, 0]]
    assert trace.parametric_accuracy.values.tolist() == [[1, 1], [1, 0]]
    assert trace.generation.attrs["key"] == "generation/ingested"
    assert trace.generation.values[1, 0] == " not Paris but Lyon"
    assert trace.item_stratum.values.tolist() == ["capitals"] * 2
    assert trace.item_question.values[0] == ITEMS[0]["question"]
    assert "margin" not in trace
    assert attnshift.open_trace(tmp_path / "t").identical(trace)


def test_margins_follow_from_both_log_probabilities(tmp_path):
    scores = [
        {"step": 5, "item": "a", "logprob_context_answer": -1.5, "logprob_parametric_answer": -4},
        {"step": 5, "item": "b", "logprob_context_answer": -3},
        {"step": 10, "item": "b", "logprob_context_answer": -2, "logprob_parametric_answer": "-1"},
    ]
    trace = attnshift.ingest([write(tmp_path / "r.jsonl", scores)], tmp_path / "t")
    np.testing.assert_array_equal(trace.margin, [[2.5, np.nan], [np.nan, -1]])
    assert trace.margin.attrs == {"unit": "nats", "measure": trace.margin.attrs["measure"], "key": "margin/1"}
    assert not {"generation", "answer_label", "counterfactual_accuracy"} & set(trace.data_vars)


def test_what_is_stated_is_not_computed(tmp_path):
    trace = attnshift.ingest([write(tmp_path / "r.json", rows(label="both", margin=3))], tmp_path / "t")
    assert set(trace.answer_label.values.ravel().tolist()) == {"both"}
    assert trace.answer_label.attrs["key"] == "answer_label/ingested"
    assert trace.margin.values.tolist() == [[3, 3], [3, 3]]
    done = attnshift.rescore(tmp_path / "t")  # the rules' labels, on request
    assert done.keys_before == ("answer_label/ingested",)
    assert len(done.moved) == 4


def test_missing_rows_and_values_stay_missing(tmp_path):
    partial = rows()[:3]
    partial[1]["generation"] = None
    trace = attnshift.ingest([write(tmp_path / "r.json", partial)], tmp_path / "t")
    assert trace.answer_label.values.tolist() == [["parametric", ""], ["context", ""]]
    assert trace.generation.values.tolist() == [[" Paris", ""], [" not Paris but Lyon", ""]]
    np.testing.assert_array_equal(trace.counterfactual_accuracy, [[0, np.nan], [1, np.nan]])


def test_an_empty_generation_is_one(tmp_path):
    trace = attnshift.ingest([write(tmp_path / "r.json", rows(generation=""))], tmp_path / "t")
    assert set(trace.answer_label.values.ravel().tolist()) == {"neither"}


def test_items_may_come_from_a_file_of_their_own_and_steps_from_file_names(tmp_path):
    conflicts = write(tmp_path / "items.json", ITEMS)
    files = [
        write(tmp_path / f"checkpoint-{step}.jsonl", [{"id": i, "output": TEXTS[step, i]} for i in "ab"])
        for step in (100, 0)
    ]
    trace = attnshift.ingest(files, tmp_path / "t", items=attnshift.load_items(conflicts))
    assert trace.step.values.tolist() == [0, 100]
    assert trace.answer_label.values.tolist() == [["parametric", "parametric"], ["context", "neither"]]
    assert trace.checkpoint.values.tolist() == [str(file) for file in files[::-1]]


def test_known_items_clusters_and_epochs_are_kept(tmp_path):
    told = [row | {"known": int(row["item"] == "a"), "cluster": "q", "epoch": row["step"] / 200} for row in rows()]
    trace = attnshift.ingest([write(tmp_path / "r.csv", told)], tmp_path / "t")
    assert trace.known_item.values.tolist() == [1, 0]
    assert trace.item_cluster.values.tolist() == ["q", "q"]
    assert trace.epoch.values.tolist() == [0, 0.5]


def test_statistics_and_figures_take_it(tmp_path):
    trace = attnshift.ingest([write(tmp_path / "r.json", rows(margin=-1))], tmp_path / "t")
    found = attnshift.verdict(trace)
    assert (found.counterfactual.start, found.counterfactual.end) == (0, 50)
    attnshift.plot(str(tmp_path / "t"), "margin", tmp_path / "m.json")
    assert json.loads((tmp_path / "m.json").read_text())


def changed(where: int, **changes) -> list[dict]:
    told = rows()
    told[where] |= changes
    return told


@pytest.mark.parametrize(
    ("content", "quoted"),
    [
        (changed(1, item=""), "row 2: it has no item"),
        (changed(1, step=None), "row 2: it names no step"),
        (changed(2, step="last"), "'last'"),
        (changed(2, step=-5), "-5"),
        (changed(2, step=1.5), "1.5"),
        (changed(0, label="yes"), "the label 'yes'"),
        (changed(0, logprob_context_answer=0.3), "never above 0"),
        (changed(0, logprob_context_answer="high"), "'high' as logprob_context_answer"),
        (changed(0, counterfactual_accuracy=0.4), "0 or 1"),
        (changed(0, margin="inf"), "not finite"),
        (changed(0, known="perhaps"), "'perhaps' as known_item"),
        ([*rows(), rows()[0]], "row 5: step 0 has the item 'a' already"),
        (changed(3, question="Another?"), "row 4: question of the item 'b' is 'Another?'"),
        ([{"step": 1, "item": "a", "something": 3}], "nothing is measured"),
        ([{"step": 1}], "has no item"),
    ],
)
def test_every_defect_is_one_block_that_quotes_it(tmp_path, command, content, quoted):
    file = write(tmp_path / "r.json", content)
    done = command("ingest", file, "-o", tmp_path / "t")
    assert is_one_block(done, quoted, "r.json")
    assert not list(tmp_path.glob("t/*.nc"))


def test_what_does_not_fit_together_is_refused(tmp_path, command):
    file = write(tmp_path / "r.json", rows())
    one = write(tmp_path / "items.json", ITEMS[:1])
    assert is_one_block(command("ingest", file, "-o", tmp_path / "t", "--conflicts", one), "'b'", "--conflicts")
    assert is_one_block(command("ingest", file, "-o", tmp_path / "t", "--map", "foo=bar"), "foo=bar")
    assert is_one_block(command("ingest", file, "-o", tmp_path / "t", "--map", "foo"), "'foo'")
    assert is_one_block(command("ingest", tmp_path / "no.json", "-o", tmp_path / "t"), "no.json")
    assert command("ingest", file, "-o", tmp_path / "t").code == 0
    assert is_one_block(command("ingest", file, "-o", tmp_path / "t"), "a trace", "-o")


def test_from_the_command_line(tmp_path, command):
    told = [{"ckpt": row.pop("step"), "said": row.pop("generation"), **row} for row in rows()]
    file = write(tmp_path / "r.csv", told)
    done = command("ingest", file, "-o", tmp_path / "t", "--map", "step=ckpt", "--map", "generation=said")
    assert done.code == 0, done.err
    lines = {line.split()[0]: line for line in done.out.splitlines()}
    assert "4 of 4, as the files state it" in lines["generation"]
    assert f"4 of 4, follows by {AnswerLabel().key}" in lines["answer_label"]
    facts = command("rescore", tmp_path / "t", "--json").json
    assert facts["written"] == []
