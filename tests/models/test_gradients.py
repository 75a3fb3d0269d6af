"""Gradients by group and by example, against plain autograd, for every family."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import FAMILIES, tiny_model
from torch.nn.functional import cross_entropy

import attnshift
from attnshift.models.forward import Target
from attnshift.models.ghost import ExampleWatch
from attnshift.models.gradients import accumulated_gradient, group_gradients
from attnshift.models.parts import parameter_pieces

WATCHED = [family for family in FAMILIES if family != "gpt_oss"]


@pytest.fixture(scope="module")
def models():
    return {}


@pytest.fixture
def make(models):
    """A float64 model of a family, so that what differs differs for a reason."""

    def of(family: str):
        if family not in models:
            models[family] = tiny_model(family, scale=2.0).double().requires_grad_(True)
            if family == "gpt_oss":  # its usual kernel of experts knows no float64
                models[family].set_experts_implementation("eager")
        return models[family]

    return of


def draw_targets(seed: int, count: int, longest: int = 14) -> list[Target]:
    rng = np.random.default_rng(seed)
    targets = []
    for _ in range(count):
        length = int(rng.integers(3, longest))
        # few different tokens, so that embeddings of one token meet within an example
        targets.append(Target(rng.integers(3, 9, length).astype(np.int32), int(rng.integers(1, length))))
    return targets


def loss_of(model, target: Target) -> torch.Tensor:
    ids = torch.from_numpy(target.ids.astype(np.int64))[None]
    logits = model(ids).logits[0, target.start - 1 : -1]
    return cross_entropy(logits, ids[0, target.start :])


def plain(model, loss: torch.Tensor, names=None) -> dict[str, torch.Tensor]:
    named = {n: p for n, p in model.named_parameters() if names is None or n in names}
    found = torch.autograd.grad(loss, list(named.values()), allow_unused=True)
    return {n: torch.zeros_like(p) if g is None else g for (n, p), g in zip(named.items(), found, strict=True)}


def dot(a, b) -> float:
    return float(sum((a[n] * b[n]).sum() for n in a))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("budget", [1000, 20])
def test_norms_products_and_pushes_of_groups(make, family, budget):
    model = make(family)
    parameters = dict(model.named_parameters())
    pieces = parameter_pieces(model, parameters)
    targets = {"critical": draw_targets(1, 5), "non_critical": draw_targets(2, 4), "no_context": draw_targets(3, 3)}
    expected = {g: plain(model, sum(loss_of(model, t) for t in ts) / len(ts)) for g, ts in targets.items()}
    direction = {name: torch.randn_like(p) for name, p in parameters.items()}
    found = group_gradients(
        model, parameters, pieces, targets, budget, ("critical", "non_critical"), {"random": direction}
    )
    for i, group in enumerate(targets):
        assert found.product[i, i].sum() == pytest.approx(dot(expected[group], expected[group]), rel=1e-6)
        assert found.push["random"][i].sum() == pytest.approx(-dot(expected[group], direction), rel=1e-5)
        for k, part in enumerate(found.parts):
            by_part = sum(
                float((piece.of(g) ** 2).sum())
                for name, g in expected[group].items()
                for piece in pieces[name]
                if piece.part == part
            )
            assert found.product[i, i, k] == pytest.approx(by_part, rel=1e-6)
    cross = dot(expected["critical"], expected["non_critical"])
    assert found.product[0, 1].sum() == pytest.approx(cross, rel=1e-5)
    assert np.isnan(found.product[0, 2]).all()
    assert all(p.grad is None and p.requires_grad for p in model.parameters())


@pytest.mark.parametrize("budget", [1000, 20])
def test_gradients_held_on_a_named_device_give_the_same_products(make, budget):
    model = make("llama")
    parameters, pieces = dict(model.named_parameters()), parameter_pieces(model)
    targets = {"critical": draw_targets(1, 5), "non_critical": draw_targets(2, 4)}
    cross = ("critical", "non_critical")
    usual = group_gradients(model, parameters, pieces, targets, budget, cross)
    held = group_gradients(model, parameters, pieces, targets, budget, cross, hold=torch.device("cpu"))
    np.testing.assert_array_equal(held.product, usual.product)


def test_a_gradient_is_added_up_on_the_device_that_is_named(make):
    model = make("llama")
    losses = (loss_of(model, target) for target in draw_targets(1, 3))
    parameters = dict(model.named_parameters())
    there = accumulated_gradient(model, parameters, losses, hold=torch.device("meta"))
    assert {value.device.type for value in there.values()} == {"meta"}
    assert all(p.grad is None for p in parameters.values())


@pytest.mark.parametrize("family", WATCHED)
@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10**6), count=st.integers(1, 5), longest=st.integers(4, 40), budget=st.integers(1, 200))
def test_norm_and_push_of_every_example(models, family, seed, count, longest, budget):
    model = models.setdefault(family, tiny_model(family, scale=2.0).double().requires_grad_(True))
    parameters = dict(model.named_parameters())
    targets = draw_targets(seed, count, longest)
    torch.manual_seed(seed)
    direction = {name: torch.randn_like(p) for name, p in parameters.items()}
    watch = ExampleWatch(model, parameters, {"random": direction})
    found = group_gradients(
        model, parameters, parameter_pieces(model), {"critical": targets}, budget, None, {"random": direction}, watch
    ).examples["critical"]
    for i, target in enumerate(targets):
        gradient = plain(model, loss_of(model, target))
        assert found.norm[i] == pytest.approx(dot(gradient, gradient) ** 0.5, rel=1e-5)
        assert found.push["random"][i] == pytest.approx(-dot(gradient, direction), rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("family", WATCHED)
@pytest.mark.parametrize("side", ["right", "left"])
def test_example_norms_of_padded_batches(make, family, side):
    model = make(family)
    targets = draw_targets(7, 4)
    width = max(len(t) for t in targets)
    ids, labels, mask = (torch.zeros(4, width, dtype=torch.long) for _ in range(3))
    labels -= 100
    for i, target in enumerate(targets):
        place = slice(0, len(target)) if side == "right" else slice(width - len(target), width)
        ids[i, place] = torch.from_numpy(target.ids.astype(np.int64))
        labels[i, place] = ids[i, place].where(torch.arange(len(target)) >= target.start, -100)
        mask[i, place] = 1
    model.train()
    found = attnshift.example_gradient_norms(model, ids, labels, mask)
    assert model.training
    model.eval()
    expected = [plain(model, loss_of(model, t)) for t in targets]
    np.testing.assert_allclose(found.numpy(), [dot(g, g) ** 0.5 for g in expected], rtol=1e-5)
    assert all(p.grad is None and p.requires_grad for p in model.parameters())


def test_example_norms_of_chosen_parameters_and_with_checkpointing(make):
    model = make("llama_tied")
    ids = torch.tensor([[0, 5, 6, 5, 7, 8], [0, 9, 9, 4, 3, 5]])
    names = {n for n, _ in model.named_parameters() if "1.self_attn" in n or "1.mlp" in n}
    expected = []
    for row in ids:
        gradient = plain(model, cross_entropy(model(row[None]).logits[0, :-1], row[1:]), names)
        expected.append(dot(gradient, gradient) ** 0.5)
    for name, p in model.named_parameters():
        p.requires_grad_(name in names)
    model.activation_checkpointing_enable()
    model.train()
    np.testing.assert_allclose(attnshift.example_gradient_norms(model, ids, ids).numpy(), expected, rtol=1e-5)
    for layer in model.model.layers:  # recomputation in earnest: layers in train mode, which drops nothing here
        layer.training = True
    watch = ExampleWatch(model.eval(), {n: p for n, p in model.named_parameters() if n in names})
    for layer in model.model.layers:
        layer.training = True
    with watch.watching():
        logits = model(ids, use_cache=False).logits[:, :-1]
        cross_entropy(logits.mT, ids[:, 1:], reduction="none").mean(1).sum().backward()
    np.testing.assert_allclose(watch.taken().norm, expected, rtol=1e-5)
    model.activation_checkpointing_disable()
    model.zero_grad()
    model.eval().requires_grad_(True)


def test_example_norms_of_an_adapted_model_are_those_of_the_adapted_matrices(make):
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(0)
    adapted = get_peft_model(
        tiny_model("llama", scale=2.0).double(),
        LoraConfig(r=2, target_modules=["q_proj", "down_proj"], init_lora_weights=False),
    ).eval()
    parameters = {n: p for n, p in adapted.named_parameters() if "base_layer.weight" in n}
    targets = draw_targets(3, 3)
    watch = ExampleWatch(adapted.get_base_model(), parameters)
    found = group_gradients(
        adapted.get_base_model(),
        parameters,
        parameter_pieces(adapted.get_base_model(), parameters),
        {"critical": targets},
        1000,
        watch=watch,
    ).examples["critical"]
    for i, target in enumerate(targets):
        for p in adapted.parameters():
            p.requires_grad_(True)
        gradient = plain(adapted, loss_of(adapted, target), set(parameters))
        assert found.norm[i] == pytest.approx(dot(gradient, gradient) ** 0.5, rel=1e-5)


def test_example_norms_of_an_adapted_model_as_it_trains_are_those_of_its_adapter():
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(0)
    config = LoraConfig(r=2, target_modules=["q_proj", "down_proj"], init_lora_weights=False, lora_dropout=0.3)
    adapted = get_peft_model(tiny_model("llama", scale=2.0).double(), config)
    names = {n for n, p in adapted.named_parameters() if p.requires_grad}
    ids = torch.tensor([[0, 5, 6, 5, 7, 8], [0, 9, 9, 4, 3, 5]])
    adapted.train()
    found = attnshift.example_gradient_norms(adapted, ids, ids)
    assert adapted.training
    adapted.eval()
    gradients = [plain(adapted, cross_entropy(adapted(i[None]).logits[0, :-1], i[1:]), names) for i in ids]
    np.testing.assert_allclose(found.numpy(), [dot(g, g) ** 0.5 for g in gradients], rtol=1e-5)


def test_a_layer_that_is_used_twice_is_refused(make):
    model = tiny_model("llama").double()
    model.model.layers[1] = model.model.layers[0]
    ids = torch.tensor([[0, 5, 6]])
    with pytest.raises(attnshift.AttnshiftError, match="used twice"):
        attnshift.example_gradient_norms(model, ids, ids)


def test_stacked_experts_are_refused_by_name(make):
    model = make("gpt_oss")
    ids = torch.tensor([[0, 5, 6]])
    with pytest.raises(attnshift.AttnshiftError, match=r"model\.layers\.0\.\S+ \(GptOss"):
        attnshift.example_gradient_norms(model, ids, ids)


def test_labels_must_fit(make):
    model, ids = make("llama"), torch.tensor([[0, 5, 6], [0, 4, 4]])
    with pytest.raises(attnshift.AttnshiftError, match=r"\(2, 2\)"):
        attnshift.example_gradient_norms(model, ids, ids[:, 1:])
    labels = ids.clone()
    labels[1, 1:] = -100
    with pytest.raises(attnshift.AttnshiftError, match="example 1 has no labelled token"):
        attnshift.example_gradient_norms(model, ids, labels)


def test_a_gradient_adds_up_over_losses(make):
    model = make("llama")
    targets = draw_targets(5, 4)
    parameters = {n: p for n, p in model.named_parameters() if "mlp" in n}
    found = accumulated_gradient(model, parameters, (loss_of(model, t) for t in targets))
    expected = plain(model, sum(loss_of(model, t) for t in targets), set(parameters))
    assert set(found) == set(expected)
    for name in found:
        torch.testing.assert_close(found[name], expected[name])
