"""Resume, staleness, failures, batching and the file format of a trace."""

from __future__ import annotations

import json
import os
import shutil
import signal
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import tiny_traces
import xarray as xr
from tiny_traces import assert_same, series

import attnshift
from attnshift.measures.measure import Measure, Observation
from attnshift.tracing.store import Store

CHEAP = ["margin", "logprob_context_answer"]


options = partial(tiny_traces.options, max_new_tokens=4)


@pytest.fixture(scope="module")
def run(made) -> Path:
    return made("llama")


@pytest.fixture(scope="module")
def whole(run, tmp_path_factory) -> xr.Dataset:
    return attnshift.trace(series(run), **options(run, tmp_path_factory.mktemp("whole")))


@pytest.fixture(scope="module")
def one_step(run, tmp_path_factory) -> Path:
    """A small trace that nothing may change."""
    out = tmp_path_factory.mktemp("one")
    attnshift.trace(series(run), **options(run, out, measures=CHEAP, steps=[2]))
    return out


def in_child(action) -> int:
    """Run in a forked process; its wait status."""
    child = os.fork()
    if child == 0:
        try:
            action()
        finally:
            os._exit(0)
    return os.waitpid(child, 0)[1]


def die(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize(
    "moment",
    ["before the rename", *(pytest.param(m, marks=pytest.mark.slow) for m in ("between checkpoints", "in the inputs"))],
)
def test_killed_in_the_middle_then_resumed_is_bit_identical(run, whole, tmp_path, monkeypatch, moment):
    computed = []
    if moment == "between checkpoints":
        status = in_child(lambda: attnshift.trace(series(run), **options(run, tmp_path), progress=die))
    else:
        victim = "step-00000002" if moment == "before the rename" else "inputs"
        replace = Path.replace

        def killed(self: Path, target):
            return die() if victim in self.name else replace(self, target)

        monkeypatch.setattr(Path, "replace", killed)
        status = in_child(lambda: attnshift.trace(series(run), **options(run, tmp_path)))
        monkeypatch.undo()
    assert os.WIFSIGNALED(status)
    assert os.WTERMSIG(status) == signal.SIGKILL
    done = Store(tmp_path).steps()
    assert len(done) == (0 if moment == "in the inputs" else 1)
    resumed = attnshift.trace(series(run), **options(run, tmp_path), progress=lambda p: computed.append(p.step))
    assert set(computed) == {0, 2, 4} - set(done)
    assert not list(tmp_path.glob(".*.tmp"))
    assert_same(resumed, whole)


def test_run_again_computes_nothing_and_touches_no_file(run, tmp_path):
    attnshift.trace(series(run), **options(run, tmp_path, measures=CHEAP))
    before = {f: f.stat().st_mtime_ns for f in tmp_path.glob("step-*.nc")}
    seen = []
    attnshift.trace(series(run), **options(run, tmp_path, measures=CHEAP), progress=seen.append)
    assert not seen
    assert before == {f: f.stat().st_mtime_ns for f in tmp_path.glob("step-*.nc")}


def test_measures_and_steps_can_be_added_and_equal_one_pass(run, whole, tmp_path):
    attnshift.trace(series(run), **options(run, tmp_path, measures=CHEAP, steps=[2]))
    trace = attnshift.trace(series(run), **options(run, tmp_path))
    for name in whole.variables:
        np.testing.assert_array_equal(trace[name].values, whole[name].values, err_msg=str(name))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"max_new_tokens": 5}, "max_new_tokens: 4 there, 5 now"),
        ({"template": "alpaca"}, "template: plain"),
        ({"dtype": "float64"}, "dtype: as stored there, float64 now"),
        ({"rows": "answer"}, "rows: last there, answer now"),
        ({"limit": 3}, "items: "),
        ({"target_eos": False}, "target_eos: True there, False now"),
    ],
)
def test_stale_settings_are_refused_by_name(run, one_step, change, named):
    with pytest.raises(attnshift.AttnshiftError, match="made differently") as error:
        attnshift.trace(series(run), **options(run, one_step, measures=CHEAP, **change))
    assert named in error.value.problem
    assert "--out" in error.value.remedy


def test_changed_weights_are_refused(run, tmp_path):
    copied = tmp_path / "run"
    shutil.copytree(run, copied)
    plain = options(run, tmp_path / "t", measures=CHEAP, steps=[2])
    attnshift.trace(attnshift.open_series(copied), **plain)
    shutil.copy(run.parent / "base" / "model.safetensors", copied / "checkpoint-2" / "model.safetensors")
    with pytest.raises(attnshift.AttnshiftError, match="other weights"):
        attnshift.trace(attnshift.open_series(copied), **plain)


