"""Patch and graft on runs of the HF Trainer, full and LoRA: results, files, and what is refused."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from tiny import tiny_model
from transformers import AutoModelForCausalLM

import attnshift
from attnshift.errors import AttnshiftError
from attnshift.interventions.fit import refuse_ungraftable, refuse_unlike
from attnshift.interventions.pair import find_pair
from attnshift.scoring.labels import LABELS

CHEAP = {"limit": 4, "max_new_tokens": 2}


@pytest.fixture(scope="module")
def full(made):
    return made("llama")


@pytest.fixture(scope="module")
def lora(made):
    return made("llama", lora=True)


def items_of(run):
    return attnshift.load_items(run.parent / "cf.json")


def examples_of(run):
    return attnshift.load_examples(run.parent / "alpaca.json")


@pytest.fixture(scope="module", params=["full", "lora"])
def patched(request, tmp_path_factory):
    run = request.getfixturevalue(request.param)
    out = tmp_path_factory.mktemp("patched")
    lines: list[str] = []
    result = attnshift.patch(
        2, 4, run=run, items=items_of(run), by=("layer", "role", "head"), out=out, say=lines.append, **CHEAP
    )
    return run, result, out, lines


def test_a_patch_says_what_it_did_and_comes_back_from_disk(patched):
    _, result, out, lines = patched
    assert result.restoration.dims == ("part", "layer", "role")
    assert result.patched_margin.dims == ("part", "layer", "role", "item")
    assert result.restoration_by_head.dims == ("layer", "head", "role")
    done = json.loads(result.attrs["manifest"])
    assert done["controls"].keys() == {"clean", "no_op", "full_stream", "full_writers"}
    assert max(done["controls"].values()) <= 1e-5
    assert done["forwards"] < done["prompts"] / 10
    assert (done["source"]["step"], done["target"]["step"]) == (2, 4)
    assert {value.attrs["unit"] for value in result[["patched_margin", "restoration", "patched_label"]].values()} == {
        "nats", "share", "code"
    }  # fmt: skip
    stored = attnshift.open_result(out)
    assert json.loads((out / "patch.json").read_text()) == done
    with pytest.raises(AttnshiftError, match="isn't the result of a graft"):
        attnshift.open_result(out / "patch.nc", "graft")
    np.testing.assert_array_equal(stored.restoration, result.restoration)
    assert (stored.source_margin.dtype, set(np.unique(stored.patched_label)) <= set(range(len(LABELS)))) == (
        float,
        True,
    )
    assert any("cells" in line for line in lines)


def test_a_patchs_numbers_are_those_of_a_trace_and_of_its_own_definition(patched, tmp_path):
    run, result, _, _ = patched
    series = attnshift.open_series(run)
    trace = attnshift.trace(
        series,
        items=items_of(run),
        measures=["margin_first_token", "answer_label"],
        out=tmp_path,
        steps=[2, 4],
        **CHEAP,
    )
    for end, step in (("source", 2), ("target", 4)):
        one = trace.sel(step=step)
        np.testing.assert_allclose(result[f"{end}_margin"], one.margin_first_token, atol=1e-5)
        assert [LABELS[code] for code in result[f"{end}_label"].values] == one.answer_label.values.tolist()
    share = (result.patched_margin.mean("item") - result.target_margin.mean()) / (
        result.source_margin.mean() - result.target_margin.mean()
    )
    np.testing.assert_allclose(result.restoration, share, atol=1e-9)
    last = result.restoration.sel(part="resid_post", layer=1, role="last_row")
    assert float(last) == pytest.approx(float(result.restoration.sel(part="resid_post", layer=1, role="all")))


def test_last_layers_stream_is_all_that_matters_where_nothing_reads_it_differently(lora):
    """A LoRA of attention leaves norms and unembedding alone: the last stream restores everything."""
    result = attnshift.patch(2, 4, run=lora, items=items_of(lora), parts=["resid_post"], by=["layer"], generate=False)
    assert result.role.values.tolist() == ["all"]
    assert float(result.restoration.sel(layer=1).squeeze()) == pytest.approx(1, abs=1e-3)
    np.testing.assert_allclose(result.source_readout_margin, result.target_margin, atol=1e-5)
    assert "patched_label" not in result


@pytest.fixture(scope="module", params=["full", "lora"])
def grafted(request, tmp_path_factory):
    run = request.getfixturevalue(request.param)
    out = tmp_path_factory.mktemp("grafted")
    result = attnshift.graft(
        2, 4, run=run, items=items_of(run), examples=examples_of(run), search=True, criteria=["margin"], out=out,
        save=out / "saved", by=["part", "layer"], **CHEAP,
    )  # fmt: skip
    return request.param, run, result, out


def test_a_graft_says_what_it_restores_and_costs(grafted):
    kind, _, result, out = grafted
    by_label = {str(label): result.sel(graft=label) for label in result.graft.values}
    assert float(by_label["all"].restoration_margin) == 1
    np.testing.assert_array_equal(by_label["all"].margin, result.source_margin)
    np.testing.assert_array_equal(by_label["all"].loss, result.source_loss)
    np.testing.assert_allclose(by_label["all"].loss_change, result.source_loss.mean() - result.target_loss.mean())
    part = "self_attn.q_proj" if kind == "lora" else "q"
    alone = by_label[part]
    expected = (alone.margin.mean() - result.target_margin.mean()) / (
        result.source_margin.mean() - result.target_margin.mean()
    )
    assert float(alone.restoration_margin) == pytest.approx(float(expected))
    done = json.loads(result.attrs["manifest"])
    assert done["search"]["reached"]
    assert set(done["search"]["found"]) == set(json.loads(str(by_label["found"].units.values)))
    judged = result.searched.values.astype(bool)
    assert 0 < judged.sum() < len(judged)
    np.testing.assert_array_equal(attnshift.open_result(out, "graft").margin, result.margin)


def test_a_saved_graft_is_an_ordinary_checkpoint(grafted, tmp_path):
    kind, run, result, out = grafted
    found = result.sel(graft="found")
    items, saved = items_of(run), out / "saved"
    again = attnshift.trace(attnshift.open_series(saved), items=items, measures=["margin"], out=tmp_path, limit=4)
    np.testing.assert_allclose(again.margin.isel(step=-1), found.margin, atol=1e-6)
    assert set(json.loads((saved / "attnshift-graft.json").read_text())["units_of_the_source"]) == set(
        json.loads(str(found.units.values))
    )
    assert ((saved / "adapter_model.safetensors").is_file()) == (kind == "lora")
    assert ((saved / "model.safetensors").is_file()) == (kind == "full")


def test_grafting_everything_saves_the_source_bit_for_bit(full, tmp_path):
    attnshift.graft(2, 4, run=full, items=items_of(full), by=[], save=tmp_path / "all", limit=2, max_new_tokens=1)
    mine, theirs = (
        AutoModelForCausalLM.from_pretrained(path).state_dict() for path in (tmp_path / "all", full / "checkpoint-2")
    )
    assert mine.keys() == theirs.keys()
    for name, tensor in mine.items():
        assert torch.equal(tensor, theirs[name]), name


@pytest.fixture(scope="module")
def traced(full, tmp_path_factory):
    out = tmp_path_factory.mktemp("trace")
    return attnshift.trace(
        attnshift.open_series(full), items=items_of(full), measures=["counterfactual_accuracy"], out=out, **CHEAP
    ), out


def test_checkpoints_are_named_by_folder_step_and_word(full, traced):
    trace, out = traced
    by_folder = find_pair(full / "checkpoint-2", full / "checkpoint-4")
    assert (by_folder.source.checkpoint.step, by_folder.target.checkpoint.step) == (2, 4)
    assert by_folder.of_one_run
    assert find_pair("2", 4, run=full).source.digest == by_folder.source.digest
    assert find_pair("start", "end", run=full, base=str(full.parent / "base")).source.checkpoint.step == 0
    peak = int(trace.step.values[np.argmax(trace.counterfactual_accuracy.mean("item").values)])
    other = "end" if peak != 4 else "2"
    assert find_pair("peak", other, run=full, trace=out).source.checkpoint.step == peak


@pytest.mark.parametrize(
    ("source", "target", "said"),
    [
        ("3", "4", "there is no step 3"),
        ("peak", "4", "the peak of"),
        ("nowhere", "4", "'nowhere' doesn't exist"),
        ("4", "end", "the same weights"),
    ],
)
def test_checkpoints_that_are_not_there_are_refused(full, source, target, said):
    with pytest.raises(AttnshiftError, match=said):
        find_pair(source, target, run=full)


def test_a_step_without_a_run_is_refused(full):
    with pytest.raises(AttnshiftError, match="no run is named"):
        find_pair("2", full / "checkpoint-4")


def test_other_architectures_tokenizers_and_kinds_are_refused(full, lora, made, tmp_path):
    with pytest.raises(AttnshiftError, match="different architectures"):
        refuse_unlike(find_pair(made("neox") / "checkpoint-2", full / "checkpoint-4"))
    with pytest.raises(AttnshiftError, match="is an adapter and"):
        refuse_ungraftable(find_pair("0", "4", run=lora))
    other = tmp_path / "other"
    shutil.copytree(full / "checkpoint-2", other)
    tokenizer = json.loads((other / "tokenizer.json").read_text())
    vocabulary = tokenizer["model"]["vocab"]
    vocabulary["q"], vocabulary["z"] = vocabulary["z"], vocabulary["q"]
    (other / "tokenizer.json").write_text(json.dumps(tokenizer))
    with pytest.raises(AttnshiftError, match="different tokenizers: 2 tokens"):
        refuse_unlike(find_pair(other, full / "checkpoint-4"))


def test_adapters_of_other_bases_and_settings_are_refused(lora, tmp_path):
    base = tmp_path / "base"
    tiny_model("llama", seed=5).save_pretrained(base)
    copied = shutil.copytree(lora / "checkpoint-2", tmp_path / "lone")
    settings = json.loads((copied / "adapter_config.json").read_text())
    (copied / "adapter_config.json").write_text(json.dumps(settings | {"base_model_name_or_path": str(base)}))
    with pytest.raises(AttnshiftError, match="different bases"):
        refuse_ungraftable(find_pair(copied, lora / "checkpoint-4"))
    (copied / "adapter_config.json").write_text(json.dumps(settings | {"lora_alpha": 99}))
    with pytest.raises(AttnshiftError, match="lora_alpha is 99"):
        refuse_ungraftable(find_pair(copied, lora / "checkpoint-4"))


def test_places_that_are_taken_and_parts_that_are_missing_are_refused(full, tmp_path):
    with pytest.raises(AttnshiftError, match="exists already"):
        attnshift.graft(2, 4, run=full, items=items_of(full), save=tmp_path)
    with pytest.raises(AttnshiftError, match="no part 'position'"):
        attnshift.graft(2, 4, run=full, items=items_of(full), parts=["position"], **CHEAP)
    with pytest.raises(AttnshiftError, match="conflict items"):
        attnshift.patch(2, 4, run=full, items=[], **CHEAP)
    with pytest.raises(AttnshiftError, match="holds no"):
        attnshift.open_result(full)
