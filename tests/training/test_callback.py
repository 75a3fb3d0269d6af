"""Measured while it trains: the same numbers as from checkpoints, and a training that doesn't notice."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny import alpaca_rows, bpe_tokenizer, conflict_rows, data_texts, tiny_model
from transformers import Trainer, TrainerCallback, TrainingArguments

import attnshift
from attnshift.tracing.netcdf import read_netcdf
from attnshift.training.callback import log_steps

STEPS = 3


@pytest.fixture(scope="module")
def tokenizer():
    return bpe_tokenizer(data_texts())


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    (folder / "cf.json").write_text(json.dumps(conflict_rows(4)), encoding="utf-8")
    (folder / "alpaca.json").write_text(json.dumps(alpaca_rows(9)), encoding="utf-8")
    return {
        "items": attnshift.load_items(folder / "cf.json"),
        "examples": attnshift.load_examples(folder / "alpaca.json"),
        "max_new_tokens": 4,
        "template": "plain",
    }


def training_rows(tokenizer) -> list[dict[str, torch.Tensor]]:
    rows = []
    for row in alpaca_rows(8):
        ids = torch.tensor(
            tokenizer(f"{row['input']}\n\nQuestion: {row['instruction']}\nAnswer: {row['output']}")["input_ids"]
        )
        rows.append({"input_ids": ids, "labels": ids})
    return rows


def make_model(base: Path, family: str, lora: bool, vocabulary: int, dropout: float = 0.1) -> Any:
    """A model with dropout, saved as it begins."""
    model = tiny_model(family, vocabulary, scale=1.5)
    for name in ("attention_dropout", "attn_pdrop", "resid_pdrop", "embd_pdrop"):
        if hasattr(model.config, name):
            setattr(model.config, name, dropout)
    model.save_pretrained(base)
    model = type(model).from_pretrained(base)
    if not lora:
        return model
    from peft import LoraConfig, get_peft_model

    targets = {"gpt2": ["c_attn"], "neox": ["query_key_value"]}.get(family, ["q_proj", "v_proj"])
    torch.manual_seed(1)
    config = LoraConfig(r=4, lora_dropout=dropout, target_modules=targets, task_type="CAUSAL_LM")
    config.fan_in_fan_out = family == "gpt2"
    return get_peft_model(model, config)


def make_trainer(run: Path, model, tokenizer, callbacks=(), **options) -> Trainer:
    arguments = {
        "max_steps": STEPS,
        "save_steps": 1,
        "save_only_model": True,
        "logging_steps": 1,
        "per_device_train_batch_size": 1,
        "learning_rate": 2e-3,
        "report_to": [],
        "use_cpu": True,
        "disable_tqdm": True,
        "seed": 0,
    }
    return Trainer(
        model=model,
        args=TrainingArguments(output_dir=str(run), **(arguments | options)),
        train_dataset=training_rows(tokenizer),
        processing_class=tokenizer,
        callbacks=list(callbacks),
    )


def losses(trainer: Trainer) -> list[dict[str, float]]:
    """Everything that the trainer itself logs of a step."""
    kept = ("loss", "grad_norm", "learning_rate", "step", "epoch")
    return [{k: row[k] for k in kept} for row in trainer.state.log_history if "loss" in row]


def random_numbers() -> tuple[float, float, float]:
    return random.random(), float(np.random.rand()), float(torch.rand(()))  # noqa: NPY002


HARDER = {"gradient_accumulation_steps": 2, "activation_checkpointing": True}
KINDS = [
    ("llama", True, HARDER),
    *(
        pytest.param(kind, marks=pytest.mark.slow)
        for kind in [
            ("llama", False, {}),
            ("gpt2", False, HARDER),
            ("gpt2", True, {}),
            ("llama", False, {"bf16": True, **HARDER}),
            ("neox", True, {}),
            ("llama_tied", False, {"save_only_model": False}),
        ]
    ),
]


@pytest.fixture(
    scope="module", params=KINDS, ids=lambda kind: "-".join([kind[0], "lora" if kind[1] else "full", *kind[2]])
)
def trained(request, tokenizer, data, tmp_path_factory):
    """The same training twice: by itself, and measured."""
    family, lora, options = request.param
    folder = tmp_path_factory.mktemp(family)
    plain = make_trainer(
        folder / "plain", make_model(folder / "base", family, lora, len(tokenizer)), tokenizer, **options
    )
    plain.train()
    after = random_numbers()
    shift = attnshift.ShiftCallback(**data, steps=1)
    model = make_model(folder / "base", family, lora, len(tokenizer))
    watched = make_trainer(folder / "run", model, tokenizer, **options)
    shift.attach(watched)
    watched.train()
    return plain, watched, shift, folder, after, random_numbers()


def test_training_is_the_same_to_the_last_bit(trained):
    plain, watched, _, _, after, after_watched = trained
    assert losses(plain) == losses(watched)
    assert len(losses(plain)) == STEPS
    mine, theirs = plain.model.state_dict(), watched.model.state_dict()
    assert mine.keys() == theirs.keys()
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)
    assert after == after_watched


def test_the_trace_is_that_of_the_saved_checkpoints(trained, data, tmp_path):
    _, _, shift, folder, _, _ = trained
    live = shift.trace()
    afterwards = attnshift.trace(attnshift.open_series(folder / "run", base=str(folder / "base")), out=tmp_path, **data)
    assert live.step.values.tolist() == afterwards.step.values.tolist() == list(range(STEPS + 1))
    assert set(live.variables) == set(afterwards.variables)
    for name in live.variables:
        mine, theirs = live[name].values, afterwards[name].values
        if name in ("epoch", "checkpoint"):  # a folder of its own; the base states no epoch
            continue
        if mine.dtype == object or mine.dtype.kind in "US":
            assert mine.tolist() == theirs.tolist(), name
        else:
            np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=1e-5, err_msg=name)


def test_a_trace_of_the_saved_checkpoints_goes_on_with_it(trained, data):
    """The same files are kept as they are, and a further measure is added to them."""
    _, _, shift, folder, _, _ = trained
    series, out = attnshift.open_series(folder / "run", base=str(folder / "base")), folder / "run" / "trace"
    assert series.run.digests == {
        step: read_netcdf(out / f"step-{step:08d}.nc").attrs["checkpoint_digest"] for step in series.steps
    }
    before = {file.name: file.stat().st_mtime_ns for file in out.glob("step-*.nc")}
    again = attnshift.trace(series, **data)
    assert {file.name: file.stat().st_mtime_ns for file in out.glob("step-*.nc")} == before
    assert set(again.checkpoint.values.tolist()) == {"in memory"}
    more = attnshift.trace(series, measures=["margin", "lens_margin"], **data)
    assert np.isfinite(more.lens_margin.values).all()
    np.testing.assert_array_equal(more.margin, shift.trace().margin)


def test_scalars_are_in_the_log(trained):
    _, watched, shift, _, _, _ = trained
    rows = {row["step"]: row for row in watched.state.log_history if "shift/margin" in row}
    trace = shift.trace()
    assert sorted(rows) == trace.step.values.tolist()
    for step, row in rows.items():
        here = trace.sel(step=step)
        roles = ["context", "context_answer", "parametric_answer"]
        expected = {
            "margin": here.margin.mean(),
            "counterfactual_accuracy": here.counterfactual_accuracy.mean(),
            "parametric_accuracy": here.parametric_accuracy.mean(),
            "context_mass": here.attention_mass.sel(role=roles).sum("role").mean(),
        }
        for group in trace.group.values:
            expected[f"gradient_norm_{group}"] = here.gradient_norm.sel(group=group)
            expected[f"loss_{group}"] = here.loss[(trace.group_of_example == group).values].mean()
        assert {name.removeprefix("shift/") for name in row if name.startswith("shift/")} == set(expected)
        for name, value in expected.items():
            assert row[f"shift/{name}"] == pytest.approx(float(value), rel=1e-5, abs=1e-6), name


class Recorder(TrainerCallback):
    """What reaches a reporting integration, which stands before the callbacks of the user."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []

    def on_log(self, args, state, control, logs=None, **_):
        self.rows.append({**logs, "step": state.global_step})


