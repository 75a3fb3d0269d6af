"""Runs that change while they are measured, or between two commands: deleted, written again, moved, mistaken."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from command_line import is_one_block
from safetensors.torch import load_file, save_file
from tiny import bpe_tokenizer, data_texts
from transformers import AutoModelForCausalLM

import attnshift
from attnshift.tracing import errands
from attnshift.tracing.store import Store

CHEAP = ("--measures", "margin", "--limit", "4", "--device", "cpu")


@pytest.fixture
def copied(made, tmp_path) -> Callable[..., Path]:
    """``copied(lora=True)`` is a copy of such a run, which may be harmed, with its data and base beside it."""

    def copy(name: str = "copy", **options: bool) -> Path:
        run = made("llama", **options)
        shutil.copytree(run.parent, tmp_path / name, dirs_exist_ok=True)
        if options.get("lora"):
            for config in (tmp_path / name / "run").glob("*/adapter_config.json"):
                config.write_text(config.read_text().replace(str(run.parent / "base"), "../base"))
        return tmp_path / name / "run"

    return copy


def words_of(run: Path, *more: object) -> list[object]:
    return [
        "trace",
        "--ckpts",
        run,
        "--conflicts",
        run.parent / "cf.json",
        "--base",
        run.parent / "base",
        *CHEAP,
        *more,
    ]


def before_step(monkeypatch: pytest.MonkeyPatch, step: int, action: Callable[[], object]) -> None:
    """Something happens when everything is planned and this step's turn has come."""
    run = errands.MeasureCell.run

    def interrupted(self, station):
        if self.step == step:
            action()
        return run(self, station)

    monkeypatch.setattr(errands.MeasureCell, "run", interrupted)


def changed(checkpoint: Path, value: float = 0.01) -> None:
    """Write other weights there, as a training that was begun again does."""
    file = next(checkpoint.glob("*.safetensors"))
    tensors = {name: tensor + value for name, tensor in load_file(file).items()}
    save_file(tensors, file, metadata={"format": "pt"})


@pytest.mark.parametrize("lora", [False, True], ids=["full", "lora"])
@pytest.mark.parametrize("step", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_a_checkpoint_deleted_meanwhile_is_a_failed_step(copied, command, monkeypatch, lora, step):
    run = copied(lora=lora)
    with monkeypatch.context() as patched:
        before_step(patched, 0, lambda: shutil.rmtree(run / f"checkpoint-{step}"))
        done = command(*words_of(run))
    assert done.code == 1
    assert f"step {step} failed: " in done.err
    assert f"checkpoint-{step}" in done.err
    assert "Traceback" not in done.err
    trace = attnshift.open_trace(run / "trace")
    assert trace.step.values.tolist() == [each for each in (0, 2, 4) if each != step]
    assert list(json.loads(trace.attrs["failed"])) == [str(step)]
    again = command(*words_of(run, "--json"))
    assert (again.code, again.json["computed"]) == (0, [])


@pytest.mark.slow
def test_gradients_do_without_what_was_deleted_only_when_planned_anew(copied, command, monkeypatch):
    """What was trained is told by the first and the last checkpoint; without the last one it isn't guessed."""
    run = copied()
    words = words_of(run, "--ift", run.parent / "alpaca.json", "--measures", "gradient_norm")
    with monkeypatch.context() as patched:
        before_step(patched, 0, lambda: shutil.rmtree(run / "checkpoint-4"))
        done = command(*words)
    assert done.code == 1
    assert "checkpoint-4" in done.err
    assert command(*words, "--json").json["computed"] == [0, 2]


def test_a_checkpoint_written_again_meanwhile_is_not_taken_for_the_planned_one(copied, command, monkeypatch):
    run = copied()
    with monkeypatch.context() as patched:
        before_step(patched, 4, lambda: changed(run / "checkpoint-4"))
        done = command(*words_of(run))
    assert done.code == 1
    assert "checkpoint-4 was written again meanwhile" in done.err
    assert Store(run / "trace").steps() == [0, 2]
    assert command(*words_of(run, "--json")).json["computed"] == [4]


@pytest.mark.parametrize("value", [pytest.param(float("nan"), marks=pytest.mark.slow), float("inf")])
def test_weights_that_are_no_numbers_are_a_failed_step(copied, command, value):
    run = copied()
    changed(run / "checkpoint-2", value)
    done = command(*words_of(run))
    assert done.code == 1
    assert "step 2 failed: " in done.err
    assert "not numbers" in done.err
    assert Store(run / "trace").steps() == [0, 4]


def test_an_adapter_whose_settings_changed_is_not_measured_with_those_of_another(copied, command):
    """The tensors of both fit; what they do differs by a factor."""
    run = copied(lora=True)
    file = run / "checkpoint-4" / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"lora_alpha": 64}))
    done = command(*words_of(run))
    assert done.code == 1
    assert "step 4 failed: " in done.err
    assert Store(run / "trace").steps() == [0, 2]


