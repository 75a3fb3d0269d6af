"""The token budget: chosen from free memory, kept by the trace, halved where memory runs out."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny import tiny_model

import attnshift
from attnshift.models.placement import Placement
from attnshift.models.skeleton import Skeleton
from attnshift.tracing import cell
from attnshift.tracing import job as jobs
from attnshift.tracing.budget import Load, TokenBudget, choose_budget, is_out_of_memory, load_of
from attnshift.tracing.estimate import estimate
from attnshift.tracing.memory import Footprint, free_bytes, gradient_copies, read_footprint
from attnshift.tracing.netcdf import read_attributes
from attnshift.tracing.preview import preview

CHEAP = ["margin", "logprob_context_answer"]
EIGHT_B = Footprint(
    parameters=8_000_000_000,
    trained=8_000_000_000,
    width=2,
    layers=32,
    hidden=4096,
    projected=6144,
    cached=2048,
    inner=14336,
    heads=32,
    vocabulary=128_256,
    quadratic=False,
)
GRADIENTS = {"group_gradient", "gradient_cross_product"}


@pytest.fixture(scope="module")
def run(made):
    return made("llama")


def options(run, out, **more):
    data = {
        "items": attnshift.load_items(run.parent / "cf.json"),
        "examples": attnshift.load_examples(run.parent / "alpaca.json"),
    }
    return {**data, "out": out, "max_new_tokens": 4, "measures": CHEAP, **more}


def budgets(out) -> dict[str, int]:
    return {f.stem: int(read_attributes(f)["token_budget"]) for f in sorted(out.glob("[is]*[0-9s].nc"))}


def load(longest: int = 500, *groups: tuple[str, int, int]) -> Load:
    return Load(longest, 0.05, groups)


@pytest.mark.parametrize(
    ("needs", "gigabytes", "device", "expected"),
    [
        ({"context_answer"}, 120, "cuda", 65536),
        ({"context_answer"}, 17, "cuda", 2048),
        ({"context_answer"}, 120, "cpu", 8192),
        ({"context_answer"}, 15, "cuda", 500),
        (GRADIENTS, 140, "cuda", 4096),
        (GRADIENTS, 40, "cuda", 500),
        ({"group_gradient"}, 40, "cuda", 500),
    ],
)
def test_the_largest_power_of_two_that_fits_half_of_what_is_free(needs, gigabytes, device, expected):
    groups = [("critical", 100, 500)] if "group_gradient" in needs else []
    found = choose_budget(EIGHT_B, needs, load(500, *groups), gigabytes * 10**9, device)
    assert found == expected


def test_gradients_held_elsewhere_leave_room_for_larger_batches():
    groups = load(500, ("critical", 100, 500))
    here, elsewhere = (choose_budget(EIGHT_B, GRADIENTS, groups, 70 * 10**9, "cuda", held) for held in (None, 0))
    assert here == 500
    assert elsewhere > here


def test_more_memory_never_takes_smaller_batches():
    found = [choose_budget(EIGHT_B, GRADIENTS, load(), g * 10**9, "cuda") for g in range(10, 400, 10)]
    assert found == sorted(found)


def test_copies_by_need():
    assert gradient_copies({"context_answer"}, accumulated=True) == {}
    assert gradient_copies({"group_gradient"}, accumulated=False) == {}
    assert gradient_copies(GRADIENTS, accumulated=True) == {"group_gradient": 1, "gradient_cross_product": 1}
    assert gradient_copies({"group_gradient", "margin_push"}, accumulated=False) == {"margin_push": 1}


@pytest.mark.parametrize("family", ["llama", "qwen3", "gpt2", "neox", "gemma2"])
def test_saved_activations_are_estimated_within_a_factor_of_two(family, tmp_path):
    """Oracle: the bytes that autograd saves for the backward, the logits' own and the parameters left out."""
    model, length = tiny_model(family), 100
    saved: dict[int, int] = {}
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage().data_ptr() not in weights:
            saved[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        kept.append(tensor)
        return tensor

    kept: list[torch.Tensor] = []
    model.set_attn_implementation("eager" if family == "gemma2" else "sdpa")
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model(input_ids=torch.zeros(4, length, dtype=torch.long), use_cache=False, logits_to_keep=1)
    config = model.config
    model.save_pretrained(tmp_path / "base")
    footprint = read_footprint(attnshift.open_series(tmp_path / "base").run, (), torch.float32)
    assert footprint.parameters == sum(p.numel() for p in model.parameters())
    assert footprint.layers == config.num_hidden_layers
    estimated = 4 * length * footprint.activations({"group_gradient"}, length)
    assert 0.5 < estimated / sum(saved.values()) < 2


def test_an_adapter_trains_the_matrices_that_it_adapts(made):
    run = made("neox", lora=True)
    series = attnshift.open_series(run, base=str(run.parent / "base"))
    footprint = read_footprint(series.run, series.run.checkpoints, None)
    assert footprint.trained == 2 * (32 * 96 + 32 * 48)


def test_the_memory_that_is_free_is_read_where_the_weights_go():
    assert free_bytes(Placement(torch.device("cpu"))) > 10**6


def test_a_trace_keeps_the_budget_that_it_was_begun_with(run, tmp_path, monkeypatch):
    monkeypatch.setattr(jobs, "free_bytes", lambda placement: 10**6)
    series = attnshift.open_series(run)
    attnshift.trace(series, **options(run, tmp_path, steps=[2]))
    monkeypatch.undo()
    small = budgets(tmp_path)["inputs"]
    assert small < 8192
    attnshift.trace(series, **options(run, tmp_path, steps=[4]))
    assert budgets(tmp_path) == {"inputs": small, "step-00000002": small, "step-00000004": small}
    given = attnshift.trace(series, **options(run, tmp_path / "given", token_budget=300, steps=[2]))
    assert given.attrs["token_budget"] == 300
    (tmp_path / "step-00000004.nc").unlink()
    attnshift.trace(series, **options(run, tmp_path, steps=[4], token_budget=300))
    assert budgets(tmp_path) == {"inputs": small, "step-00000002": small, "step-00000004": 300}


def test_without_a_readable_configuration_the_usual_budget_is_taken(run, tmp_path, monkeypatch):
    def breaks(*_: object) -> None:
        raise OSError("no config.json")

    monkeypatch.setattr(jobs, "read_footprint", breaks)
    assert jobs.prepare(attnshift.open_series(run), **options(run, tmp_path)).settings.token_budget == 8192


def test_a_budget_of_nothing_is_refused(run, tmp_path):
    with pytest.raises(attnshift.AttnshiftError, match="token budget is 0"):
        jobs.prepare(attnshift.open_series(run), **options(run, tmp_path, token_budget=0))


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory: you"),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes"),
    ],
)
def test_every_allocator_s_words_are_known(error):
    assert is_out_of_memory(error)


