"""Directories of traces of any content: a dataset, figures and a report of it, or one clear error."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from fuzzing import ODD_JSON, TEXT, as_json, fuzz, json_values, result_or_error
from hypothesis import given
from hypothesis import strategies as st
from made_stores import made_store

import attnshift
from attnshift.figures.plot import FIGURES, plot
from attnshift.report.page import write_report
from attnshift.stats.verdict import verdict
from attnshift.tracing.rescore import rescore

TEXTS = {0: [" Paris"] * 4, 50: [" Lyon"] * 4, 100: [" Graz"] * 4}
LABELS = {step: ["context", "parametric", "neither", "both"] for step in TEXTS}
FILES = ["inputs.nc", "step-00000000.nc", "step-00000050.nc", "step-00000100.nc"]
ATTRIBUTES = ["recipe", "keys", "checkpoint_digest", "checkpoint", "epoch", "dtype", "run", "notes", "dropped",
          "known", "token_budget", "template", "template_source", "grouping", "unit", "measure", "key",
          "coordinates"]  # fmt: skip
NUMBERS = st.sampled_from(
    [np.zeros(4), np.full(4, np.nan), np.full(4, np.inf), np.zeros(3), np.zeros((4, 1)), np.float64(1), np.arange(4),
     np.array([1, 2, 3, 4], np.uint8), np.zeros(0), np.array([True] * 4), np.array(["x"] * 4, object)]
)  # fmt: skip
SAID = st.one_of(
    ODD_JSON,
    json_values().map(as_json),
    TEXT.filter(lambda text: "\x00" not in text and "\ud800" not in text),
    st.integers(-(2**40), 2**40),
    st.floats(),
    st.just(np.arange(3)),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("traces")


@pytest.fixture(scope="module")
def whole(folder) -> Path:
    """A trace without a model, and what its inputs and steps can hold."""
    return made_store(folder / "whole", TEXTS, labels=LABELS).path


@pytest.fixture(scope="module")
def real(made, folder) -> Path:
    """A trace of a run, with all measures of the catalogue."""
    run, out = made("llama"), folder / "real"
    items = attnshift.load_items(run.parent / "cf.json")[:4]
    examples = attnshift.load_examples(run.parent / "alpaca.json")[:6]
    series = attnshift.open_series(run, base=str(run.parent / "base"))
    attnshift.trace(series, items=items, examples=examples, out=out, max_new_tokens=2)
    return out


def read_all(trace: Path, figures: list[str]) -> None:
    opened = result_or_error(attnshift.open_trace, trace)
    if opened is None:
        return
    for name in figures:
        result_or_error(plot, opened, name)
    result_or_error(verdict, opened)
    result_or_error(write_report, opened, trace.parent / "report.html")


def copied(trace: Path, to: str) -> Path:
    at = trace.with_name(to)
    shutil.rmtree(at, ignore_errors=True)
    shutil.copytree(trace, at)
    return at


Change = Callable[[h5py.File], None]


@st.composite
def changes(draw, names: list[str]) -> tuple[str, Change]:
    """One thing done to a file: an array dropped, replaced or added, or an attribute set or dropped."""
    kind = draw(st.sampled_from(["drop", "replace", "add", "say", "unsay", "say of an array", "dims"]))
    name, other, value, said = draw(st.sampled_from(names)), draw(st.sampled_from(names)), draw(NUMBERS), draw(SAID)
    attribute = draw(st.sampled_from(ATTRIBUTES) | TEXT.filter(lambda t: t and "\x00" not in t and "\ud800" not in t))

    def change(file: h5py.File) -> None:
        if kind in ("drop", "replace") and name in file:
            del file[name]
        if kind in ("replace", "add") and name not in file:
            file[name] = value
        if kind == "say":
            file.attrs[attribute] = said
        if kind == "unsay":
            file.attrs.pop(attribute, None)
        if kind == "say of an array" and name in file:
            file[name].attrs[attribute] = said
        if kind == "dims" and name in file and other in file and file[name].ndim:
            for scale in list(file[name].dims[0].values()):
                file[name].dims[0].detach_scale(scale)
            file[other].make_scale(other)
            file[name].dims[0].attach_scale(file[other])

    return f"{kind} {name} {attribute}", change


def apply(trace: Path, files: list[tuple[str, tuple[str, Change]]]) -> None:
    for file, (_, change) in files:
        try:
            with h5py.File(trace / file, "a") as inside:
                change(inside)
        except (ValueError, TypeError, OSError, KeyError, RuntimeError, UnicodeError):
            continue  # HDF5 itself doesn't hold this


STORED = ["margin", "generation", "answer_label", "item", "step", "epoch", "checkpoint", "item_question",
          "role", "layer", "item_context_answer", "item_context_aliases", "item_parametric_answer",
          "item_parametric_aliases", "loss", "counterfactual_accuracy", "attention_mass", "gradient_norm",
          "group", "benchmark", "task", "known_item"]  # fmt: skip


@fuzz(40)
@given(st.lists(st.tuples(st.sampled_from(FILES), changes(STORED)), min_size=1, max_size=3))
def test_any_change_to_a_small_trace(whole, files):
    trace = copied(whole, "small")
    apply(trace, files)
    read_all(trace, ["margin", "labels", "inversion"])
    result_or_error(rescore, trace)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@fuzz(10)
@given(st.data())
def test_any_change_to_a_whole_trace(real, data):
    trace = copied(real, "changed")
    with h5py.File(real / "step-00000002.nc") as step, h5py.File(real / "inputs.nc") as inputs:
        names = sorted({*step, *inputs})
    files = st.sampled_from(["inputs.nc", "step-00000000.nc", "step-00000002.nc", "step-00000004.nc"])
    apply(trace, data.draw(st.lists(st.tuples(files, changes(names)), min_size=1, max_size=2)))
    read_all(trace, [name for name, kind in FIGURES.items() if kind.of == "trace"])


NAMES = st.sampled_from(
    ["inputs.nc", "summary.nc", "failures.json", "step-00000000.nc", "step-0.nc", "step-00000007.nc",
          "step-99999999999.nc", "step-٠٠٠٠٠٠٠١.nc", ".inputs.nc.1.tmp", ".cells.lock", "patch.nc", "x"]
)  # fmt: skip


@fuzz(40)
@given(st.dictionaries(NAMES, st.sampled_from(FILES) | st.binary(max_size=200) | st.none(), max_size=5), st.booleans())
def test_any_files_under_the_names_of_a_trace(whole, entries, beside):
    trace = copied(whole, "named") if beside else whole.with_name("named")
    if not beside:
        shutil.rmtree(trace, ignore_errors=True)
        trace.mkdir()
    for name, content in entries.items():
        place = trace / name
        if place.is_dir():
            continue
        place.unlink(missing_ok=True)
        if content is None:
            place.mkdir()
        else:
            place.write_bytes((whole / content).read_bytes() if isinstance(content, str) else content)
    read_all(trace, ["margin"])
    for kind in ("patch", "graft"):
        result_or_error(attnshift.open_result, trace, kind)
        result_or_error(plot, trace, kind)


@fuzz(30)
@given(st.sampled_from(FILES), st.floats(0, 1))
def test_a_file_that_was_cut_off(whole, name, part):
    trace = copied(whole, "cut")
    content = (trace / name).read_bytes()
    (trace / name).write_bytes(content[: int(part * len(content))])
    read_all(trace, ["margin"])