CHEAP = ["margin", "loss"]


def small(folder: Path, tokenizer, data, *, model=None, callbacks=(), trainer=None, **options):
    """A callback with cheap measures and its trainer."""
    shift = attnshift.ShiftCallback(**(data | {"measures": CHEAP} | options))
    model = model or make_model(folder / "base", "llama", False, len(tokenizer), 0.0)
    return shift, make_trainer(folder / "run", model, tokenizer, [*callbacks], save_strategy="no", **(trainer or {}))


def test_scalars_go_where_the_trainer_reports_to(tokenizer, data, tmp_path):
    recorder = Recorder()
    shift, trainer = small(tmp_path, tokenizer, data, callbacks=[recorder])
    assert shift.attach(trainer) is shift.attach(trainer)
    trainer.train()
    steps = [row["step"] for row in recorder.rows if "shift/margin" in row]
    assert steps == [0, 1, 2, 3]
    assert [row["step"] for row in recorder.rows if "loss" in row] == [1, 2, 3]
    assert recorder.rows[0]["shift/margin"] == pytest.approx(float(shift.trace().margin.sel(step=0).mean()))


def test_without_a_trainer_scalars_stay_in_its_history(tokenizer, data, tmp_path):
    recorder = Recorder()
    shift, trainer = small(tmp_path, tokenizer, data, callbacks=[recorder])
    trainer.add_callback(shift)
    trainer.train()
    assert [row["step"] for row in trainer.state.log_history if "shift/margin" in row] == [0, 1, 2, 3]
    assert not any("shift/margin" in row for row in recorder.rows)
    assert len(losses(trainer)) == STEPS


