"""A model in memory, measured and left as it was."""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from tiny import FAMILIES, tiny_model
from torch import nn

from attnshift.checkpoints.checkpoint import read_checkpoint
from attnshift.errors import AttnshiftError
from attnshift.models.live import LiveModel
from attnshift.models.whole import refuse_parts


def adapted(model, **options):
    from peft import LoraConfig, get_peft_model

    options["fan_in_fan_out"] = model.config.model_type == "gpt2"
    return get_peft_model(model, LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM", **options))


@pytest.mark.parametrize("lora", [False, True], ids=["full", "lora"])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_digest_is_that_of_the_saved_checkpoint(family, lora, tmp_path):
    tiny_model(family).save_pretrained(tmp_path / "base")
    model = type(tiny_model(family)).from_pretrained(tmp_path / "base")
    base = read_checkpoint(tmp_path / "base", 0).fingerprint().digest
    if lora:
        model = adapted(model)
    live = LiveModel.around(model)
    with live.undisturbed():
        assert live.base_digest() == base
    with torch.no_grad():
        for p in model.parameters():
            if p.requires_grad:
                p.add_(1)
    model.save_pretrained(tmp_path / "saved")
    saved = read_checkpoint(tmp_path / "saved", 1).fingerprint().digest
    with live.undisturbed():
        assert saved == live.digest() == live.base_digest() != base


def test_an_adapter_that_does_something_from_the_start_is_not_taken_for_its_base():
    live = LiveModel.around(adapted(tiny_model("llama"), init_lora_weights=False))
    with live.undisturbed():
        assert live.base_digest() == live.digest()


def everything(model: nn.Module) -> dict[str, object]:
    """What a measurement could change."""
    return {
        "modes": {name: module.training for name, module in model.named_modules()},
        "required": {name: p.requires_grad for name, p in model.named_parameters()},
        "gradients": {name: id(p.grad) for name, p in model.named_parameters() if p.grad is not None},
        "values": {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None},
        "weights": {name: t.clone() for name, t in model.state_dict().items()},
        "buffers": {name: id(b) for name, b in model.named_buffers()},
        "hooks": {
            name: (len(m._forward_hooks), len(m._forward_pre_hooks), len(m._backward_hooks))
            for name, m in model.named_modules()
        },
        "parameter hooks": {
            name: (p._backward_hooks, getattr(p, "_post_accumulate_grad_hooks", None))
            for name, p in model.named_parameters()
        },
        "config": model.config.to_dict(),
        "generation": model.generation_config.to_dict(),
        "attention": model.config._attn_implementation,
        "random": (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()),  # noqa: NPY002
    }


def assert_same(a: object, b: object) -> None:
    if isinstance(a, dict):
        assert isinstance(b, dict)
        assert a.keys() == b.keys()
        for key in a:
            assert_same(a[key], b[key])
    elif isinstance(a, tuple):
        assert isinstance(b, tuple)
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            assert_same(x, y)
    elif isinstance(a, torch.Tensor):
        assert isinstance(b, torch.Tensor)
        assert torch.equal(a, b)
    else:
        assert a == b


def half_trained(lora: bool):
    """A model in the middle of a gradient accumulation: some gradients there, some modes and flags of their own."""
    model = tiny_model("gpt2")
    model = adapted(model) if lora else model
    model.train()
    inner = model.get_base_model() if lora else model
    inner.transformer.h[0].mlp.eval()
    inner.transformer.ln_f.bias.requires_grad_(False)
    model(input_ids=torch.arange(6)[None], labels=torch.arange(6)[None]).loss.backward()
    return model, inner


@pytest.mark.parametrize("lora", [False, True], ids=["full", "lora"])
@pytest.mark.parametrize("breaks", [False, True], ids=["", "raises"])
def test_nothing_of_a_measurement_is_left(lora, breaks):
    model, inner = half_trained(lora)
    live = LiveModel.around(model)
    before = everything(model)
    assert before["gradients"]
    try:
        with live.undisturbed():
            assert not any(module.training for module in model.modules())
            assert all(p.grad is None for p in model.parameters())
            assert inner.config._attn_implementation == "attnshift"
            for p in live.trained_parameters().values():
                p.requires_grad_(True)
            inner(input_ids=torch.arange(5)[None], labels=torch.arange(5)[None]).loss.backward()
            random.random(), np.random.rand(), torch.rand(1)  # noqa: NPY002
            live.base_digest()
            if breaks:
                raise KeyboardInterrupt
    except KeyboardInterrupt:
        assert breaks
    assert_same(before, everything(model))


def test_autocast_is_not_measured():
    """As accelerate lays it around a model's forward."""
    from accelerate import Accelerator

    model = tiny_model("llama").train()
    ids = torch.arange(6)[None]
    with torch.no_grad():
        expected = model.eval()(input_ids=ids).logits
    model.train()
    _forget_accelerator()
    try:
        prepared = Accelerator(mixed_precision="bf16", cpu=True).prepare_model(model)
        live = LiveModel.around(prepared)
        with live.undisturbed(), torch.no_grad():
            torch.testing.assert_close(live.model(input_ids=ids).logits, expected)
        with torch.no_grad():
            rounded = prepared.eval()(input_ids=ids).logits
        assert (rounded - expected).abs().max() > 1e-3
    finally:
        _forget_accelerator()


def _forget_accelerator() -> None:
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.mark.parametrize(
    ("hook", "told"),
    [("register_post_accumulate_grad_hook", "hook"), ("register_hook", "hook"), (None, r"quantised \(torch.int8\)")],
)
def test_gradients_that_are_not_ours_to_take_are_refused(hook, told):
    model = tiny_model("llama")
    weight = model.model.layers[0].mlp.up_proj.weight
    if hook:
        getattr(weight, hook)(lambda _: None)
    live = LiveModel.around(model)
    if hook is None:
        weight.requires_grad_(False)
        weight.data = weight.data.to(torch.int8)
    with pytest.raises(AttnshiftError, match=rf"layers.0.mlp.up_proj.weight can't be measured: .*{told}") as error:
        live.trained_parameters()
    assert "measures=" in str(error.value)
    assert live.trained_weights


class FullyShardedDataParallel(nn.Module):
    """By name, as where FSDP isn't installed."""

    def __init__(self, module):
        super().__init__()
        self.module = module


@dataclass
class Stated:
    name: str

    def of(self, model):
        weight = model.lm_head.weight
        if self.name == "DataParallel":
            return nn.DataParallel(model)
        if self.name == "FullyShardedDataParallel":
            model.lm_head = FullyShardedDataParallel(model.lm_head)
        elif self.name == "ZeRO":
            weight.ds_id = 3
        elif self.name == "DTensor":
            model.lm_head.weight = type("DTensor", (nn.Parameter,), {})(weight.data)
        elif self.name == "meta":
            model.lm_head.weight = nn.Parameter(weight.to("meta"))
        elif self.name == "shape":
            model.lm_head.weight = nn.Parameter(weight[:0].detach())
        return model


@pytest.mark.parametrize("name", ["DataParallel", "FullyShardedDataParallel", "ZeRO", "DTensor", "meta", "shape"])
def test_a_model_in_parts_is_refused(name):
    model = Stated(name).of(tiny_model("llama"))
    with pytest.raises(AttnshiftError, match=rf"while it is trained: .*{name}.*") as error:
        LiveModel.around(model)
    assert "attnshift trace --ckpts" in str(error.value)


def test_several_processes_are_refused(monkeypatch):
    import accelerate.state

    model = tiny_model("llama")
    refuse_parts(model)
    monkeypatch.setattr(accelerate.state.PartialState, "_shared_state", {"distributed_type": "MULTI_GPU"})
    with pytest.raises(AttnshiftError, match="accelerate trains it as MULTI_GPU"):
        refuse_parts(model)
    monkeypatch.setattr("torch.distributed.is_initialized", lambda: True)
    monkeypatch.setattr("torch.distributed.get_world_size", lambda: 4)
    with pytest.raises(AttnshiftError, match="4 processes train it"):
        refuse_parts(model)


def test_what_is_no_causal_language_model_is_refused():
    with pytest.raises(AttnshiftError, match="Linear isn't a causal language model"):
        LiveModel.around(nn.Linear(2, 2))
    with pytest.raises(AttnshiftError, match="LlamaModel isn't a causal language model"):
        LiveModel.around(tiny_model("llama").model)


def test_adapters_that_are_not_understood_are_refused():
    from peft import LoraConfig, PromptTuningConfig, get_peft_model

    added = tiny_model("llama")
    added.add_adapter(LoraConfig(r=2, target_modules=["q_proj"]))
    with pytest.raises(AttnshiftError, match="added by transformers itself"):
        LiveModel.around(added)
    prompts = get_peft_model(tiny_model("llama"), PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=2))
    with pytest.raises(AttnshiftError, match="change the prompt, not the weights"):
        LiveModel.around(prompts)


def test_a_frozen_model_has_nothing_trained():
    with pytest.raises(AttnshiftError, match="none requires a gradient"):
        LiveModel.around(tiny_model("llama").requires_grad_(False))
    assert LiveModel.around(tiny_model("llama"), ["*q_proj*"]).trained == tuple(
        f"model.layers.{i}.self_attn.q_proj.weight" for i in range(2)
    )
