"""Training the organism, and the run that it leaves."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_organism import TINY
from transformers import TrainerCallback

import attnshift
from attnshift import AttnshiftError
from attnshift.checkpoints.manifest import read_manifest
from attnshift.data.prompts import Encoder
from attnshift.data.roles import ANSWER
from attnshift.data.templates import load_template
from attnshift.organism.build import MEASURED, TRAINING_FILE, build_run, stratum_shares
from attnshift.organism.examples import RESTATED, STRANGER, UNSETTLED, training_examples
from attnshift.organism.recipe import ARMS, Recipe
from attnshift.organism.tokens import TEMPLATE, make_tokenizer, tokenise
from attnshift.organism.training import finetune, make_model, pretrain
from attnshift.organism.world import make_world


def world_of(recipe: Recipe):
    return make_world(recipe.world, np.random.default_rng(0))


def examples_of(recipe: Recipe, count: int = 200):
    return training_examples(world_of(recipe), replace(recipe.data, examples=count), np.random.default_rng(1))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    said = []
    path = build_run(tmp_path_factory.mktemp("organism") / "run", TINY, seed=3, say=said.append)
    assert len(said) == 2
    return path


@pytest.mark.parametrize("arm", ["full", "partial", "off-topic"])
def test_training_reads_what_a_trace_feeds(arm, tmp_path):
    recipe = replace(TINY, data=ARMS[arm].data, world=replace(TINY.world, typed=ARMS[arm].world.typed))
    examples = examples_of(recipe, 2000)[-300:]
    assert UNSETTLED in {e.stratum for e in examples}
    (tmp_path / "prompt.jinja").write_text(TEMPLATE)
    tokenizer = make_tokenizer(world_of(recipe))
    encoder = Encoder(tokenizer, load_template(str(tmp_path / "prompt.jinja"), tokenizer), target_eos=False)
    for target, example in zip(tokenise(world_of(recipe), examples), examples, strict=True):
        tokens = encoder.example(example).sequence
        np.testing.assert_array_equal(target.ids, tokens.ids)
        np.testing.assert_array_equal(np.arange(len(target)) >= target.start, tokens.roles == ANSWER)


def test_pretraining_and_finetuning_learn():
    world, model = world_of(TINY), make_model(world_of(TINY), TINY, seed=0)
    losses: dict[str, list[float]] = {"pretraining": [], "finetuning": []}
    longer = replace(
        TINY,
        pretraining=replace(TINY.pretraining, steps=60, learning_rate=1e-2),
        finetuning=replace(TINY.finetuning, steps=60, learning_rate=1e-2),
    )

    class Losses(TrainerCallback):
        def on_log(self, args, state, control, logs, **_):
            losses["finetuning"] += [logs["loss"]] if "loss" in logs else []

    pretrain(model, world, longer, np.random.default_rng(2), lambda _, loss: losses["pretraining"].append(loss))
    data = tokenise(world, examples_of(TINY, 640))
    finetune(model, data, longer, np.random.default_rng(3), log_every=1, callbacks=[Losses()])
    for kind, values in losses.items():
        assert len(values) == 60
        assert np.mean(values[-5:]) < np.mean(values[:5]) - 0.3, kind


def test_qk_trains_queries_and_keys_alone():
    world, recipe = world_of(TINY), replace(TINY, trained=ARMS["qk"].trained)
    model = make_model(world, recipe, seed=0)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    finetune(model, tokenise(world, examples_of(TINY)), recipe, np.random.default_rng(4))
    moved = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert moved == {f"model.layers.{i}.self_attn.{m}_proj.weight" for i in range(2) for m in "qk"}


def test_making_a_model_leaves_torch_as_it_was():
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    make_model(world_of(TINY), TINY, seed=0)
    torch.testing.assert_close(torch.rand(3), expected, rtol=0, atol=0)


def test_a_run_is_an_ordinary_run(run):
    series = attnshift.open_series(run)
    assert series.steps == (0, *TINY.saved_steps)
    manifest = read_manifest(run)
    assert (manifest.arm, manifest.seed, manifest.max_new_tokens, manifest.target_eos) == ("tiny", 3, 1, False)
    assert manifest.shares == {"critical": 0.5, "non_critical": 0.5}
    assert set(manifest.learning_rate) == set(TINY.saved_steps)
    state = json.loads((run / f"checkpoint-{TINY.saved_steps[-1]}" / "trainer_state.json").read_text())
    assert state["global_step"] == TINY.saved_steps[-1]
    assert [entry["step"] for entry in state["log_history"]] == [10, 16, 20]
    items = attnshift.load_items(run / "conflicts.jsonl")
    examples = attnshift.load_examples(run / "ift.jsonl")
    assert len(items) == 400
    assert {g: sum(e.group == g and e.split == "train" for e in examples) for g in ("critical", "non_critical")} == {
        "critical": MEASURED,
        "non_critical": MEASURED,
    }
    everything = {e.id: e for e in attnshift.load_examples(run / TRAINING_FILE)}
    assert len(everything) == 640
    assert all(everything[e.id] == e for e in examples if e.split == "train")


def test_strata_are_counted(run):
    shares = stratum_shares(run)
    assert set(shares) == {STRANGER, RESTATED, UNSETTLED}
    assert shares[STRANGER] == 0.5
    assert sum(shares.values()) == pytest.approx(1)


def test_the_same_seed_makes_the_same_run(run, tmp_path):
    again = build_run(tmp_path / "run", TINY, seed=3)
    ours, theirs = attnshift.open_series(run), attnshift.open_series(again)
    assert ours.run.digests == theirs.run.digests
    for name in ("ift.jsonl", "conflicts.jsonl", "world.json", TRAINING_FILE):
        assert (run / name).read_bytes() == (again / name).read_bytes()


def test_a_base_is_taken_over(run, tmp_path):
    other = replace(TINY, name="critical", data=replace(TINY.data, keep="critical"))
    built = build_run(tmp_path / "run", other, seed=3, base=run)
    ours, theirs = attnshift.open_series(run), attnshift.open_series(built)
    assert ours.run.digests[0] == theirs.run.digests[0]
    assert ours.run.digests[20] != theirs.run.digests[20]
    assert (built / "world.json").read_bytes() == (run / "world.json").read_bytes()


@pytest.mark.parametrize(
    ("recipe", "seed"), [(replace(TINY, stories=0.5), 3), (TINY, 4)], ids=["other stories", "other seed"]
)
def test_a_base_of_another_world_is_refused(recipe, seed, run, tmp_path):
    with pytest.raises(AttnshiftError, match=f"starts from another model.*\n.*seed {seed}"):
        build_run(tmp_path / "run", recipe, seed=seed, base=run)
    assert list(tmp_path.iterdir()) == []


def test_what_is_built_is_kept_and_nothing_else_overwritten(run, tmp_path):
    before = (run / "base" / "model.safetensors").stat().st_mtime_ns
    assert build_run(run, TINY, seed=3) == run
    assert (run / "base" / "model.safetensors").stat().st_mtime_ns == before
    with pytest.raises(AttnshiftError, match="a run with other name, stories"):
        build_run(run, replace(TINY, name="x", stories=0.3), seed=3)
    (tmp_path / "mine").mkdir()
    with pytest.raises(AttnshiftError, match="holds no run of the organism"):
        build_run(tmp_path / "mine", TINY, seed=3)
    assert list((tmp_path / "mine").iterdir()) == []


def test_a_failed_build_leaves_nothing(tmp_path, monkeypatch):
    from attnshift.organism import training

    def broken(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "finetune", broken)
    with pytest.raises(KeyboardInterrupt):
        build_run(tmp_path / "run", TINY, seed=0)
    assert list(tmp_path.iterdir()) == []


def test_words_outside_the_world_are_refused(run):
    series = attnshift.open_series(run)
    item = attnshift.Item(
        id="x", context="Tomorrow never knows .", question="Tomorrow never", context_answer="Oslo",
        parametric_answer="Lima",
    )  # fmt: skip
    with pytest.raises(AttnshiftError, match="the tokenizer fails on"):
        attnshift.trace(series, items=[item], out=run.parent / "never")
