"""Checkpoints as models: the same weights as plain transformers loads, swapped or fresh, bridged or not."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from threading import Event

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import tiny_model
from transformers import AutoModelForCausalLM

import attnshift
from attnshift.checkpoints.tensors import Tensors
from attnshift.models import placement
from attnshift.models import skeleton as skeletons
from attnshift.models.series import Series
from attnshift.models.skeleton import Skeleton
from attnshift.tracing.prefetch import warm


def plain(run, step: int, lora: bool):
    if not lora:
        return AutoModelForCausalLM.from_pretrained(run / f"checkpoint-{step}" if step else run.parent / "base").eval()
    model = AutoModelForCausalLM.from_pretrained(run.parent / "base")
    if step:
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, run / f"checkpoint-{step}").merge_and_unload()
    return model.eval()


@pytest.fixture(scope="module", params=[("gemma2", False), ("neox", False), ("neox", True)], ids=str)
def series(request, made):
    family, lora = request.param
    run = made(family, lora=lora)
    return attnshift.open_series(run, base=str(run.parent / "base")), run, lora


IDS = torch.arange(3, 30)[None]


def test_models_equal_plain_transformers_and_are_one_s_own(series):
    opened, run, lora = series
    models = {step: opened[step].model() for step in opened.steps}
    for step, model in models.items():
        with torch.no_grad():
            torch.testing.assert_close(model(IDS).logits, plain(run, step, lora)(IDS).logits, atol=1e-5, rtol=1e-5)
            again = attnshift.attention_mass(model, IDS, torch.ones(1, 1, 27, dtype=torch.bool))
            torch.testing.assert_close(again, torch.ones_like(again))


def test_weights_are_swapped_in_place(series):
    opened, run, lora = series
    skeleton = Skeleton(opened.run, None, torch.device("cpu"))
    seen = None
    for step in [*opened.steps, 0, opened.steps[-1]]:
        skeleton.load(opened[step].checkpoint)
        assert seen is None or seen is skeleton.model
        seen = skeleton.model
        with torch.no_grad():
            expected = plain(run, step, lora)(IDS).logits
            torch.testing.assert_close(skeleton.model(IDS, use_cache=False).logits, expected, atol=1e-5, rtol=1e-5)


def test_a_bridge_shows_the_same_attention(series):
    opened, _, _ = series
    bridge, model = opened[2].bridge(), opened[2].model()
    with torch.no_grad():
        _, cache = bridge.run_with_cache(IDS)
    span = torch.zeros(1, 1, 27, dtype=torch.bool)
    span[..., 5:9] = True
    got = attnshift.attention_mass(model, IDS, span)[0, :, :, 0, 0]
    for layer in range(2):
        pattern = cache[f"blocks.{layer}.attn.hook_pattern"][0, :, -1]
        torch.testing.assert_close(got[layer], pattern[:, 5:9].sum(-1).float(), atol=1e-5, rtol=0)


def test_an_unknown_step_is_refused(series):
    opened, _, _ = series
    with pytest.raises(attnshift.AttnshiftError, match="no step 3"):
        _ = opened[3]


def test_a_series_is_shown_as_a_table(made):
    run = made("llama")
    shown = attnshift.open_series(run, base=str(run.parent / "base"))
    table = [re.findall(r"<t[hd]>(.*?)</t[hd]>", row) for row in shown._repr_html_().split("</tr>")]
    assert table[0] == ["step", "epoch", "checkpoint", "kind", "MB", "the same weights"]
    assert [row[0] for row in table[1:-1]] == list(map(str, shown.steps))
    sizes = [sum(file.stat().st_size for file in c.files) / 1e6 for c in shown.run.checkpoints]
    assert [row[4] for row in table[1:-1]] == [f"{size:.1f}" for size in sizes]
    assert table[1][2] == str(run.parent / "base")
    assert table[2][2] == f"checkpoint-{shown.steps[1]}"
    aliases = {"<b>": 2, ".": 2}
    attacked = Series(replace(shown.run, aliases=aliases))._repr_html_()
    assert f"<td>checkpoint-2</td><td>full</td><td>{sizes[-1]:.1f}</td><td>&lt;b&gt;, .</td>" in attacked


@pytest.fixture
def copied(made, tmp_path):
    """A run of full weights that may be damaged."""
    run = made("llama")
    shutil.copytree(run.parent / "base", tmp_path / "base")
    return shutil.copytree(run, tmp_path / "run")


def opened(run):
    return attnshift.open_series(run, base=str(run.parent / "base"))


def parameters(skeleton: Skeleton) -> dict[str, int]:
    return {name: id(p) for name, p in skeleton.model.named_parameters()}


def assert_is(skeleton: Skeleton, run, step: int) -> None:
    with torch.no_grad():
        expected = plain(run, step, skeleton.peft is not None)(IDS).logits
        torch.testing.assert_close(skeleton.model(IDS, use_cache=False).logits, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("lora", [False, True])
def test_a_swap_that_fails_midway_is_mended_by_the_next(made, monkeypatch, lora):
    run = made("neox", lora=True) if lora else made("llama")
    series = opened(run)
    skeleton = Skeleton(series.run, None, torch.device("cpu"))
    skeleton.load(series[2].checkpoint)
    before, read, calls = parameters(skeleton), Tensors.__getitem__, []

    def fails(self: Tensors, name: str) -> torch.Tensor:
        calls.append(name)
        if len(calls) > 2.5 * len(self.names):  # shapes when it is opened and when it is compared, then the content
            raise OSError("the disk went away")
        return read(self, name)

    with monkeypatch.context() as patched:
        patched.setattr(Tensors, "__getitem__", fails)
        with pytest.raises(attnshift.AttnshiftError, match="the disk went away"):
            skeleton.load(series[4].checkpoint)
    for step in (2, 4):
        skeleton.load(series[step].checkpoint)
        assert_is(skeleton, run, step)
    assert parameters(skeleton) == before


def test_a_truncated_file_leaves_the_model_as_it_was(copied):
    series = opened(copied)
    skeleton = Skeleton(series.run, None, torch.device("cpu"))
    skeleton.load(series[2].checkpoint)
    before = parameters(skeleton)
    file = copied / "checkpoint-4" / "model.safetensors"
    whole = file.read_bytes()
    file.write_bytes(whole[:-1000])
    with pytest.raises(attnshift.errors.CheckpointError, match="checkpoint-4"):
        skeleton.load(series[4].checkpoint)
    assert_is(skeleton, copied, 2)
    file.write_bytes(whole)
    skeleton.load(series[4].checkpoint)
    assert_is(skeleton, copied, 4)
    assert parameters(skeleton) == before


def test_a_checkpoint_that_lacks_a_tensor_is_refused_and_not_made_up(copied):
    file = copied / "checkpoint-4" / "model.safetensors"
    tensors = load_file(file)
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, file, metadata={"format": "pt"})
    series = opened(copied)
    skeleton = Skeleton(series.run, None, torch.device("cpu"))
    skeleton.load(series[2].checkpoint)
    with pytest.raises(attnshift.errors.CheckpointError, match=r"lacks 1 tensors.*layers\.1\.mlp\.up_proj"):
        skeleton.load(series[4].checkpoint)
    skeleton.load(series[0].checkpoint)
    assert_is(skeleton, copied, 0)


def test_weights_go_through_memory_one_tensor_at_a_time(made, monkeypatch):
    series = opened(made("llama"))
    skeleton = Skeleton(series.run, None, torch.device("cpu"))
    skeleton.load(series[0].checkpoint)
    names = []
    real = skeletons.model_names
    monkeypatch.setattr(skeletons, "model_names", lambda *a: names.append(a) or real(*a))
    monkeypatch.setattr(torch.Tensor, "clone", lambda *_: pytest.fail("a second copy of a tensor"))
    for step in (2, 4, 2):
        skeleton.load(series[step].checkpoint)
    assert len(names) == 1, "the names of one list of files are worked out once"


def test_reading_ahead_goes_through_every_file_and_reports_nothing(tmp_path):
    (tmp_path / "a").write_bytes(b"x" * (1 << 24))
    warm([tmp_path / "a", tmp_path / "absent"], Event())
    stopped = Event()
    stopped.set()
    warm([tmp_path / "a"], stopped)


def test_tied_weights_are_swapped(made):
    run = made("llama_tied")
    series = opened(run)
    skeleton = Skeleton(series.run, None, torch.device("cpu"))
    for step in (0, 4, 2):
        skeleton.load(series[step].checkpoint)
        assert_is(skeleton, run, step)


# Placement


def test_auto_is_the_cpu_where_there_is_no_gpu(monkeypatch, made):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert placement.place("auto") == placement.place(None) == placement.Placement(torch.device("cpu"))
    model = opened(made("llama"))[2].model(device="auto")
    assert {p.device.type for p in model.parameters()} == {"cpu"}


def test_auto_names_accelerate_where_it_is_missing(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch, "ones", lambda *_, **__: torch.zeros(1))
    monkeypatch.setattr(placement, "find_spec", lambda _: None)
    with pytest.raises(attnshift.AttnshiftError, match="accelerate") as error:
        placement.place("auto")
    assert "pip install accelerate" in error.value.remedy


def test_a_spread_model_is_swapped_in_place_and_its_attention_captured(made, monkeypatch):
    """Laid out by accelerate, with the hooks that it puts around every layer where there are several devices."""
    from accelerate import dispatch_model

    run = made("llama")
    series = opened(run)
    skeleton = Skeleton(series.run, None, torch.device("cpu"), spread=True)
    skeleton.load(series[0].checkpoint)
    before = parameters(skeleton)
    dispatch_model(skeleton.model, {"": "cpu"}, force_hooks=True)
    assert hasattr(skeleton.model, "_hf_hook")
    skeleton.load(series[4].checkpoint)
    assert parameters(skeleton) == before
    assert_is(skeleton, run, 4)
    mass = attnshift.attention_mass(skeleton.model, IDS, torch.ones(1, 1, 27, dtype=torch.bool))
    torch.testing.assert_close(mass, torch.ones_like(mass))


def test_offloaded_weights_are_refused():
    from accelerate import cpu_offload

    model = cpu_offload(tiny_model("llama"), torch.device("cpu"))
    with pytest.raises(attnshift.AttnshiftError, match="offloads") as error:
        placement.refuse_offloaded(model, "run/checkpoint-2")
    assert "--dtype bfloat16" in error.value.remedy