@pytest.mark.parametrize(("steps", "expected"), [(2, [0, 2, 3]), pytest.param([1], [0, 1, 3], marks=pytest.mark.slow)])
def test_steps(tokenizer, data, tmp_path, steps, expected):
    shift, trainer = small(tmp_path, tokenizer, data, steps=steps)
    shift.attach(trainer)
    trainer.train()
    assert shift.trace().step.values.tolist() == expected


def test_steps_evenly_in_log_step():
    assert sorted(log_steps(100)) == [1, 2, 3, 4, 6, 8, 11, 16, 23, 32, 45, 64, 91, 100]
    assert sorted(log_steps(1)) == [1]
    assert not log_steps(0)


@pytest.mark.slow
def test_the_last_step_of_a_training_that_is_stopped_is_measured(tokenizer, data, tmp_path):
    class Stop(TrainerCallback):
        def on_log(self, args, state, control, **_):
            control.should_training_stop = state.global_step == 2

    shift, trainer = small(tmp_path, tokenizer, data, callbacks=[Stop()], steps=[])
    shift.attach(trainer)
    trainer.train()
    assert shift.trace().step.values.tolist() == [0, 2]


@pytest.mark.slow
def test_a_resumed_training_goes_on_with_its_trace(tokenizer, data, tmp_path):
    keep = {"save_only_model": False}
    shift, trainer = small(tmp_path, tokenizer, data, steps=1)
    trainer = make_trainer(tmp_path / "run", trainer.model, tokenizer, **keep)
    shift.attach(trainer)
    trainer.train()
    whole = shift.trace().load()
    first = (tmp_path / "run" / "trace" / "step-00000001.nc").stat().st_mtime_ns
    again = attnshift.ShiftCallback(**data, measures=CHEAP, steps=1)
    trainer = make_trainer(
        tmp_path / "run", make_model(tmp_path / "base", "llama", False, len(tokenizer), 0.0), tokenizer, **keep
    )
    again.attach(trainer)
    with pytest.warns(UserWarning, match=r"goes on from step 1: what was measured at \[2, 3\] is dropped"):
        trainer.train(resume_from_checkpoint=str(tmp_path / "run" / "checkpoint-1"))
    resumed = again.trace()
    assert (tmp_path / "run" / "trace" / "step-00000001.nc").stat().st_mtime_ns == first
    np.testing.assert_array_equal(whole.checkpoint_digest.values, resumed.checkpoint_digest.values)
    np.testing.assert_array_equal(whole.margin.values, resumed.margin.values)


