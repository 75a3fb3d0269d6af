"""Task files of lm-evaluation-harness: the harness would run what they name; here they are data, or refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from attnshift.errors import AttnshiftError
from attnshift.models.harness import evaluate, read_tasks

CANARY = "a-task-ran"
TASK = """task: mine
dataset_path: json
dataset_kwargs: {{data_files: {data}}}
test_split: train
output_type: multiple_choice
doc_to_text: "{text}"
doc_to_target: label
doc_to_choice: choices
metric_list: [{{metric: {metric}}}]
"""


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """Where a task file is, beside a program that leaves a canary."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "tasks"
    (folder / "inner").mkdir(parents=True)
    program = f"open({str(tmp_path / CANARY)!r}, 'w')\ndef run(*a, **k): return 0\n"
    for name in ("utils.py", "inner/utils.py", "__init__.py", "mine.py"):
        (folder / name).write_text(program)
    return folder


def write(file: Path, text: str) -> str:
    file.write_text(text, encoding="utf-8")
    return str(file)


PROGRAMS = [
    "task: mine\nprocess_docs: !function utils.run\n",
    "task: mine\nmetric_list:\n  - metric: !function utils.run\n",
    "task: !function utils.run\n",
    "task: mine\nclass: !function utils.run\n",
    "task: mine\nx: !!python/object/apply:os.system ['touch a-task-ran']\n",
    "task: mine\nx: !!python/name:os.system\n",
    "task: mine\nx: !!python/module:utils\n",
    "%TAG !e! tag:yaml.org,2002:python/\n---\ntask: mine\nx: !e!object/apply:os.system ['touch a-task-ran']\n",
    "task: mine\nx: &a !function utils.run\ny: *a\n",
    "? !function utils.run\n: x\n",
]


@pytest.mark.parametrize("text", PROGRAMS)
@pytest.mark.parametrize("place", ["mine.yaml", "other.yaml", "inner/other.yaml", "other.yml"])
def test_a_task_that_is_a_program_is_refused(folder, text, place, tmp_path):
    write(folder / "mine.yaml", "task: mine\n")
    write(folder / place, text)
    for named in (folder / "mine.yaml", folder):
        with pytest.raises(AttnshiftError) as caught:
            read_tasks([str(named)])
        assert place in caught.value.problem or "names no benchmark task" in caught.value.problem
    assert not (tmp_path / CANARY).exists()


@pytest.mark.parametrize("other", ["../outside.yaml", "/OUTSIDE/outside.yaml", "link.yaml", "no-yaml", [], 3, [["x"]]])
def test_an_include_stays_in_the_folder(folder, other, tmp_path):
    write(tmp_path / "outside.yaml", "task: mine\nprocess_docs: !function utils.run\n")
    write(folder / "no-yaml", "task: mine\nprocess_docs: !function utils.run\n")
    (folder / "link.yaml").symlink_to(tmp_path / "outside.yaml")
    named = json.loads(json.dumps(other).replace("/OUTSIDE", str(tmp_path)))
    given = write(folder / "mine.yaml", f"task: mine\ninclude: {json.dumps(named)}\n")
    if other == []:
        (folder / "link.yaml").unlink()
        assert read_tasks([given])
        return
    with pytest.raises(AttnshiftError):
        read_tasks([given])


@pytest.mark.parametrize("text", ["task: mine\nx: [\n", "task: mine\n\0", "task: mine\nx: " + "[" * 100_000])
def test_what_is_no_yaml_is_told(folder, text):
    with pytest.raises(AttnshiftError, match=r"mine\.yaml"):
        read_tasks([write(folder / "mine.yaml", text)])


@pytest.fixture
def model(made):
    import attnshift

    series = attnshift.open_series(made("llama"))
    return series[4].model(), series.tokenizer


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("text", "metric", "told"),
    [
        ("{{ cycler.__init__.__globals__.os.system('touch a-task-ran') }}{{question}}", "acc", "SecurityError"),
        ("{{ ''.__class__.__mro__[1].__subclasses__() }}{{question}}", "acc", "SecurityError"),
        ("{{question}}", "tasks/evil", "can't be run"),
        ("{{question}}", "acc", ""),
    ],
)
def test_a_tasks_templates_are_sandboxed_and_its_metrics_the_harnesss(folder, model, tmp_path, text, metric, told):
    import datasets

    (folder / "evil").mkdir()
    write(folder / "evil" / "evil.py", f"open({str(tmp_path / CANARY)!r}, 'w')\n")
    rows = [{"question": f"Who {i}?", "choices": ["a", "b"], "label": 0} for i in range(2)]
    data = write(tmp_path / "docs.jsonl", "\n".join(map(json.dumps, rows)))
    tasks = read_tasks([write(folder / "mine.yaml", TASK.format(data=data, text=text, metric=metric))])
    datasets.config.HF_DATASETS_CACHE, before = tmp_path / "cache", datasets.config.HF_DATASETS_CACHE
    try:
        if told:
            with pytest.raises(AttnshiftError, match=told):
                evaluate(*model, tasks, 2)
        else:
            assert evaluate(*model, tasks, 2)[0].task == "mine"
    finally:
        datasets.config.HF_DATASETS_CACHE = before
    assert not (tmp_path / CANARY).exists()
    import evaluate as library
    from jinja2.sandbox import SandboxedEnvironment
    from lm_eval import utils

    assert library.load.__name__ == "load"
    assert not isinstance(utils.env, SandboxedEnvironment)
