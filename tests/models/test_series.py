"""Checkpoints as models: the same weights as plain transformers loads, swapped or fresh, bridged or not."""

from __future__ import annotations

import pytest
import torch
from transformers import AutoModelForCausalLM

import attnshift
from attnshift.models.skeleton import Skeleton


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
    assert "checkpoint-2" in opened._repr_html_()