def test_another_formula_is_refused(run, tmp_path):
    attnshift.trace(series(run), **options(run, tmp_path, measures=[Shifted(1.0)], steps=[2]))
    with pytest.raises(attnshift.AttnshiftError, match="another formula"):
        attnshift.trace(series(run), **options(run, tmp_path, measures=[Shifted(2.0)], steps=[2]))


@dataclass(frozen=True)
class Shifted(Measure):
    """The context answer's log-probability plus a constant: a measure of one's own."""

    by: float

    name = "shifted"
    unit = "nats"
    dims = ("item",)
    needs = frozenset({"context_answer"})

    def compute(self, seen: Observation) -> np.ndarray:
        return np.nansum(seen.get("context_answer").logprob, -1) + self.by


def test_a_measure_of_ones_own(run, whole, tmp_path):
    trace = attnshift.trace(series(run), **options(run, tmp_path, measures=[Shifted(1.5)]))
    np.testing.assert_allclose(trace.shifted, whole.logprob_context_answer + 1.5)
    assert trace.shifted.attrs["key"] == "shifted/1[by=1.5]"
    assert trace.shifted.attrs["unit"] == "nats"


@pytest.mark.parametrize("budget", [1, pytest.param(100, marks=pytest.mark.slow)])
def test_batch_size_changes_rounding_only(run, whole, tmp_path, budget):
    trace = attnshift.trace(series(run), **options(run, tmp_path, token_budget=budget, steps=[4]))
    expected = whole.sel(step=[4])
    for name, variable in trace.data_vars.items():
        if variable.dtype.kind == "f":
            np.testing.assert_allclose(variable.values, expected[name].values, atol=1e-5, rtol=1e-5, err_msg=str(name))


