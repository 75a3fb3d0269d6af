"""Labels made anew from stored texts: what moves, what stays as it is, and how long it takes."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from made_stores import ANSWERS, made_store

import attnshift
from attnshift.measures.generation import CounterfactualAccuracy
from attnshift.measures.label import AnswerLabel
from attnshift.tracing.netcdf import read_netcdf
from attnshift.tracing.rescore import JUDGE

TEXTS = {
    0: [" Paris", " Vienna.", " Old Algiers", " I don't know"],
    50: [" Lyon", " not Vienna but Graz", " Oran\nQuestion: Algiers?", " Ghent and Brussels"],
    100: [" Paris</s> Lyon", " Graz", "", " Ghent"],
}
RIGHT = {
    0: ["parametric", "parametric", "parametric", "neither"],
    50: ["context", "context", "context", "both"],
    100: ["parametric", "context", "neither", "context"],
}


def files(path: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in path.glob("step-*.nc")}


def test_labels_come_from_the_stored_texts(tmp_path):
    made_store(tmp_path, TEXTS)
    done = attnshift.rescore(tmp_path)
    trace = attnshift.open_trace(tmp_path)
    assert trace.answer_label.dims == ("step", "item")
    for step, labels in RIGHT.items():
        assert trace.answer_label.sel(step=step).values.tolist() == labels
    assert trace.answer_label.attrs["key"] == AnswerLabel().key == done.key
    assert done.written == (0, 50, 100)
    assert done.keys_before == ()
    assert done.moves.count == 0
    assert done.counts[50] == {"context": 3, "parametric": 0, "both": 1, "neither": 0}


def test_done_twice_it_writes_nothing(tmp_path):
    made_store(tmp_path, TEXTS)
    attnshift.rescore(tmp_path)
    before = files(tmp_path)
    again = attnshift.rescore(tmp_path)
    assert again.written == ()
    assert again.moved == ()
    assert again.moves.percent == 100
    assert files(tmp_path) == before


def test_it_says_what_moved(tmp_path):
    made_store(tmp_path, TEXTS, labels={0: RIGHT[0], 50: ["both", "context", "parametric", "both"]})
    done = attnshift.rescore(tmp_path)
    assert done.keys_before == ("answer_label/0",)
    assert [(m.step, m.item, m.old, m.new, m.text) for m in done.moved] == [
        (50, "i0", "both", "context", " Lyon"),
        (50, "i2", "parametric", "context", " Oran\nQuestion: Algiers?"),
    ]
    assert done.moves.count == 8
    assert done.moves.pairs["both", "context"] == 1
    assert done.written == (0, 50, 100)  # at step 0 the key alone


def test_everything_else_is_left_as_it_was(tmp_path):
    store = made_store(tmp_path, TEXTS, labels=RIGHT, attention=(2, 3))
    before = {step: read_netcdf(store.file(step)) for step in TEXTS}
    attnshift.rescore(tmp_path)
    for step, old in before.items():
        new = read_netcdf(store.file(step))
        assert set(new.variables) == set(old.variables)
        for name in set(old.variables) - {"answer_label"}:
            xr.testing.assert_identical(new[name], old[name])
        assert {k: v for k, v in new.attrs.items() if k != "keys"} == {
            k: v for k, v in old.attrs.items() if k != "keys"
        }
        with xr.open_dataset(store.file(step), engine="h5netcdf") as plain:  # still plain netCDF
            assert plain.answer_label.values.tolist() == RIGHT[step]


def test_accuracies_are_renewed_only_where_they_are_by_another_formula(tmp_path):
    store = made_store(tmp_path, TEXTS)
    for step, key in ((0, CounterfactualAccuracy().key), (50, "counterfactual_accuracy/0")):
        stale = xr.Dataset({"counterfactual_accuracy": ("item", np.full(4, 7.0), {"key": key})})
        store.update_cell(step, stale)
    done = attnshift.rescore(tmp_path)
    trace = attnshift.open_trace(tmp_path)
    assert done.refreshed == {"counterfactual_accuracy": 1}
    assert trace.counterfactual_accuracy.sel(step=0).values.tolist() == [7, 7, 7, 7]
    assert trace.counterfactual_accuracy.sel(step=50).values.tolist() == [1, 1, 1, 1]
    assert np.isnan(trace.counterfactual_accuracy.sel(step=100)).all()


def test_steps_without_texts_are_told_and_left_alone(tmp_path):
    made_store(tmp_path, TEXTS | {200: None})
    done = attnshift.rescore(tmp_path)
    assert done.without_text == (200,)
    trace = attnshift.open_trace(tmp_path)
    assert trace.answer_label.sel(step=200).values.tolist() == [""] * 4
    again = attnshift.open_trace(tmp_path)  # from the cache
    assert again.answer_label.sel(step=200).values.tolist() == [""] * 4


def by_first_word(text: str, context_answer: str, parametric_answer: str, question: str) -> str:
    assert question.startswith("question ")
    first = (text.split() or [""])[0].strip(".")
    return {context_answer: "context", parametric_answer: "parametric"}.get(first, "neither")


def test_a_judge_stands_beside_the_rule(tmp_path):
    made_store(tmp_path, TEXTS)
    done = attnshift.rescore(tmp_path, judge=by_first_word)
    trace = attnshift.open_trace(tmp_path)
    assert trace[JUDGE].sel(step=50).values.tolist() == ["context", "neither", "context", "context"]
    for step, labels in RIGHT.items():
        assert trace.answer_label.sel(step=step).values.tolist() == labels
    assert trace[JUDGE].attrs["key"] == f"{JUDGE}/{__name__}:by_first_word"
    assert done.judged.count == 12
    assert done.judged.percent == pytest.approx(100 * 8 / 12)
    assert 0 < done.judged.kappa < 1


def test_a_judge_is_not_asked_again(tmp_path):
    made_store(tmp_path, TEXTS)
    asked = []

    def counting(*what: str) -> str:
        asked.append(what)
        return "neither"

    first = attnshift.rescore(tmp_path, judge=counting)
    assert len(asked) == 12
    again = attnshift.rescore(tmp_path, judge=counting)
    assert len(asked) == 12
    assert again.judged.pairs == first.judged.pairs
    assert again.written == ()


@pytest.mark.parametrize("said", ["CONTEXT", None, 3])
def test_a_judge_that_says_no_label_is_refused(tmp_path, said):
    made_store(tmp_path, TEXTS)
    with pytest.raises(attnshift.AttnshiftError, match="Paris") as error:
        attnshift.rescore(tmp_path, judge=lambda *_: said)
    assert repr(said) in error.value.problem


def test_a_judge_that_fails_is_quoted(tmp_path):
    made_store(tmp_path, TEXTS)
    with pytest.raises(attnshift.AttnshiftError, match="ZeroDivisionError"):
        attnshift.rescore(tmp_path, judge=lambda *_: 1 / 0)


def test_what_is_no_trace_or_has_no_texts_is_refused(tmp_path):
    with pytest.raises(attnshift.AttnshiftError, match="no trace"):
        attnshift.rescore(tmp_path / "nothing")
    store = made_store(tmp_path, TEXTS)
    for step in (0, 50, 100):
        store.file(step).unlink()
    made_store(tmp_path, {0: TEXTS[0]}).file(0).unlink()
    with pytest.raises(attnshift.AttnshiftError, match="no generations"):
        attnshift.rescore(tmp_path)


def test_killed_in_the_middle_leaves_whole_files(tmp_path, monkeypatch):
    made_store(tmp_path, TEXTS)
    replace = Path.replace

    def killed(self: Path, target):
        return os.kill(os.getpid(), signal.SIGKILL) if "00000050" in self.name else replace(self, target)

    child = os.fork()
    if child == 0:
        monkeypatch.setattr(Path, "replace", killed)
        try:
            attnshift.rescore(tmp_path)
        finally:
            os._exit(1)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    done = attnshift.rescore(tmp_path)
    assert done.written == (50, 100)
    assert attnshift.open_trace(tmp_path).answer_label.sel(step=50).values.tolist() == RIGHT[50]


def test_300_items_and_20_checkpoints_take_less_than_5_seconds(tmp_path):
    """Of the processor, since others may use this machine; item-level attention beside the texts needn't be read."""
    frames = ["{a}", " The answer is {a}.", " It isn't {b}, it is {a}", "{b}\nQuestion: what of {a}?", " {a} or {b}?"]
    texts = {
        step: [
            frames[(i + step) % 5].format(a=ANSWERS[i % 4][0], b=ANSWERS[i % 4][1]) + f" , item {i} at {step}"
            for i in range(300)
        ]
        for step in range(20)
    }
    made_store(tmp_path, texts, attention=(8, 8))
    started = time.process_time()
    done = attnshift.rescore(tmp_path)
    taken = time.process_time() - started
    assert sum(sum(counts.values()) for counts in done.counts.values()) == 6000
    assert taken < 5, taken