# Tokenizers


def saved_tokenizer(folder: Path, texts: list[str]) -> None:
    bpe_tokenizer(texts).save_pretrained(folder)


def test_a_tokenizer_that_changed_between_checkpoints_is_refused(copied, command, tmp_path):
    run = copied()
    saved_tokenizer(run / "checkpoint-2", [text[::-1] for text in data_texts()])
    done = command(*words_of(run))
    assert is_one_block(done, "step 2", run / "checkpoint-2", "another tokenizer", "--tokenizer")
    assert not (run / "trace").exists()
    assert command(*words_of(run, "--steps", "0,4")).code == 0
    explicit = command(*words_of(run, "--tokenizer", run / "checkpoint-4", "--out", tmp_path / "t"))
    assert explicit.code == 0, explicit.err


@pytest.mark.slow
def test_a_tokenizer_saved_with_other_settings_is_the_same(copied, command):
    run = copied()
    file = run / "checkpoint-2" / "tokenizer.json"
    content = json.loads(file.read_text(encoding="utf-8"))
    content["truncation"] = {"direction": "Right", "max_length": 512, "strategy": "LongestFirst", "stride": 0}
    file.write_text(json.dumps(content), encoding="utf-8")
    assert command(*words_of(run)).code == 0


def with_rows(checkpoint: Path, rows: int) -> None:
    """A checkpoint with more tokens than it had, as after resizing its embedding."""
    model = AutoModelForCausalLM.from_pretrained(checkpoint)
    model.resize_token_embeddings(rows, mean_resizing=False)
    model.save_pretrained(checkpoint)


@pytest.mark.slow
def test_a_base_may_lack_tokens_that_finetuning_added_but_has_no_others(copied, command, tmp_path):
    run = copied()
    added = bpe_tokenizer(data_texts())
    added.add_tokens(["born"])
    for step in (2, 4):
        added.save_pretrained(run / f"checkpoint-{step}")
        with_rows(run / f"checkpoint-{step}", len(added))
    done = command(*words_of(run, "--measures", "loss", "--ift", run.parent / "alpaca.json"))
    assert done.code == 1
    assert "step 0 failed: " in done.err
    assert "tokens, and the data has token" in done.err
    assert Store(run / "trace").steps() == [2, 4]
    saved_tokenizer(run.parent / "base", [text[::-1] for text in data_texts()])
    done = command(*words_of(run, "--out", tmp_path / "t"))
    assert is_one_block(done, "step 0", "another tokenizer", run.parent / "base")


# Traces and the runs that they are of


def assert_same(here: Path, there: Path) -> None:
    xr.testing.assert_identical(attnshift.open_trace(here).drop_attrs(), attnshift.open_trace(there).drop_attrs())


@pytest.mark.slow
def test_a_run_that_was_moved_is_resumed_and_extended(copied, command, tmp_path):
    run = copied()
    assert command(*words_of(run, "--steps", "0,2")).code == 0
    moved = run.parent.rename(tmp_path / "elsewhere") / "run"
    done = command(*words_of(moved, "--measures", "margin,loss", "--ift", moved.parent / "alpaca.json"))
    assert "was made differently: examples" in done.err
    done = command(*words_of(moved, "--measures", "margin,attention_mass", "--json"))
    assert (done.code, done.json["computed"]) == (0, [0, 2, 4])
    again = copied("again")
    assert command(*words_of(again, "--measures", "margin,attention_mass")).code == 0
    here, there = (attnshift.open_trace(each / "trace").drop_vars("checkpoint") for each in (moved, again))
    xr.testing.assert_identical(here.drop_attrs(), there.drop_attrs())


def test_the_trace_of_another_run_is_not_added_to(copied, command):
    """Neither where both have the same steps, nor where they have none in common but the base's."""
    first, second = copied("first"), copied("second")
    for step in (2, 4):
        changed(second / f"checkpoint-{step}")
    assert command(*words_of(first)).code == 0
    trace = first / "trace"
    done = command(*words_of(second, "--out", trace))
    assert is_one_block(done, trace, first, second, "--out")
    for step in (2, 4):
        (second / f"checkpoint-{step}").rename(second / f"checkpoint-{step + 1}")
        for file in (second / f"checkpoint-{step + 1}").glob("trainer_state.json"):
            file.unlink()
    done = command(*words_of(second, "--out", trace))
    assert is_one_block(done, trace, first, second, "--out")
    assert Store(trace).steps() == [0, 2, 4]


