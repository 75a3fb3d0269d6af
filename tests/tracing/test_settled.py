"""What models settle for a whole trace: known items, and the space before an answer."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import conflict_rows
from tiny_traces import series
from torch.nn.functional import log_softmax
from transformers import AutoModelForCausalLM

import attnshift
from attnshift.data.batches import pad
from attnshift.tracing.job import prepare
from attnshift.tracing.netcdf import read_netcdf

NEAT = "{{ context }}\nQuestion: {{ question }}\nAnswer: {{ answer }}"
DOUBLE = "{{ context }}\nQuestion: {{ question }}\nAnswer:  {{ answer }}"
JOINED = "{{ context }}\nQuestion: {{ question }}\nAnswer:{{ answer }}"
OWN_LINE = "{{ context }}\nQuestion: {{ question }}\nAnswer:\n{{ answer }}"


@pytest.fixture(scope="module")
def run(made) -> Path:
    return made("llama")


def options(run: Path, out: Path, **more):
    return {"items": attnshift.load_items(run.parent / "cf.json"), "out": out, "max_new_tokens": 2, **more}


@pytest.fixture(scope="module")
def traced(run, tmp_path_factory):
    out = tmp_path_factory.mktemp("known")
    return attnshift.trace(series(run), **options(run, out, measures=["known_margin", "still_known", "margin"]))


def per_token(model, prompt: np.ndarray, answer: np.ndarray) -> float:
    ids = torch.from_numpy(np.concatenate([prompt[prompt != -1], answer[answer != -1]]).astype(np.int64))[None]
    count = int((answer != -1).sum())
    with torch.no_grad():
        logits = model(ids).logits[0, -count - 1 : -1]
    return float(log_softmax(logits, -1).gather(1, ids[0, -count:, None]).mean())


def test_known_margins_equal_plain_log_softmax(run, traced):
    prompts, answers = traced.closed_book_token_ids.values, traced.parametric_answer_ids.values
    for step in traced.step.values:
        folder = run / f"checkpoint-{step}" if step else run.parent / "base"
        model = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager").eval()
        for i, others in enumerate(traced.known_distractors.values):
            own = per_token(model, prompts[i], answers[i])
            best = max(per_token(model, prompts[i], answers[j]) for j in others if j != -1)
            got = float(traced.known_margin.sel(step=step)[i])
            assert got == pytest.approx(own - best, abs=1e-4)
            assert float(traced.still_known.sel(step=step)[i]) == (got > 0)


def test_known_items_are_those_of_the_base_and_frozen(run, traced, tmp_path):
    at_base = traced.known_margin.sel(step=0)
    np.testing.assert_array_equal(traced.known_item_margin, at_base)
    np.testing.assert_array_equal(traced.known_item, at_base > 0)
    assert traced.known_item.dims == ("item",)
    assert int(traced.known_item.attrs["step"]) == 0
    assert traced.attrs["known"] == f"known closed book at step 0: {int(traced.known_item.sum())} of 10 items"
    later = attnshift.trace(series(run), **options(run, tmp_path, measures=["margin"], steps=[4]))
    np.testing.assert_array_equal(later.known_item, traced.known_item)


def test_distractors_are_other_answers(traced):
    answers = traced.item_parametric_answer.values
    for i, others in enumerate(traced.known_distractors.values):
        named = [answers[j] for j in others if j != -1]
        assert len(named) == len(set(named)) == 9
        assert answers[i] not in named


def test_an_older_trace_learns_what_is_known(run, tmp_path):
    attnshift.trace(series(run), **options(run, tmp_path, measures=["margin"], steps=[2]))
    inputs = read_netcdf(tmp_path / "inputs.nc")
    names = ["known_item", "known_item_margin", "known_distractors"]
    expected = inputs.known_item.values
    (tmp_path / "inputs.nc").unlink()
    inputs.drop_vars(names).to_netcdf(tmp_path / "inputs.nc", engine="h5netcdf")
    again = attnshift.trace(series(run), **options(run, tmp_path, measures=["margin"], steps=[2]))
    np.testing.assert_array_equal(again.known_item, expected)


def test_one_item_has_nothing_to_be_compared_with(run, tmp_path):
    trace = attnshift.trace(
        series(run), **options(run, tmp_path, measures=["known_margin", "still_known"], steps=[0], limit=1)
    )
    assert np.isnan(trace.known_margin).all()
    assert np.isnan(trace.still_known).all()
    assert trace.known_item.values.tolist() == [0]


# the space before an answer


def template(tmp_path: Path, text: str) -> str:
    file = tmp_path / "mine.jinja"
    file.write_text(text)
    return str(file)


def tokens(job, which: str = "context_answer_ids") -> list[list[str]]:
    return [job.tokenizer.convert_ids_to_tokens(getattr(t, which).tolist()) for t in job.inputs.item_tokens]


@pytest.mark.parametrize(
    ("text", "first", "other"),
    [(NEAT, "Ġ", None), (OWN_LINE, "", None), (DOUBLE, "phantom", "Ġ"), (JOINED, "", "Ġ")],
    ids=["neat", "own line", "double", "joined"],
)
def test_what_is_in_doubt(run, tmp_path, text, first, other):
    job = prepare(series(run), **options(run, tmp_path / "t", template=template(tmp_path, text)))
    spelt = tokens(job)
    if first == "phantom":
        assert all(each[0] == "Ġ" for each in spelt)
    else:
        assert all(each[0].startswith("Ġ") == bool(first) and each[0] != "Ġ" for each in spelt)
    notes = [note for note in job.notes if "space before the answer" in note]
    if other is None:
        assert job.inputs.doubtful == []
        assert notes == []
    else:
        assert job.inputs.doubtful == list(range(10))
        assert all(each[0].startswith(other) for each in tokens_of(job, job.inputs.respelt()))
        assert "in doubt for 10 of 10 items" in notes[0]
        assert str(spelt[0]) in notes[0]


def tokens_of(job, inputs) -> list[list[str]]:
    return [job.tokenizer.convert_ids_to_tokens(t.context_answer_ids.tolist()) for t in inputs.item_tokens]


def test_respelling_twice_is_the_template_again(run, tmp_path):
    job = prepare(series(run), **options(run, tmp_path / "t", template=template(tmp_path, DOUBLE)))
    once = job.inputs.respelt()
    assert once.digests()["items"] != job.inputs.digests()["items"]
    assert once.respelt().digests() == job.inputs.digests()


@pytest.mark.parametrize("preferring", ["both", "first", "last", "neither"])
def test_scored_is_what_first_and_last_checkpoint_prefer(run, tmp_path, monkeypatch, preferring):
    from attnshift.tracing import settled

    answers = iter({"both": [True, True], "first": [True, False], "last": [False, True]}.get(preferring, [False]))
    monkeypatch.setattr(settled, "_prefers_other", lambda *_: next(answers))
    names = ["margin", "margin_per_token", "margin_first_token", "generation", "answer_label"]
    wanted = options(run, tmp_path / "t", template=template(tmp_path, DOUBLE), measures=names, steps=[2])
    trace = attnshift.trace(series(run), **wanted)
    monkeypatch.undo()
    neat = attnshift.trace(
        series(run), **(wanted | {"template": template(tmp_path / "t", NEAT), "out": tmp_path / "neat"})
    )
    same = trace.context_answer_ids.shape == neat.context_answer_ids.shape and bool(
        (trace.context_answer_ids.values == neat.context_answer_ids.values).all()
    )
    assert same is (preferring == "both")
    assert ("another space" in trace.attrs["answer_spelling"]) is (preferring == "both")
    if preferring == "both":  # the prompt is the same with or without a phantom, and so is everything else
        for name in ("token_ids", *names):
            np.testing.assert_array_equal(trace[name], neat[name])
    again = attnshift.trace(series(run), **wanted, progress=lambda _: pytest.fail("computed again"))
    np.testing.assert_array_equal(again.margin, trace.margin)
    assert json.loads(again.attrs["failed"]) == {}


def answers_of(tokens):
    return tokens.context_answer_ids, tokens.parametric_answer_ids


def test_the_model_is_asked_which_spelling_it_would_write(run, tmp_path):
    """A model that has learnt to write one space prefers it to a phantom, and the phantom where it learnt that."""
    from attnshift.models.series import open_series
    from attnshift.tracing.settled import _prefers_other

    job = prepare(series(run), **options(run, tmp_path / "t", template=template(tmp_path, DOUBLE)))
    model = open_series(run)[4].model()
    for taught in (job.inputs, job.inputs.respelt()):
        rows = [(t.prompt.ids, answer) for t in taught.item_tokens for answer in answers_of(t)]
        ids = torch.from_numpy(pad([np.concatenate(row) for row in rows], 0, dtype=np.int64))
        place = torch.arange(ids.shape[1])
        begin, end = (
            torch.tensor(each)[:, None] for each in zip(*[(len(p), len(p) + len(a)) for p, a in rows], strict=True)
        )
        labels = ids.masked_fill((place < begin) | (place >= end), -100)
        learner = torch.optim.Adam(model.parameters(), 1e-2)
        for _ in range(40):
            learner.zero_grad()
            model(ids, labels=labels).loss.backward()
            learner.step()
        model.set_attn_implementation("attnshift")
        prefers_other = _prefers_other(model, job.inputs, 4096)
        assert prefers_other is taught.is_respelt


def test_shared_first_tokens_are_flagged(run, tmp_path):
    rows = conflict_rows(3)
    rows[1] |= {"answer": "Oran Bay", "memory_answer": "Oran Point"}
    rows[1]["context"] = "They made Oran Bay its capital."
    file = tmp_path / "cf.json"
    file.write_text(json.dumps(rows))
    items = attnshift.load_items(file)
    trace = attnshift.trace(series(run), items=items, out=tmp_path / "t", measures=["margin"], steps=[2])
    assert trace.shared_first_token.values.tolist() == [0, 1, 0]
    assert trace.shared_first_token.dims == ("item",)


def test_the_padding_side_of_a_tokenizer_changes_nothing(run, tmp_path):
    traces = []
    for side in ("left", "right"):
        tokenizer = series(run).tokenizer
        tokenizer.padding_side = side
        for budget in (1, 8192):
            out = tmp_path / f"{side}{budget}"
            names = ["margin", "margin_first_token", "known_margin", "generation", "answer_label"]
            wanted = options(run, out, measures=names, tokenizer=tokenizer, token_budget=budget, max_new_tokens=8)
            traces.append(attnshift.trace(series(run), **(wanted | {"steps": [2]})))
    for other in traces[1:]:
        np.testing.assert_array_equal(other.answer_label, traces[0].answer_label)
        np.testing.assert_array_equal(other.generation, traces[0].generation)
        for name in ("margin", "margin_first_token", "known_margin"):
            np.testing.assert_allclose(other[name], traces[0][name], atol=1e-5, err_msg=name)
