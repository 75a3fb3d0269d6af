"""Every number of a trace, recomputed from its stored ids and the checkpoint alone with plain transformers."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from tiny_organism import TINY
from torch.nn.functional import log_softmax
from transformers import AutoModelForCausalLM

import attnshift
from attnshift.organism.build import build_run

# Softcap and sliding window; fused matrices under an adapter; one token per word and no EOS.
FAST = [("gemma2", False), ("neox", True), ("organism", False)]
SLOW = [("llama", False), ("neox", False), ("llama", True), ("gemma2", True)]
RUNS = [*FAST, *(pytest.param(run, marks=pytest.mark.slow) for run in SLOW)]


@pytest.fixture(scope="module", params=RUNS, ids=lambda p: p[0] + ("-lora" if p[1] else ""))
def traced(request, made, tmp_path_factory):
    family, lora = request.param
    if family == "organism":
        run = build_run(tmp_path_factory.mktemp(family) / "run", TINY, seed=1)
        options = {"limit": 30, "seed": 1, "max_new_tokens": 6, "steps": [0, 20]}
        return attnshift.trace(attnshift.open_series(run), **options), run, lora
    run = made(family, lora=lora)
    series = attnshift.open_series(run, base=None if lora else str(run.parent / "base"))
    trace = attnshift.trace(
        series,
        items=attnshift.load_items(run.parent / "cf.json"),
        examples=attnshift.load_examples(run.parent / "alpaca.json"),
        out=tmp_path_factory.mktemp("trace"),
        max_new_tokens=6,
    )
    return trace, run, lora


def plain_model(run, lora: bool, step: int):
    """As anybody would load it."""
    base = run / "base" if (run / "base").is_dir() else run.parent / "base"
    if lora:
        model = AutoModelForCausalLM.from_pretrained(base, attn_implementation="eager")
        if step:
            from peft import PeftModel

            model = PeftModel.from_pretrained(model, run / f"checkpoint-{step}").merge_and_unload()
    else:
        folder = run / f"checkpoint-{step}" if step else base
        model = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager")
    return model.requires_grad_(True).eval()


def real(row: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(row[row != -1].astype(np.int64))[None]


def eager_mass(model, ids: torch.Tensor, row: int, roles: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        patterns = torch.stack(model(ids, output_attentions=True).attentions)[:, 0, :, row]
    mass = np.stack([patterns[..., roles == code].sum(-1).numpy() for code in range(7)], -1)
    return np.concatenate([mass, 1 - mass.sum(-1, keepdims=True)], -1)


def test_attention_mass_equals_eager(traced):
    trace, run, lora = traced
    for step in trace.step.values:
        model = plain_model(run, lora, int(step))
        for i in range(trace.sizes["item"]):
            ids = real(trace.token_ids.values[i])
            roles = trace.token_role.values[i, : ids.shape[1]]
            expected = eager_mass(model, ids, ids.shape[1] - 1, roles)
            got = trace.attention_mass.sel(step=step).isel(item=i).values
            np.testing.assert_allclose(got, expected, atol=1e-5)
    np.testing.assert_allclose(trace.attention_mass.sum("role"), 1, atol=1e-5)


def test_ift_attention_mass_equals_eager(traced):
    trace, run, lora = traced
    step = int(trace.step.values[-1])
    model = plain_model(run, lora, step)
    for i in range(0, trace.sizes["example"], 5):
        ids = real(trace.ift_token_ids.values[i])
        roles = trace.ift_token_role.values[i, : ids.shape[1]]
        expected = eager_mass(model, ids, int(np.argmax(roles == 6)) - 1, roles)
        np.testing.assert_allclose(trace.ift_attention_mass.sel(step=step).values[i], expected, atol=1e-5)


def test_context_mass_excess_is_mass_less_visible_share(traced):
    trace, run, lora = traced
    window = plain_model(run, lora, 0).config.to_dict().get("sliding_window")
    kinds = plain_model(run, lora, 0).config.to_dict().get("layer_types") or ["full_attention"] * 2
    context_roles = ["context", "context_answer", "parametric_answer"]
    mass = trace.attention_mass.sel(role=context_roles).sum("role").values
    for i in range(trace.sizes["item"]):
        roles = trace.token_role.values[i]
        roles = roles[roles != 7]
        for layer, kind in enumerate(kinds):
            seen = roles[-window:] if kind == "sliding_attention" else roles
            share = np.isin(seen, [2, 3, 4]).mean()
            got = trace.context_mass_excess.isel(item=i, layer=layer).values
            np.testing.assert_allclose(got, mass[:, i, layer] - share, atol=1e-5)


def answer_logprobs(model, prompt: torch.Tensor, answer: torch.Tensor) -> np.ndarray:
    with torch.no_grad():
        logits = model(torch.cat([prompt, answer], 1)).logits[0, prompt.shape[1] - 1 : -1]
    return log_softmax(logits, -1).gather(1, answer[0][:, None])[:, 0].numpy()


def test_margins_and_logprobs_equal_plain_log_softmax(traced):
    trace, run, lora = traced
    for step in trace.step.values:
        model, at = plain_model(run, lora, int(step)), trace.sel(step=step)
        for i in range(trace.sizes["item"]):
            prompt, closed = real(trace.token_ids.values[i]), real(trace.closed_book_token_ids.values[i])
            context, parametric = (real(trace[f"{kind}_answer_ids"].values[i]) for kind in ("context", "parametric"))
            a, b = answer_logprobs(model, prompt, context), answer_logprobs(model, prompt, parametric)
            here = at.isel(item=i)
            assert float(here.margin) == pytest.approx(a.sum() - b.sum(), abs=1e-4)
            assert float(here.margin_per_token) == pytest.approx(a.mean() - b.mean(), abs=1e-4)
            assert float(here.logprob_context_answer) == pytest.approx(a.sum(), abs=1e-4)
            assert float(here.logprob_parametric_answer) == pytest.approx(b.sum(), abs=1e-4)
            known = answer_logprobs(model, closed, parametric).sum()
            assert float(here.logprob_parametric_closed_book) == pytest.approx(known, abs=1e-4)
            first = next(k for k, (x, y) in enumerate(zip(context[0], parametric[0], strict=False)) if x != y)
            assert float(here.margin_first_token) == pytest.approx(a[first] - b[first], abs=1e-4)


def test_generation_and_accuracy_equal_a_plain_greedy_loop(traced):
    trace, run, lora = traced
    series = attnshift.open_series(run)
    for step in trace.step.values[1:]:
        model = plain_model(run, lora, int(step))
        for i in range(0, trace.sizes["item"], 3):
            ids = real(trace.token_ids.values[i])
            start = ids.shape[1]
            with torch.no_grad():
                for _ in range(6):
                    best = model(ids).logits[0, -1].argmax()
                    if best == series.tokenizer.eos_token_id:
                        break
                    ids = torch.cat([ids, best[None, None]], 1)
                    so_far = series.tokenizer.decode(ids[0, start:], skip_special_tokens=True)
                    if "\n" in so_far.lstrip() or "</s>" in so_far:
                        break
            text = series.tokenizer.decode(ids[0, start:], skip_special_tokens=True).replace("\x00", "\ufffd")
            here = trace.sel(step=step).isel(item=i)
            assert str(here.generation.values) == text
            for kind, answer in (("counterfactual", "context"), ("parametric", "parametric")):
                contained = str(here[f"item_{answer}_answer"].values).lower() in text.lower()
                assert float(here[f"{kind}_accuracy"]) == contained


def plain_loss(model, ids: torch.Tensor, target: int) -> torch.Tensor:
    """Mean over the last ``target`` tokens."""
    logits = model(ids).logits[0, -target - 1 : -1]
    return -log_softmax(logits, -1).gather(1, ids[0, -target:, None]).mean()


def test_losses_and_exact_match_equal_plain_log_softmax(traced):
    trace, run, lora = traced
    for step in trace.step.values:
        model, at = plain_model(run, lora, int(step)), trace.sel(step=step)
        for i in range(0, trace.sizes["example"], 3):
            ids, closed = real(trace.ift_token_ids.values[i]), real(trace.ift_closed_book_token_ids.values[i])
            target = int((trace.ift_token_role.values[i] == 6).sum())
            with torch.no_grad():
                assert float(at.loss[i]) == pytest.approx(float(plain_loss(model, ids, target)), abs=1e-4)
                assert float(at.loss_closed_book[i]) == pytest.approx(
                    float(plain_loss(model, closed, target)), abs=1e-4
                )
                greedy = model(ids).logits[0, -target - 1 : -1].argmax(-1)
            assert float(at.exact_match[i]) == float(torch.equal(greedy, ids[0, -target:]))


def plain_gradient(model, trace, group: str, names: set[str]) -> dict[str, torch.Tensor]:
    model.zero_grad()
    chosen = np.flatnonzero((trace.group_of_example == group) & (trace.split == "train"))
    for i in chosen:
        target = int((trace.ift_token_role.values[i] == 6).sum())
        (plain_loss(model, real(trace.ift_token_ids.values[i]), target) / len(chosen)).backward()
    return {name: p.grad.double().clone() for name, p in model.named_parameters() if name in names}


def test_gradients_equal_plain_autograd(traced):
    trace, run, lora = traced
    names = set(json.loads(trace.attrs["trained_parameters"]))
    for step in trace.step.values:
        model, at = plain_model(run, lora, int(step)), trace.sel(step=step)
        gradients = {str(g): plain_gradient(model, trace, str(g), names) for g in trace.group.values}
        norms = {group: sum((g**2).sum() for g in gradient.values()).sqrt() for group, gradient in gradients.items()}
        for group, norm in norms.items():
            assert float(at.gradient_norm.sel(group=group)) == pytest.approx(float(norm), rel=1e-4)
            parts = at.gradient_norm_by_part.sel(group=group)
            assert float((parts**2).sum()) ** 0.5 == pytest.approx(float(norm), rel=1e-6)
        dot = sum((gradients["critical"][n] * gradients["non_critical"][n]).sum() for n in names)
        cosine = dot / norms["critical"] / norms["non_critical"]
        assert float(at.gradient_cosine) == pytest.approx(float(cosine), abs=1e-4)


def test_example_gradients_equal_plain_autograd_one_by_one(traced):
    trace, run, lora = traced
    names = set(json.loads(trace.attrs["trained_parameters"]))
    step = int(trace.step.values[-1])
    model, at = plain_model(run, lora, step), trace.sel(step=step)
    for i in range(0, trace.sizes["example"], 4):
        model.zero_grad()
        target = int((trace.ift_token_role.values[i] == 6).sum())
        plain_loss(model, real(trace.ift_token_ids.values[i]), target).backward()
        norm = float(sum((p.grad.double() ** 2).sum() for n, p in model.named_parameters() if n in names)) ** 0.5
        expected = norm if str(trace.split[i].values) == "train" else np.nan
        assert float(at.example_gradient_norm[i]) == pytest.approx(expected, rel=1e-3, nan_ok=True)


def plain_direction(model, trace, name: str, names: set[str]) -> dict[str, torch.Tensor]:
    """Gradient of the mean margin or of the mean context mass, item by item."""
    model.zero_grad()
    for i in range(trace.sizes["item"]):
        prompt = real(trace.token_ids.values[i])
        if name == "margin":
            context, parametric = (real(trace[f"{kind}_answer_ids"].values[i]) for kind in ("context", "parametric"))
            parts = [-summed_nats(model, prompt, context), summed_nats(model, prompt, parametric)]
        else:
            patterns = torch.stack(model(prompt, output_attentions=True).attentions)[:, 0, :, -1]
            context = torch.from_numpy(np.isin(trace.token_role.values[i, : prompt.shape[1]], [2, 3, 4]))
            parts = [patterns[..., context].sum(-1).mean()]
        for part in parts:
            (part / trace.sizes["item"]).backward()
    return {n: p.grad.double().clone() for n, p in model.named_parameters() if n in names and p.grad is not None}


def summed_nats(model, prompt: torch.Tensor, answer: torch.Tensor) -> torch.Tensor:
    return plain_loss(model, torch.cat([prompt, answer], 1), answer.shape[1]) * answer.shape[1]


@pytest.mark.parametrize("name", ["margin", "attention"])
def test_pushes_equal_plain_autograd(traced, name):
    trace, run, lora = traced
    names = set(json.loads(trace.attrs["trained_parameters"]))
    for step in trace.step.values:
        model, at = plain_model(run, lora, int(step)), trace.sel(step=step)
        direction = plain_direction(model, trace, name, names)
        size = sum((d**2).sum() for d in direction.values()).sqrt()
        for group in trace.group.values:
            gradient = plain_gradient(model, trace, str(group), names)
            expected = -sum((direction[n] * gradient[n]).sum() for n in direction)
            scale = float(size * sum((g**2).sum() for g in gradient.values()).sqrt())
            got = at[f"{name}_push"].sel(group=group)
            assert float(got) == pytest.approx(float(expected), abs=1e-4 * scale)
            assert float(at[f"{name}_push_by_part"].sel(group=group).sum()) == pytest.approx(float(got), rel=1e-6)
            members = ((trace.group_of_example == group) & (trace.split == "train")).values
            mean = float(at[f"example_{name}_push"].values[members].mean())
            assert mean == pytest.approx(float(got), abs=1e-4 * scale)


def test_trained_parameters_are_all_or_the_adapted_matrices(traced):
    trace, run, lora = traced
    names = set(json.loads(trace.attrs["trained_parameters"]))
    everything = {name for name, _ in plain_model(run, lora, 0).named_parameters()}
    assert names <= everything
    if lora:
        stem = "query_key_value|dense_h_to_4h" if "neox" in str(run) else "q_proj|v_proj|o_proj"
        assert names == {n for n in everything if any(f"{s}.weight" in n for s in stem.split("|"))}
    else:
        assert names == everything


def test_every_variable_says_what_it_is(traced):
    trace, _, _ = traced
    for name, variable in trace.data_vars.items():
        assert {"unit", "measure", "key"} <= set(variable.attrs), name