@pytest.mark.slow
def test_a_run_made_anew_in_its_place_is_told_of_what_the_trace_still_holds(copied, command):
    run = copied()
    assert command(*words_of(run)).code == 0
    (run / "checkpoint-2").rename(run / "checkpoint-3")
    (run / "checkpoint-3" / "trainer_state.json").unlink()
    changed(run / "checkpoint-3")
    done = command(*words_of(run, "--json"))
    assert (done.code, done.json["computed"]) == (0, [3])
    assert "note: the trace also holds step 2, which the run doesn't have" in done.err


@pytest.mark.slow
def test_files_from_the_past_and_the_future(copied, command):
    """Clocks go backwards, and machines disagree; nothing is decided by them."""
    run = copied()
    assert command(*words_of(run, "--steps", "0,2")).code == 0
    first = attnshift.open_trace(run / "trace")
    for number, file in enumerate(sorted((run / "trace").iterdir())):
        os.utime(file, (number % 2 * 4e9, number % 2 * 4e9))
    xr.testing.assert_identical(attnshift.open_trace(run / "trace"), first)
    done = command(*words_of(run, "--json"))
    assert (done.json["kept"], done.json["computed"]) == ([0, 2], [4])
    assert attnshift.open_trace(run / "trace").step.values.tolist() == [0, 2, 4]


# Signals and errors on the way


@pytest.mark.parametrize(("by", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_signals_end_it_with_a_word(copied, command, monkeypatch, by, code):
    run = copied()
    with monkeypatch.context() as patched:
        before_step(patched, 2, lambda: os.kill(os.getpid(), by))
        done = command(*words_of(run))
    assert done.code == code
    assert done.err.splitlines()[-1].startswith("interrupted; what was computed is kept")
    assert "Traceback" not in done.err
    assert command(*words_of(run, "--json")).json["computed"] == [2, 4]
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


@pytest.mark.parametrize(("by", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_that_comes_while_an_object_is_cleared_up_is_not_lost(copied, command, monkeypatch, by, code):
    """Python drops what is raised there, the interrupt too, and would go on to the end."""

    class Cleared:
        def __del__(self) -> None:
            os.kill(os.getpid(), by)

    def clear() -> None:
        Cleared()
        time.sleep(1)

    run = copied()
    with monkeypatch.context() as patched:
        before_step(patched, 2, clear)
        done = command(*words_of(run))
    assert done.code == code
    assert "Traceback" not in done.err
    assert Store(run / "trace").steps() == [0]


@pytest.mark.slow
def test_a_library_that_makes_something_else_of_an_interrupt(copied, command, monkeypatch):
    """It isn't taken for a checkpoint that can't be measured, with all the others to follow."""

    def stumble() -> None:
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt as error:
            raise RuntimeError("Can't decrement id ref count") from error

    run = copied()
    with monkeypatch.context() as patched:
        before_step(patched, 2, stumble)
        done = command(*words_of(run))
    assert done.code == 130
    assert Store(run / "trace").steps() == [0]
    assert command(*words_of(run, "--json")).json["computed"] == [2, 4]


@pytest.mark.slow
@pytest.mark.filterwarnings("default:memory ran out")
def test_memory_that_really_runs_out(copied, command, tmp_path):
    """All at once in a process that may not have so much: the budget halves, and the numbers are the same."""
    import resource

    from forks import forked

    run = copied()

    def little() -> None:
        import psutil

        size = psutil.Process().memory_info().vms + 40 * 2**20
        resource.setrlimit(resource.RLIMIT_AS, (size, size))
        large = torch.nn.functional.scaled_dot_product_attention

        def hungry(query, *arguments, **options):
            torch.empty(query.shape[0] * query.shape[2] * 200_000, dtype=torch.uint8)
            return large(query, *arguments, **options)

        torch.nn.functional.scaled_dot_product_attention = hungry

    done = forked(words_of(run, "--token-budget", "8192"), tmp_path / "log", little)
    assert done.code == 0, done.err
    assert "memory ran out with 8192 tokens in a batch" in done.err
    assert command(*words_of(run, "--out", tmp_path / "t")).code == 0
    here, there = attnshift.open_trace(run / "trace"), attnshift.open_trace(tmp_path / "t")
    np.testing.assert_allclose(here.margin, there.margin, atol=1e-4)
