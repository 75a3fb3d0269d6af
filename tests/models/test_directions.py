"""Pushes against a real step of SGD in float64, measured before and after by eager attention and plain log-softmax."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import pytest
import torch
from tiny import FAMILIES, tiny_model
from torch.nn.functional import cross_entropy

from attnshift.data.roles import ANSWER, BOS, CONTEXT, CONTEXT_ANSWER, QUESTION
from attnshift.models.attention import captured_attention
from attnshift.models.directions import attention_gradient, margin_gradient
from attnshift.models.forward import Target
from attnshift.models.gradients import group_gradients
from attnshift.models.parts import parameter_pieces

rng = np.random.default_rng(0)


def sequence(length: int, answer: int) -> Target:
    return Target(rng.integers(3, 500, length).astype(np.int32), length - answer)


def answered(*lengths: int) -> list[Target]:
    answers = [rng.integers(3, 500, length) for length in lengths]
    return [Target(np.concatenate([p, a]), len(p)) for p, a in zip(PROMPTS, answers, strict=True)]


EXAMPLES = [sequence(7, 2), sequence(12, 3), sequence(9, 1)]
PROMPTS = [rng.integers(3, 500, n) for n in (6, 10, 8)]
CONTEXT_ANSWERS = answered(1, 3, 2)
PARAMETRIC = answered(2, 1, 1)
ROLES = [
    np.array([BOS, CONTEXT, CONTEXT_ANSWER, CONTEXT, *[QUESTION] * (t.start - 4), *[ANSWER] * (len(t) - t.start)])
    for t in CONTEXT_ANSWERS
]


@pytest.fixture(autouse=True)
def in_float64(monkeypatch):
    """Models round norms and softmax to float32, whatever their own precision: here they don't."""
    monkeypatch.setattr(torch, "float32", torch.float64)
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)


def ids_of(target: Target) -> torch.Tensor:
    return torch.from_numpy(target.ids.astype(np.int64))[None]


def summed_nats(model, target: Target) -> torch.Tensor:
    ids = ids_of(target)
    return cross_entropy(model(ids).logits[0, target.start - 1 : -1], ids[0, target.start :], reduction="sum")


def mean_margin(model) -> float:
    with torch.no_grad():
        pairs = zip(CONTEXT_ANSWERS, PARAMETRIC, strict=True)
        return float(np.mean([float(summed_nats(model, b) - summed_nats(model, a)) for a, b in pairs]))


def mean_mass(model) -> float:
    found = []
    with torch.no_grad():
        for target, roles in zip(CONTEXT_ANSWERS, ROLES, strict=True):
            patterns = torch.stack(model(ids_of(target), output_attentions=True).attentions)[:, 0, :, target.start - 1]
            found.append(float(patterns[..., np.isin(roles, [CONTEXT, CONTEXT_ANSWER])].sum(-1).mean()))
    return float(np.mean(found))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("chosen", ["", "self_attn|attn|attention"])
def test_one_step_of_sgd_changes_margin_and_mass_by_the_push(family, chosen):
    model = tiny_model(family, scale=2.0).double()
    if family == "gpt_oss":
        model.set_experts_implementation("eager")
    parameters = {n: p for n, p in model.named_parameters() if any(c in n for c in chosen.split("|"))}
    with captured_attention(model):
        directions = {
            "margin": margin_gradient(model, parameters, CONTEXT_ANSWERS, PARAMETRIC, 25),
            "mass": attention_gradient(model, parameters, CONTEXT_ANSWERS, ROLES, 25),
        }
        pieces = parameter_pieces(model, parameters)
        found = group_gradients(model, parameters, pieces, {"critical": EXAMPLES}, 25, directions=directions)
    norm = float(found.product.sum()) ** 0.5
    stepped = deepcopy(model)
    moved = {n: p for n, p in stepped.named_parameters() if n in parameters}
    rate = 1e-4 / norm
    optimizer = torch.optim.SGD(moved.values(), lr=rate)
    losses = [summed_nats(stepped, t) / (len(t) - t.start) for t in EXAMPLES]
    (sum(losses) / len(losses)).backward()
    optimizer.step()
    for name, measure in (("margin", mean_margin), ("mass", mean_mass)):
        push = found.push[name].sum()
        assert abs(push) > 1e-6
        assert measure(stepped) - measure(model) == pytest.approx(rate * push, rel=0.01)


def test_attention_of_all_answer_rows_is_pushed_as_it_is_measured():
    model = tiny_model("llama", scale=2.0).double()
    parameters = dict(model.named_parameters())
    found = attention_gradient(model, parameters, CONTEXT_ANSWERS, ROLES, 1000, rows="answer")
    total = 0.0
    for target, roles in zip(CONTEXT_ANSWERS, ROLES, strict=True):
        patterns = torch.stack(model(ids_of(target), output_attentions=True).attentions)
        rows = patterns[:, 0, :, target.start - 1 : -1]
        total = total + rows[..., np.isin(roles, [CONTEXT, CONTEXT_ANSWER])].sum(-1).mean() / len(ROLES)
    expected = torch.autograd.grad(total, [p for n, p in parameters.items() if n in found])
    for name, gradient in zip([n for n in parameters if n in found], expected, strict=True):
        torch.testing.assert_close(found[name], gradient, rtol=1e-6, atol=1e-10)