@pytest.mark.parametrize("lora", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_bfloat16_is_close_to_float32(made, whole, run, tmp_path, lora):
    run = made("llama", lora=True) if lora else run
    plain = attnshift.trace(series(run), **options(run, tmp_path / "f32", steps=[4])) if lora else whole.sel(step=[4])
    half = attnshift.trace(series(run), **options(run, tmp_path / "bf16", steps=[4], dtype="bfloat16"))
    assert json.loads(half.attrs["failed"]) == {}
    assert half.dtype.values.tolist() == ["bfloat16"]
    for name in ("attention_mass", "ift_attention_mass"):
        np.testing.assert_allclose(half[name], plain[name], atol=0.05, err_msg=name)
    for name in ("margin", "loss", "loss_closed_book", "logprob_context_answer"):
        np.testing.assert_allclose(half[name], plain[name], atol=0.15, rtol=0.05, err_msg=name)
    groups = ("critical", "non_critical", "no_context")
    ours, theirs = (trace.gradient_norm.sel(group=list(groups)) for trace in (half, plain))
    np.testing.assert_allclose(ours, theirs, rtol=0.1)


def test_a_broken_checkpoint_is_a_failed_step_and_the_rest_is_kept(run, tmp_path):
    copied = tmp_path / "run"
    shutil.copytree(run, copied)
    weights = copied / "checkpoint-4" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    trace = attnshift.trace(
        attnshift.open_series(copied, base=str(run.parent / "base")), **options(run, tmp_path / "t", measures=CHEAP)
    )
    assert trace.step.values.tolist() == [0, 2]
    failed = json.loads(trace.attrs["failed"])
    assert list(failed) == ["4"]
    assert "checkpoint-4" in failed["4"]
    shutil.copy(run / "checkpoint-4" / "model.safetensors", weights)  # mended: only this one is computed
    seen = []
    trace = attnshift.trace(
        attnshift.open_series(copied, base=str(run.parent / "base")),
        **options(run, tmp_path / "t", measures=CHEAP),
        progress=lambda p: seen.append(p.step),
    )
    assert seen == [4]
    assert json.loads(trace.attrs["failed"]) == {}


def test_a_broken_checkpoint_can_be_left_out(run, tmp_path):
    copied = tmp_path / "run"
    shutil.copytree(run, copied)
    (copied / "checkpoint-2" / "model.safetensors").write_bytes(b"")
    seen = []
    trace = attnshift.trace(
        attnshift.open_series(copied), **options(run, tmp_path / "t", measures=CHEAP, steps=[4]), progress=seen.append
    )
    assert json.loads(trace.attrs["failed"]) == {}
    assert [(p.done, p.total) for p in seen] == [(1, 1)]


def test_nan_weights_are_a_failed_step(run, tmp_path):
    import torch
    from safetensors.torch import load_file, save_file

    copied = tmp_path / "run"
    shutil.copytree(run, copied)
    file = copied / "checkpoint-2" / "model.safetensors"
    tensors = load_file(file)
    tensors["model.norm.weight"] = torch.full_like(tensors["model.norm.weight"], float("nan"))
    save_file(tensors, file, metadata={"format": "pt"})
    trace = attnshift.trace(attnshift.open_series(copied), **options(run, tmp_path / "t", measures=CHEAP))
    assert trace.step.values.tolist() == [4]
    assert "not numbers" in json.loads(trace.attrs["failed"])["2"]


def test_item_level_attention_stays_on_disk_until_used(whole, monkeypatch):
    opened = []
    from attnshift.tracing import dataset

    real = dataset.open_hdf5
    monkeypatch.setattr(dataset, "open_hdf5", lambda file: opened.append(file.name) or real(file))
    one = whole.attention_mass.isel(step=1, layer=0).values
    assert opened == ["step-00000002.nc"]
    assert one.shape == (10, 4, 8)
    np.testing.assert_array_equal(whole.attention_mass.values[1, :, 0], one)
    picked = whole.attention_mass.isel(item=[3, 1], head=slice(1, 3), role=[0, 5]).values
    np.testing.assert_array_equal(picked, whole.attention_mass.values[:, [3, 1]][:, :, :, 1:3][..., [0, 5]])


def test_the_summary_is_a_cache_and_no_more(run, tmp_path):
    first = attnshift.trace(series(run), **options(run, tmp_path, measures=["margin", "attention_mass"]))
    (tmp_path / "summary.nc").write_bytes(b"garbage")
    assert_same(attnshift.open_trace(tmp_path), first)
    (tmp_path / "summary.nc").unlink()
    (tmp_path / "step-00000002.nc").unlink()
    assert attnshift.open_trace(tmp_path).step.values.tolist() == [0, 4]


def test_each_file_is_plain_netcdf_with_units(whole, run, tmp_path):
    attnshift.trace(series(run), **options(run, tmp_path, steps=[2]))
    with xr.open_dataset(tmp_path / "step-00000002.nc", engine="h5netcdf") as cell:
        assert cell.attention_mass.dims == ("item", "layer", "head", "role")
        assert cell.margin.attrs["unit"] == "nats"
        assert json.loads(cell.attrs["keys"])["margin"] == "margin/1"
        assert len(cell.attrs["checkpoint_digest"]) >= 16
    meanings = whole.token_role.attrs["flag_meanings"].split()
    assert dict(zip(meanings, whole.token_role.attrs["flag_values"].tolist(), strict=True))["pad"] == 7


def test_traces_side_by_side(run, tmp_path):
    for name, steps in (("a", [0, 2]), ("b", [2, 4])):
        attnshift.trace(
            series(run), **options(run, tmp_path / name, steps=steps, measures=["margin", "attention_mass"])
        )
    both = attnshift.open_traces({"a": tmp_path / "a", "b": tmp_path / "b"})
    assert both.margin.dims[0] == "run"
    assert both.run.values.tolist() == ["a", "b"]
    np.testing.assert_array_equal(both.margin.sel(run="a", step=2), both.margin.sel(run="b", step=2))
    assert np.isnan(both.margin.sel(run="a", step=4)).all()
    assert np.isnan(both.attention_mass.sel(run="b", step=0)).all()


def test_groups_are_frozen_and_by_closed_book_loss(run, whole):
    losses = whole.loss_closed_book.sel(step=0).values
    with_context = whole.group_of_example.values != "no_context"
    cut = np.sort(losses[with_context])[int(0.25 * with_context.sum())]
    expected = np.where(losses < cut, "non_critical", "critical")
    np.testing.assert_array_equal(whole.group_of_example.values[with_context], expected[with_context])
    assert (whole.example_context.values == "").tolist() == (~with_context).tolist()
    assert float(whole.group_share.sum()) == pytest.approx(1)


def test_rows_over_the_answer_average_its_tokens(run, tmp_path):
    """With answers of one token there is one row to average: the last prompt token's."""
    last = attnshift.trace(series(run), **options(run, tmp_path / "last", measures=["attention_mass"], steps=[4]))
    mean = attnshift.trace(
        series(run), **options(run, tmp_path / "mean", measures=["attention_mass"], steps=[4], rows="answer")
    )
    lengths = (last.context_answer_ids.values != -1).sum(-1)
    one = lengths == 1
    assert one.any()
    np.testing.assert_allclose(mean.attention_mass[:, one], last.attention_mass[:, one], atol=1e-6)
    np.testing.assert_allclose(mean.attention_mass.sum("role"), 1, atol=1e-5)


def test_an_unwritable_place_names_out(run, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(attnshift.AttnshiftError) as error:
        attnshift.trace(series(run), **options(run, tmp_path / "file" / "t"))
    assert "--out" in error.value.remedy