def test_halved_where_memory_runs_out(run, tmp_path, monkeypatch):
    real, seen = cell.observe, []

    def observe(skeleton, tokenizer, inputs, needs, settings):
        seen.append(settings.token_budget)
        if settings.token_budget > 2048:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return real(skeleton, tokenizer, inputs, needs, settings)

    monkeypatch.setattr(cell, "observe", observe)
    with pytest.warns(UserWarning, match="memory ran out with 4096 tokens in a batch: .* take 2048"):
        trace = attnshift.trace(attnshift.open_series(run), **options(run, tmp_path, token_budget=4096))
    assert seen == [4096, 2048, 2048]
    assert trace.step.values.tolist() == [2, 4]
    assert budgets(tmp_path) == {"inputs": 4096, "step-00000002": 2048, "step-00000004": 2048}


@pytest.mark.filterwarnings("ignore:memory ran out")
def test_where_one_sequence_does_not_fit_the_step_fails_and_says_what_helps(run, tmp_path, monkeypatch):
    real, seen = cell.observe, []

    def observe(skeleton, *rest):
        seen.append(rest[-1].token_budget)
        if skeleton.first:
            raise MemoryError
        return real(skeleton, *rest)

    def load(self, checkpoint):
        self.first = checkpoint.step == 2
        return real_load(self, checkpoint)

    real_load = Skeleton.load
    monkeypatch.setattr(Skeleton, "load", load)
    monkeypatch.setattr(cell, "observe", observe)
    trace = attnshift.trace(attnshift.open_series(run), **options(run, tmp_path, token_budget=256))
    assert trace.step.values.tolist() == [4]
    told = json.loads(trace.attrs["failed"])["2"]
    for remedy in ("one sequence", "--limit", "shorter context", "--dtype bfloat16", "--device"):
        assert remedy in told
    assert seen[0] == 256
    assert seen[-1] == seen[-2] < 256


