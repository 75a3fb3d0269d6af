import json
from pathlib import Path

import pytest
from made_runs import full

from attnshift.checkpoints.run import Run, find_run
from attnshift.checkpoints.tokenizer import load_tokenizer, tokenizer_dir
from attnshift.errors import AttnshiftError


def add_tokenizer(folder: Path) -> Path:
    from tokenizers import Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0, "hello": 1, "world": 2}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "PreTrainedTokenizerFast"}))
    return folder


@pytest.fixture
def run(tmp_path) -> Run:
    root = tmp_path / "run"
    full(root / "base", 0)
    for step in (1, 2):
        full(root / f"checkpoint-{step}", step)
    full(root / "best", 1)
    return find_run(root)


def test_the_order_of_looking(run):
    for name in ("base", "best", "final", ".", "checkpoint-2"):
        folder = add_tokenizer(run.path / name)
        assert tokenizer_dir(run) == folder.resolve()


def test_an_option_wins(run, tmp_path):
    add_tokenizer(run.path)
    assert tokenizer_dir(run, str(add_tokenizer(tmp_path / "mine"))) == tmp_path / "mine"
    with pytest.raises(AttnshiftError, match="nowhere"):
        tokenizer_dir(run, "nowhere")


@pytest.mark.parametrize("files", [["tokenizer.model"], ["tokenizer_config.json", "vocab.json"], ["tokenizer.json"]])
def test_what_counts(run, files):
    for name in files:
        (run.path / name).write_text("")
    assert tokenizer_dir(run) == run.path


def test_no_tokenizer_says_where_it_was_looked_for(run):
    (run.path / "tokenizer_config.json").write_text("{}")
    with pytest.raises(AttnshiftError) as caught:
        tokenizer_dir(run)
    for name in ("checkpoint-2", "final", "best", "base"):
        assert str(run.path / name) in caught.value.problem
    assert "--tokenizer DIR" in caught.value.remedy


def test_loading(tmp_path):
    tokenizer = load_tokenizer(add_tokenizer(tmp_path))
    assert tokenizer("hello world", return_offsets_mapping=True)["offset_mapping"] == [(0, 5), (6, 11)]


@pytest.mark.parametrize("text", ["", "{}", "not json"])
def test_damaged_files(tmp_path, text):
    add_tokenizer(tmp_path)
    (tmp_path / "tokenizer.json").write_text(text)
    with pytest.raises(AttnshiftError, match="can't be loaded"):
        load_tokenizer(tmp_path)


def test_a_slow_tokenizer_is_refused(tmp_path, monkeypatch):
    class Slow:
        is_fast = False

    monkeypatch.setattr("transformers.AutoTokenizer.from_pretrained", lambda *_, **__: Slow())
    with pytest.raises(AttnshiftError, match="Slow"):
        load_tokenizer(tmp_path)


def test_code_beside_a_tokenizer_is_never_run(tmp_path):
    add_tokenizer(tmp_path)
    (tmp_path / "mine.py").write_text("raise SystemExit('harm')")
    config = {"tokenizer_class": "Mine", "auto_map": {"AutoTokenizer": ["mine.Mine", "mine.Mine"]}}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    with pytest.raises(AttnshiftError, match="can't be loaded"):
        load_tokenizer(tmp_path)