def test_from_the_command_line(tmp_path, command, monkeypatch):
    made_store(tmp_path / "t", TEXTS, labels=RIGHT | {50: ["both"] * 4})
    (tmp_path / "my_judge.py").write_text("def label(text, context, parametric, question):\n    return 'neither'\n")
    monkeypatch.chdir(tmp_path)
    done = command("rescore", "t", "--judge", "my_judge:label")
    assert done.code == 0, done.err
    assert "moved      3 of 12 texts (25.0 %)" in done.out
    assert "step 50, i0: both -> context: ' Lyon'" in done.out
    assert "judge      my_judge:label: the same label for 16.7 % of 12 texts" in done.out
    facts = command("rescore", "t", "--json").json
    assert facts["written"] == []
    assert facts["counts"]["50"] == {"context": 3, "parametric": 0, "both": 1, "neither": 0}


@pytest.mark.parametrize("judge", ["nothing", "no_such_module:f", "json:nothing", "json:__name__", ":f"])
def test_a_judge_that_is_none_is_one_block(tmp_path, command, judge):
    made_store(tmp_path / "t", TEXTS)
    done = command("rescore", tmp_path / "t", "--judge", judge)
    assert done.code == 2
    assert done.err.startswith(f"error: --judge {judge!r}")
    assert "expected: module:function" in done.err
    assert "Traceback" not in done.err