def test_other_errors_are_not_taken_for_a_lack_of_memory():
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    budget, calls = TokenBudget(64, 8), []
    with pytest.raises(RuntimeError, match="shapes"):
        budget.run(lambda tokens: calls.append(tokens) or (_ for _ in ()).throw(RuntimeError("shapes")))
    assert calls == [64]


def test_what_did_not_fit_is_freed_before_trying_again():
    import weakref

    class Large:
        pass

    alive: list[weakref.ref[Large]] = []

    def action(tokens: int) -> int:
        assert all(one() is None for one in alive)
        large = Large()
        alive.append(weakref.ref(large))
        if tokens > 8:
            raise MemoryError
        return tokens

    with pytest.warns(UserWarning, match="memory ran out"):
        assert TokenBudget(32, 8).run(action) == 8


def test_a_dry_run_states_memory_by_kind_and_which_group_needs_a_copy(run, tmp_path):
    more = {"measures": ["gradient_norm", "gradient_cosine", "margin"]}
    job = jobs.prepare(attnshift.open_series(run), **options(run, tmp_path, **more))
    facts = preview(job)
    assert set(facts["memory"]) == {"weights", "gradients", "activations", "logits"}
    assert facts["memory_bytes"] == sum(facts["memory"].values())
    assert facts["token_budget"] == 8192
    assert facts["free_bytes"] > facts["memory_bytes"]
    assert facts["gradient_copies"] == {"gradient_cross_product": 1}
    assert facts["groups"] == dict.fromkeys(("critical", "non_critical", "no_context"), "streamed")
    assert facts["memory"]["weights"] == facts["parameters"] * 4
    assert facts["memory"]["gradients"] == facts["memory"]["weights"]
    small = preview(replace(job, settings=replace(job.settings, token_budget=200)))
    assert small["groups"]["critical"] == "accumulated"
    assert small["gradient_copies"] == {"group_gradient": 1, "gradient_cross_product": 1}
    assert small["batches"] > facts["batches"]
    assert small["memory"]["activations"] < facts["memory"]["activations"]


def test_held_gradients_elsewhere_are_told_apart_from_the_model_s_memory(run, tmp_path, monkeypatch):
    more = {"measures": ["gradient_norm", "gradient_cosine"], "gradients_on_cpu": True}
    job = jobs.prepare(attnshift.open_series(run), **options(run, tmp_path, **more))
    assert job.settings.hold == torch.device("cpu")
    assert not preview(job)["gradients_elsewhere"], "the model is there, too"
    monkeypatch.setattr("attnshift.tracing.estimate._flops_per_second", lambda job: 1e9)
    far = preview(replace(job, placement=Placement(torch.device("meta"))))
    assert far["gradients_elsewhere"]
    assert far["memory_bytes"] == sum(far["memory"].values()) - far["memory"]["gradients"] > 0


def test_groups_of_a_stored_trace_are_known_exactly(run, tmp_path):
    series = attnshift.open_series(run)
    more = {"measures": ["gradient_norm", "loss_closed_book"]}
    trace = attnshift.trace(series, **options(run, tmp_path, steps=[2], **more))
    job = jobs.prepare(series, **options(run, tmp_path, **more))
    known = load_of(jobs.stored_groups(job, job.store.read_inputs()), 4).groups
    guessed = load_of(job.inputs, 4).groups
    groups, counts = np.unique(trace.group_of_example.values, return_counts=True)
    assert {name: count for name, count, _ in known} == dict(zip(groups.tolist(), counts.tolist(), strict=True))
    assert [row[:2] for row in known] == [row[:2] for row in guessed]
    assert all(a[2] <= b[2] for a, b in zip(known, guessed, strict=True))
    assert estimate(job).batches > 0
