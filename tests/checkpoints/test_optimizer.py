"""Second moments as AdamW and the HF Trainer leave them."""

from __future__ import annotations

import pytest
import torch
from tiny import tiny_model

from attnshift.checkpoints.optimizer import read_second_moments
from attnshift.errors import CheckpointError


def trained(model, folder, groups, steps=3):
    optimizer = torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.95), eps=1e-6)
    expected = {name: torch.zeros_like(p) for name, p in model.named_parameters()}
    for step in range(steps):
        model.zero_grad()
        model(torch.tensor([[0, 5 + step, 7]])).logits.square().mean().backward()
        for name, p in model.named_parameters():
            expected[name] = 0.95 * expected[name] + 0.05 * p.grad**2
        optimizer.step()
    torch.save(optimizer.state_dict(), folder / "optimizer.pt")
    return {name: value / (1 - 0.95**steps) for name, value in expected.items()}


def trainer_groups(model):
    """As transformers' Trainer makes them."""
    from transformers import Trainer

    decayed = Trainer.get_decay_parameter_names(None, model)
    named = list(model.named_parameters())
    return [
        {"params": [p for n, p in named if n in decayed], "weight_decay": 0.1},
        {"params": [p for n, p in named if n not in decayed], "weight_decay": 0.0},
    ]


def read(model, folder, names=None):
    shapes = {name: p.shape for name, p in model.named_parameters()}
    norms = {
        f"{module}.{name}"
        for module, m in model.named_modules()
        if isinstance(m, torch.nn.LayerNorm)
        for name, _ in m.named_parameters()
    }
    return read_second_moments(folder, shapes, set(names or shapes), norms)


@pytest.mark.parametrize("family", ["llama", "gpt2", "neox", "qwen3"])
def test_moments_of_a_trainers_optimizer_are_told_apart(family, tmp_path):
    model = tiny_model(family).requires_grad_(True)
    expected = trained(model, tmp_path, trainer_groups(model))
    found = read(model, tmp_path)
    assert found.epsilon == 1e-6
    assert set(found.values) == set(expected)
    for name, value in expected.items():
        torch.testing.assert_close(found.values[name], value)


def test_names_in_the_file_come_first(tmp_path):
    model = tiny_model("llama").requires_grad_(True)
    expected = trained(model, tmp_path, list(reversed(list(model.named_parameters()))))
    found = read(model, tmp_path)
    for name, value in expected.items():
        torch.testing.assert_close(found.values[name], value)


def test_only_the_trained_parameters_are_in_the_file(tmp_path):
    model = tiny_model("llama").requires_grad_(True)
    names = [n for n, _ in model.named_parameters() if "q_proj" in n]
    expected = trained(model, tmp_path, [p for n, p in model.named_parameters() if n in names])
    found = read(model, tmp_path, names)
    assert list(found.values) == names
    torch.testing.assert_close(found.values[names[1]], expected[names[1]])


def test_no_file_is_none(tmp_path):
    assert read(tiny_model("llama"), tmp_path) is None


def test_foreign_files_are_refused(tmp_path):
    model = tiny_model("llama").requires_grad_(True)
    (tmp_path / "optimizer.pt").write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match=r"optimizer\.pt can't be used"):
        read(model, tmp_path)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    torch.save(optimizer.state_dict(), tmp_path / "optimizer.pt")
    with pytest.raises(CheckpointError, match="can't be used"):
        read(model, tmp_path)
    trained(model, tmp_path, [p for n, p in model.named_parameters() if "q_proj" in n])
    with pytest.raises(CheckpointError, match="holds the state of 2 parameters"):
        read(model, tmp_path)


class Evil:
    def __reduce__(self):
        import os

        return os.system, ("touch owned",)


def test_code_in_the_file_is_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"state": {}, "param_groups": [Evil()]}, tmp_path / "optimizer.pt")
    with pytest.raises(CheckpointError):
        read(tiny_model("llama"), tmp_path)
    assert not (tmp_path / "owned").exists()