@pytest.mark.slow
def test_a_directory_with_another_trainings_trace_is_refused(tokenizer, data, tmp_path):
    shift, trainer = small(tmp_path, tokenizer, data, steps=[])
    shift.attach(trainer)
    trainer.train()
    with pytest.raises(
        attnshift.AttnshiftError, match="already holds the trace of a training, 1 steps up to 3"
    ) as error:
        trainer.train()
    assert "out=" in str(error.value)


def break_at(monkeypatch, step: int, error: Exception) -> None:
    import attnshift.tracing.live as live

    real = live.compute_cell

    def compute_cell(task, subject, state, *rest):
        if state.step == step:
            raise error
        return real(task, subject, state, *rest)

    monkeypatch.setattr(live, "compute_cell", compute_cell)


def test_a_step_that_fails_ends_training_with_one_error(tokenizer, data, tmp_path, monkeypatch):
    break_at(monkeypatch, 2, ZeroDivisionError("nothing"))
    shift, trainer = small(tmp_path, tokenizer, data)
    shift.attach(trainer)
    with pytest.raises(attnshift.AttnshiftError, match="step 2 can't be measured: ZeroDivisionError: nothing") as error:
        trainer.train()
    assert "on_failure='record'" in str(error.value)
    assert trainer.model.training
    assert trainer.model.config._attn_implementation != "attnshift"


@pytest.mark.slow
def test_a_failed_step_can_be_recorded_instead(tokenizer, data, tmp_path, monkeypatch):
    plain = make_trainer(tmp_path / "plain", make_model(tmp_path / "base", "llama", False, len(tokenizer)), tokenizer)
    plain.train()
    break_at(monkeypatch, 2, ZeroDivisionError("nothing"))
    model = make_model(tmp_path / "base", "llama", False, len(tokenizer))
    shift, trainer = small(tmp_path, tokenizer, data, model=model, on_failure="record")
    shift.attach(trainer)
    trainer.train()
    assert shift.trace().step.values.tolist() == [0, 1, 3]
    assert json.loads(shift.trace().attrs["failed"]) == {"2": "ZeroDivisionError: nothing"}
    assert losses(plain) == losses(trainer)


@pytest.mark.parametrize(
    ("stated", "told"),
    [
        ({"fsdp": ["full_shard"]}, "FSDP"),
        ({"deepspeed": "ds.json"}, "DeepSpeed"),
        ({"world_size": 2}, "2 processes train it"),
        ({"n_gpu": 2}, "DataParallel copies it to 2 GPUs"),
    ],
)
def test_what_the_arguments_say_of_shards_is_refused(tokenizer, data, tmp_path, stated, told):
    class Args:
        fsdp, deepspeed, world_size, n_gpu, output_dir = [], None, 1, 1, str(tmp_path)

    for name, value in stated.items():
        setattr(Args, name, value)
    with pytest.raises(attnshift.AttnshiftError, match=f"while it is trained: .*{told}") as error:
        attnshift.ShiftCallback(**data).on_train_begin(
            Args, None, None, model=tiny_model("llama"), processing_class=tokenizer
        )
    assert "attnshift trace --ckpts RUN" in str(error.value)


