"""Benchmarks beside a trace: the harness on the model in memory, against the harness alone; scores made elsewhere."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import is_one_block
from made_stores import made_store

import attnshift
from attnshift.models.harness import BenchmarkTask, evaluate, read_tasks
from attnshift.tracing.benchmarks import read_benchmarks

TEXTS = {0: [" Paris"], 50: [" Lyon"], 100: [" Lyon"]}
TASK = """task: tiny_choice
dataset_path: json
dataset_kwargs:
  data_files: {data}
test_split: train
output_type: multiple_choice
doc_to_text: "{{{{question}}}}"
doc_to_target: label
doc_to_choice: choices
metric_list:
  - metric: acc
  - metric: acc_norm
"""


def csv(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_scores_made_elsewhere_become_the_benchmark_variable(tmp_path):
    made_store(tmp_path / "t", TEXTS)
    tasks, unknown = read_benchmarks(
        tmp_path / "t", csv(tmp_path / "b.csv", "step,mmlu,gsm8k\n0,.3,\n50,.4,.1\n70,1,1\n")
    )
    assert (tasks, unknown) == (["mmlu", "gsm8k"], [70])
    trace = attnshift.open_trace(tmp_path / "t")
    assert trace.benchmark.dims == ("step", "task")
    np.testing.assert_array_equal(trace.benchmark.sel(task="mmlu"), [0.3, 0.4, np.nan])
    np.testing.assert_array_equal(trace.benchmark.sel(task="gsm8k"), [np.nan, 0.1, np.nan])
    assert str(trace.benchmark_about.sel(step=50, task="mmlu").values) == "column of b.csv"
    assert trace.benchmark.attrs["key"] == "benchmark/1"
    assert trace.generation.values[1, 0] == " Lyon"
    read_benchmarks(tmp_path / "t", csv(tmp_path / "c.csv", "step,mmlu,arc\n0,.35,.2\n"))
    trace = attnshift.open_trace(tmp_path / "t")
    assert float(trace.benchmark.sel(step=0, task="mmlu")) == 0.35
    assert float(trace.benchmark.sel(step=50, task="mmlu")) == 0.4
    assert float(trace.benchmark.sel(step=0, task="arc")) == 0.2


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ("steps,mmlu\n0,.3\n", "row 1: the step is None"),
        ("step,mmlu\nlast,.3\n", "'last'"),
        ("step,mmlu\n0,.3\n0,.4\n", "step 0 is there twice"),
        ("step,mmlu\n0,good\n", "mmlu is 'good'"),
        ("step,mmlu\n0,nan\n", "mmlu is 'nan'"),
        ("step\n0\n", "no score"),
    ],
)
def test_a_csv_that_says_nothing_is_refused(tmp_path, text, quoted):
    made_store(tmp_path / "t", TEXTS)
    with pytest.raises(attnshift.AttnshiftError) as error:
        read_benchmarks(tmp_path / "t", csv(tmp_path / "b.csv", text))
    assert quoted in error.value.problem


def test_tasks_by_name_with_a_metric_by_file_and_by_folder(tmp_path):
    file = csv(tmp_path / "mine.yaml", "dataset_path: json\ntask: 'mine'  # ours\n")
    csv(tmp_path / "more.yml", "task: more\n")
    csv(tmp_path / "_base.yaml", "dataset_path: json\n")
    assert [(t.name, t.metric, t.folder) for t in read_tasks(["arc_easy:acc_norm", "gsm8k", str(file)])] == [
        ("arc_easy", "acc_norm", None),
        ("gsm8k", "", None),
        ("mine", "", tmp_path),
    ]
    assert [t.name for t in read_tasks([str(tmp_path)])] == ["mine", "more"]
    with pytest.raises(attnshift.AttnshiftError, match="names no benchmark task"):
        read_tasks([str(tmp_path / "_base.yaml")])
    with pytest.raises(attnshift.AttnshiftError, match=r"nothing\.yaml"):
        read_tasks([str(tmp_path / "nothing.yaml")])


@pytest.fixture
def task_file(tmp_path, monkeypatch) -> Path:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    rng = random.Random(0)
    cities = ["Oran", "Herat", "Ghent", "Graz"]
    rows = [
        {"question": f"Person{i} was born in", "choices": [f" {c}" for c in rng.sample(cities, 3)], "label": i % 3}
        for i in range(24)
    ]
    (tmp_path / "docs.jsonl").write_text("\n".join(map(json.dumps, rows)))
    folder = tmp_path / "tasks"
    folder.mkdir()
    return csv(folder / "tiny.yaml", TASK.format(data=tmp_path / "docs.jsonl"))


def alone(model, tokenizer, task_file: Path, limit: int | None) -> dict[str, float]:
    """The harness as anybody would call it."""
    import lm_eval
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    return lm_eval.simple_evaluate(
        model=HFLM(pretrained=model, tokenizer=tokenizer, batch_size=4),
        tasks=["tiny_choice"],
        limit=limit,
        task_manager=TaskManager(include_path=str(task_file.parent), include_defaults=False),
        bootstrap_iters=0,
    )["results"]["tiny_choice"]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_random_states_are_left_as_they_were(made, task_file):
    series = attnshift.open_series(made("llama"))
    model = series[4].model()
    before = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002  (the one it seeds)
    found = evaluate(model, series.tokenizer, read_tasks([str(task_file)]), 3)
    assert [score.task for score in found] == ["tiny_choice"]
    assert random.getstate() == before[0]
    np.testing.assert_array_equal(np.random.get_state()[1], before[1][1])  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), before[2])
    with pytest.raises(attnshift.AttnshiftError, match="no_such_task"):
        evaluate(model, series.tokenizer, [BenchmarkTask("no_such_task", folder=task_file.parent)])
    with pytest.raises(attnshift.AttnshiftError, match="has no f1"):
        evaluate(model, series.tokenizer, [BenchmarkTask("tiny_choice", "f1", task_file.parent)], 3)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("lora", [False, True])
def test_the_harness_on_the_model_in_memory_equals_the_harness_alone(made, tmp_path, command, task_file, lora):
    run = made("llama", lora=lora)
    series = attnshift.open_series(run, base=None if lora else str(run.parent / "base"))
    out = tmp_path / "t"
    wanted = {"items": attnshift.load_items(run.parent / "cf.json"), "measures": ["margin"], "out": out}
    attnshift.trace(series, **wanted)
    trace = attnshift.trace(series, **wanted, benchmarks=[str(task_file)])
    for step in series.steps:
        expected = alone(series[step].model(), series.tokenizer, task_file, None)
        assert float(trace.benchmark.sel(step=step, task="tiny_choice")) == pytest.approx(expected["acc,none"])
    assert str(trace.benchmark_about.values[0, 0]).startswith("acc, lm_eval ")
    before = {file.name: file.stat().st_mtime_ns for file in out.glob("step-*.nc")}
    attnshift.trace(series, **wanted, benchmarks=[str(task_file)])
    assert {file.name: file.stat().st_mtime_ns for file in out.glob("step-*.nc")} == before
    if not lora:
        data = ("--conflicts", run.parent / "cf.json", "--measures", "margin", "--base", run.parent / "base")
        more = ("--benchmarks", task_file, "--benchmark-limit", 6, "--steps", 4)
        done = command("trace", "--ckpts", run, *data, "--out", out, *more)
        assert done.code == 0, done.err
        assert "benchmarks at step 4: tiny_choice" in done.err
        limited = attnshift.open_trace(out)
        assert str(limited.benchmark_about.sel(step=4, task="tiny_choice").values).endswith("the first 6")
        assert str(limited.benchmark_about.sel(step=2, task="tiny_choice").values).endswith("all")
        expected = alone(series[4].model(), series.tokenizer, task_file, 6)["acc,none"]
        assert float(limited.benchmark.sel(step=4, task="tiny_choice")) == pytest.approx(expected)
        wrong = command("trace", "--ckpts", run, *data, "--out", out, "--benchmarks", f"{task_file.parent}/no.yaml")
        assert is_one_block(wrong, "no.yaml")
