"""From examples to a run that a trace reads."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from made import base_of, data_of
from tiny_organism import TINY
from transformers import TrainerCallback

import attnshift
from attnshift import AttnshiftError, load_examples, load_items
from attnshift.checkpoints.manifest import read_manifest
from attnshift.data.groups import Rule
from attnshift.data.items import GROUPS
from attnshift.data.roles import ANSWER
from attnshift.organism.build import build_run
from attnshift.training.base import open_base
from attnshift.training.finetune import finetune, prepare, read
from attnshift.training.plan import Plan
from attnshift.training.record import measured

OPTIONS = {"steps": 4, "batch_size": 8, "learning_rate": 1e-2, "saves": 3, "template": "alpaca", "device": "cpu"}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return base_of(tmp_path_factory.mktemp("llama") / "base")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    files = data_of(tmp_path_factory.mktemp("data"))
    return load_examples(files[0]), load_items(files[1])


def made(base, data, out, **options):
    examples, items = data
    return finetune(base, examples, out, items=items, **{**OPTIONS, **options})


def digests(run):
    return attnshift.open_series(run).run.digests


def weights(run, step):
    return attnshift.open_series(run)[step].model().state_dict()


def test_a_run_that_a_trace_reads(base, data, tmp_path):
    said: list[str] = []
    run = made(base, data, tmp_path / "run", say=said.append)
    manifest = read_manifest(run)
    assert (manifest.arm, manifest.seed, manifest.template, manifest.base) == ("full", 0, "alpaca", str(base))
    assert manifest.shares == {"critical": 24 / 40, "non_critical": 8 / 40, "no_context": 8 / 40}
    assert list(manifest.learning_rate) == [1, 2, 4]
    series = attnshift.open_series(run)
    assert series.steps == (0, 1, 2, 4)
    assert {e.group for e in load_examples(run / "ift.jsonl")} == {"critical", "non_critical", "no_context"}
    trace = attnshift.trace(series, measures=["loss", "margin"], device="cpu", steps=[0])
    assert trace.sizes == {**trace.sizes, "step": 1, "example": 40, "item": 10}
    assert said[0] == "grouping 32 examples by the base's loss without their context"


def test_the_first_logged_loss_is_the_traced_one(base, data, tmp_path):
    """The loss is on the tokens that the trace scores: with all examples in one batch, it is their mean."""
    run = made(base, data, tmp_path / "run", batch_size=40, steps=2)
    trace = attnshift.trace(attnshift.open_series(run), measures=["loss"], device="cpu", steps=[0])
    tokens = (trace["ift_token_role"].values == ANSWER).sum(-1)
    expected = float((trace["loss"].isel(step=0).values * tokens).sum() / tokens.sum())
    logged = json.loads((run / "checkpoint-1" / "trainer_state.json").read_text())["log_history"][0]["loss"]
    assert logged == pytest.approx(expected, abs=1e-5)


@pytest.mark.slow
def test_groups_are_those_of_a_trace(base, data, tmp_path):
    examples, _ = data
    plan = Plan(**{k: v for k, v in OPTIONS.items() if k != "device"})
    ours = read(open_base(base, device="cpu"), examples, plan, lambda _: None)
    trace = attnshift.trace(
        attnshift.open_series(base), examples=examples, template="alpaca", measures=["loss"], out=tmp_path, device="cpu"
    )
    assert [e.group for e in ours.inputs.examples] == trace["group_of_example"].values.tolist()


@pytest.mark.slow
def test_the_organism_by_the_command_is_the_organism_to_the_last_bit(tmp_path):
    own = build_run(tmp_path / "own", TINY, seed=3)
    schedule = TINY.finetuning
    ours = finetune(
        own / "base",
        load_examples(own / "train.jsonl"),
        tmp_path / "ours",
        steps=schedule.steps,
        learning_rate=schedule.learning_rate,
        warmup=schedule.warmup,
        batch_size=schedule.batch,
        betas=(0.9, 0.98),
        most_norm=0.0,
        saves=2,
        seed=3,
        template=str(own / "prompt.jinja"),
        target_eos=False,
        device="cpu",
    )
    last = schedule.steps
    assert digests(ours)[last] == digests(own)[last]
    assert digests(ours)[0] == digests(own)[0]
    assert read_manifest(ours).template == str(ours / "prompt.jinja")


@pytest.mark.slow
def test_it_goes_on_where_it_stopped_and_refuses_anything_else(base, data, tmp_path):
    class Stop(TrainerCallback):
        def on_step_end(self, args, state, control, **_):
            if state.global_step == 3:
                raise KeyboardInterrupt

    whole = made(base, data, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        made(base, data, tmp_path / "run", callbacks=[Stop()])
    said: list[str] = []
    made(base, data, tmp_path / "run", say=said.append)
    assert said[-1].endswith("going on from checkpoint-2")
    assert digests(tmp_path / "run") == digests(whole)
    before = (whole / "checkpoint-4" / "model.safetensors").stat().st_mtime_ns
    made(base, data, whole, say=said.append)
    assert said[-1].endswith("is complete")
    assert (whole / "checkpoint-4" / "model.safetensors").stat().st_mtime_ns == before
    with pytest.raises(AttnshiftError, match="holds a finetuning with other seed\n"):
        made(base, data, whole, seed=1)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("all of it")
    with pytest.raises(AttnshiftError, match="holds something else"):
        made(base, data, tmp_path / "mine")


def test_arms_see_equally_many_tokens_at_every_step(base, data):
    examples, items = data
    found = open_base(base, device="cpu")
    common = {k: v for k, v in OPTIONS.items() if k != "device"}
    grouped = read(found, examples, Plan(**common), lambda _: None)
    seen, capacities = {}, set()
    for arm in ("full", "context-only", "critical", "random-drop", "augmented", "qk"):
        ready = prepare(found, grouped, Plan(arm=arm, ratio=0.2, **common), items, lambda _: None)
        lengths = np.array([len(t.sequence) for t in ready.inputs.example_tokens])
        seen[arm] = np.cumsum([lengths[batch].sum() for batch in ready.batches().of_epoch(0)])
        assert ready.schedule.steps == 4
        assert np.abs(seen[arm] - ready.capacity * np.arange(1, len(seen[arm]) + 1)).max() <= lengths.max()
        capacities.add(ready.capacity)
    assert len(capacities) == 1


@pytest.mark.slow
@pytest.mark.parametrize(("family", "fused"), [("llama", False), ("neox", True), ("gpt2", True)])
def test_qk_moves_queries_and_keys_alone(family, fused, data, tmp_path):
    base = base_of(tmp_path / "base", family)
    said: list[str] = []
    run = made(base, data, tmp_path / "run", arm="qk", weight_decay=0.1, saves=1, say=said.append)
    assert any("one matrix" in line for line in said) == fused
    before, after = weights(run, 0), weights(run, 4)
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    manifest = read_manifest(run)
    assert moved == set(manifest.trained)
    if not fused:
        assert moved == {f"model.layers.{i}.self_attn.{m}_proj.weight" for i in range(2) for m in "qk"}
        return
    for name in moved:
        change = after[name] - before[name]
        if family == "neox":  # head by head: its q, k, v
            q, k, v = change.unflatten(0, (4, 3, 8)).unbind(1)
        else:
            q, k, v = change.chunk(3, -1)
        assert not v.any()
        assert q.any()
        assert k.any() or name.endswith("bias")  # a constant on all keys changes no attention


@pytest.mark.slow
def test_adapters(base, data, tmp_path):
    run = made(base, data, tmp_path / "run", lora=4, saves=1)
    config = json.loads((run / "checkpoint-4" / "adapter_config.json").read_text())
    assert (config["r"], config["lora_alpha"], config["base_model_name_or_path"]) == (4, 8, str(base))
    kinds = {name.rpartition(".")[2].removesuffix("_proj") for name in config["target_modules"]}
    assert kinds == {"q", "k", "v", "o", "gate", "up", "down"}
    series = attnshift.open_series(run)
    assert series.steps == (0, 4)
    again = made(base, data, tmp_path / "again", lora=4, saves=1)
    assert digests(run) == digests(again)
    assert digests(run)[4] != digests(made(base, data, tmp_path / "other", lora=4, saves=1, seed=1))[4]
    only = made(base, data, tmp_path / "qk", lora=4, saves=1, arm="qk")
    targets = json.loads((only / "checkpoint-4" / "adapter_config.json").read_text())["target_modules"]
    assert {name.rpartition(".")[2] for name in targets} == {"q_proj", "k_proj"}


@pytest.mark.slow
def test_adapters_of_fused_queries_are_refused(data, tmp_path):
    base = base_of(tmp_path / "base", "gpt2")
    with pytest.raises(AttnshiftError, match=r"c_attn\.bias holds queries, keys and values in one matrix"):
        made(base, data, tmp_path / "run", lora=4, arm="qk")
    assert not (tmp_path / "run").exists()


def test_what_cannot_be_read_is_left_out_and_listed(base, data, tmp_path):
    examples, items = data
    longer = [*examples, replace(examples[1], id="long", context="tea " * 500)]
    said: list[str] = []
    run = finetune(base, longer, tmp_path / "run", items=items, say=said.append, **OPTIONS)
    assert "1 examples left out; the first is 'long'" in said[0]
    assert [json.loads(line)["id"] for line in (run / "left_out.jsonl").read_text().splitlines()] == ["long"]
    assert len(load_examples(run / "ift.jsonl")) == 40
    with pytest.raises(AttnshiftError, match=r"none of the 41 examples can be used; the first: .* window of 8"):
        finetune(base, longer, tmp_path / "other", max_length=8, **OPTIONS)


@pytest.mark.slow
def test_held_out_examples_are_measured_only(base, data, tmp_path):
    examples = [replace(e, split="heldout") if i % 10 == 3 else e for i, e in enumerate(data[0])]
    run = finetune(base, examples, tmp_path / "run", **OPTIONS)
    assert [e.split for e in load_examples(run / "ift.jsonl")] == ["train"] * 36 + ["heldout"] * 4
    assert [e.id for e in load_examples(run / "train.jsonl")] == [e.id for e in examples if e.split == "train"]
    assert json.loads((run / "finetune.json").read_text())["examples"] == 36


@pytest.mark.slow
def test_provenance_of_counterfactual_examples_stays(base, data, tmp_path):
    run = made(base, data, tmp_path / "run", arm="augmented", ratio=0.2)
    rows = [json.loads(line) for line in (run / "train.jsonl").read_text().splitlines()]
    assert [row["origin"] for row in rows if "origin" in row]
    assert len(rows) == 50
    assert read_manifest(run).shares["critical"] == pytest.approx(34 / 50)


def test_a_trace_measures_some_of_each_group():
    rows = [attnshift.Example(id=f"e{i}", question="q", answer="a", group=GROUPS[i % 2]) for i in range(900)]
    heldout = [replace(e, id=f"h{e.id}", split="heldout") for e in rows[:300]]
    found = measured(rows, heldout)
    assert [e.group for e in found[:500]] == [*["critical"] * 250, *["non_critical"] * 250]
    assert [e.split for e in found[500:]] == ["heldout"] * 250
    fewer = measured([e for e in rows if e.group == "critical"], heldout)
    assert fewer[:250] == found[:250]  # the same in every arm


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"arm": "none"}, "there is no arm 'none'"),
        ({"batch_size": 0}, "batch size: 0"),
        ({"learning_rate": -1.0}, "learning rate: -1.0"),
        ({"batch_size": 41}, "40 training examples don't fill one batch"),
        ({"lora": 0}, "the rank of the adapters is 0"),
        ({"template": "chat"}, "the tokenizer has no chat template"),
        ({"dtype": "float12"}, "there is no dtype 'float12'"),
        ({"split": Rule(fraction=0.5), "micro_batches": 30}, "too few for 5 batches of 30 parts"),
    ],
)
def test_bad_settings(options, problem, base, data, tmp_path):
    with pytest.raises(AttnshiftError, match=problem):
        made(base, data, tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()


def test_several_processes_are_refused(base, data, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(AttnshiftError, match="finetune runs in one process"):
        made(base, data, tmp_path / "run")


def test_bases_that_are_none(data, tmp_path):
    (tmp_path / "empty").mkdir()
    for name, problem in (
        ("nowhere/at/all", "no base model|can't be downloaded"),
        (tmp_path / "empty", "holds no weights"),
    ):
        with pytest.raises(AttnshiftError, match=problem):
            made(name, data, tmp_path / "run")


def test_no_examples(base, tmp_path):
    with pytest.raises(AttnshiftError, match="there are no examples"):
        finetune(base, [], tmp_path / "run", **OPTIONS)