def test_bad_input_is_told(tokenizer, data, tmp_path):
    for steps in ("all", 0, True, [-1], 1.5):
        with pytest.raises(attnshift.AttnshiftError, match="steps are"):
            attnshift.ShiftCallback(steps=steps)
    with pytest.raises(attnshift.AttnshiftError, match="on_failure is 'ignore'"):
        attnshift.ShiftCallback(on_failure="ignore")
    with pytest.raises(attnshift.AttnshiftError, match="nothing is measured yet"):
        attnshift.ShiftCallback().trace()
    shift, trainer = small(tmp_path, tokenizer, data)
    trainer.callback_handler.processing_class = None
    with pytest.raises(attnshift.AttnshiftError, match="the trainer has no tokenizer"):
        shift.attach(trainer).on_train_begin(trainer.args, trainer.state, trainer.control, model=trainer.model)
    shift, trainer = small(tmp_path, tokenizer, data, measures=["no_such"])
    shift.attach(trainer)
    with pytest.raises(attnshift.AttnshiftError, match="there is no measure 'no_such'"):
        trainer.train()


@pytest.mark.slow
def test_preconditioned_pushes_use_the_optimizer_in_memory(tokenizer, data, tmp_path):
    model = make_model(tmp_path / "base", "llama", False, len(tokenizer))
    measures = {"measures": ["margin_push", "margin_push_preconditioned"]}
    shift = attnshift.ShiftCallback(**data, **measures, steps=1)
    trainer = make_trainer(tmp_path / "run", model, tokenizer, save_only_model=False)
    shift.attach(trainer)
    trainer.train()
    live, series = shift.trace(), attnshift.open_series(tmp_path / "run", base=str(tmp_path / "base"))
    later = attnshift.trace(series, out=tmp_path / "later", **data, **measures)
    assert np.isfinite(live.margin_push_preconditioned.sel(step=[1, 2, 3])).all()
    np.testing.assert_allclose(live.margin_push_preconditioned, later.margin_push_preconditioned, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.gradient_checkpointing. is deprecated:FutureWarning")  # TRL still says it
@pytest.mark.parametrize("lora", [False, True], ids=["full", "lora"])
def test_trl(tokenizer, data, tmp_path, lora):
    """TRL's trainer patches the model's forward, and wraps it in an adapter itself."""
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM
    from trl import SFTConfig, SFTTrainer

    make_model(tmp_path / "base", "llama", False, len(tokenizer))
    rows = [{"prompt": f"{row['input']} {row['instruction']}", "completion": row["output"]} for row in alpaca_rows(8)]

    def train(run: Path, callbacks) -> SFTTrainer:
        trainer = SFTTrainer(
            model=AutoModelForCausalLM.from_pretrained(tmp_path / "base"),
            args=SFTConfig(
                output_dir=str(run),
                max_steps=STEPS,
                save_steps=1,
                logging_steps=1,
                per_device_train_batch_size=2,
                bf16=False,
                use_cpu=True,
                report_to=[],
                disable_tqdm=True,
            ),
            train_dataset=Dataset.from_list(rows),
            processing_class=tokenizer,
            peft_config=LoraConfig(r=2, lora_dropout=0.1, task_type="CAUSAL_LM") if lora else None,
            callbacks=callbacks,
        )
        trainer.train()
        return trainer

    shift = attnshift.ShiftCallback(**data, steps=1)
    plain, watched = train(tmp_path / "plain", []), train(tmp_path / "run", [shift])
    assert losses(plain) == losses(watched)
    live, series = shift.trace(), attnshift.open_series(tmp_path / "run", base=str(tmp_path / "base"))
    later = attnshift.trace(series, out=tmp_path / "later", **data)
    for name in ("attention_mass", "margin", "loss", "gradient_norm", "example_margin_push"):
        np.testing.assert_allclose(live[name], later[name], rtol=1e-5, atol=1e-5, err_msg=name)
    assert live.checkpoint_digest.values.tolist() == later.checkpoint_digest.values.tolist()
