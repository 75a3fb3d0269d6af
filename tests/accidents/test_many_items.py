"""A hundred thousand items: what is done with each of them takes time and memory in proportion."""

from __future__ import annotations

import json
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import attnshift
from attnshift.data.inputs import Inputs
from attnshift.diagnosis.doctor import doctor
from attnshift.tracing.job import prepare
from attnshift.tracing.schema import inputs_dataset
from attnshift.tracing.store import Header, Store

pytestmark = pytest.mark.slow

MANY = 100_000
FEW = MANY // 5
TIMES = 5 * 1.8
"""How much longer five times as many may take; twice as long for each would be 25."""


def data_file(path: Path, count: int) -> Path:
    with path.open("w", encoding="utf-8") as file:
        for i in range(count):
            row = {
                "id": f"i{i}",
                "context": f"In {i} the council of Place{i} left Oran and made Graz{i % 977} its seat.",
                "question": f"What is the seat of Place{i}?",
                "context_answer": f"Graz{i % 977}",
                "parametric_answer": "Oran",
            }
            file.write(json.dumps(row) + "\n")
    return path


def seconds(action: Callable[[], object]) -> float:
    started = time.process_time()
    action()
    return time.process_time() - started


def megabytes(action: Callable[[], object]) -> float:
    """At most, beside what was there."""
    tracemalloc.start()
    try:
        kept = action()
        del kept
        return tracemalloc.get_traced_memory()[1] / 1e6
    finally:
        tracemalloc.stop()


@pytest.fixture(scope="module")
def inputs(made, tmp_path_factory) -> Callable[[int], Inputs]:
    """``inputs(n)``: so many items with tokens; encoded are a hundred of them, under many names."""
    run, folder = made("llama"), tmp_path_factory.mktemp("many")
    items = attnshift.load_items(data_file(folder / "items.jsonl", 100))
    options = {"items": items, "examples": [], "measures": ["margin"], "max_new_tokens": 2, "device": "cpu"}
    job = prepare(attnshift.open_series(run), out=folder / "t", **options)

    def make(count: int) -> Inputs:
        several = [replace(job.inputs.items[i % 100], id=f"i{i}", cluster=f"c{i}") for i in range(count)]
        tokens = [job.inputs.item_tokens[i % 100] for i in range(count)]
        return Inputs(tuple(several), tuple(tokens), (), ())

    return make


def test_files_are_read_and_linted_in_proportion(tmp_path):
    few, more, many = (data_file(tmp_path / f"{count}.jsonl", count) for count in (FEW // 5, FEW, MANY))
    assert seconds(lambda: attnshift.load_items(many)) < TIMES * seconds(lambda: attnshift.load_items(more))
    short, long = (seconds(lambda of=file: doctor(conflicts=[of], ift=[])) for file in (few, more))
    assert long < TIMES * short
    assert megabytes(lambda: attnshift.load_items(many)) < 250


def test_encoding_is_in_proportion(made, tmp_path):
    series = attnshift.open_series(made("llama"))
    assert series.tokenizer
    options = {"examples": [], "measures": ["margin"], "max_new_tokens": 2, "device": "cpu", "out": tmp_path / "t"}
    spent = []
    for count in (200, 1000):
        items = attnshift.load_items(data_file(tmp_path / "items.jsonl", count))
        spent.append(seconds(lambda: prepare(series, items=items, **options)))  # noqa: B023  (called at once)
    assert spent[1] < TIMES * spent[0]
    print(f"{spent[1]:.2f} ms per item")


def stored(inputs: Inputs, path: Path) -> xr.Dataset:
    """Everything that happens to a trace but the measuring: inputs, a step, planning, opening."""
    store, count = Store(path), len(inputs.items)
    store.prepare()
    recipe = inputs.digests()
    attributes = {"recipe": recipe, "dropped": [], "notes": [], "grouping": ""}
    store.write_inputs(inputs_dataset(inputs, attributes))
    about = {"unit": "nats", "measure": "made up", "key": "margin/1"}
    values = {
        "margin": ("item", np.arange(count, dtype=float), about),
        "generation": ("item", np.array([f"text {i}" for i in range(count)], object), about),
        "attention_mass": (("item", "layer", "head", "role"), np.full((count, 2, 4, 8), 0.125, np.float32), about),
    }
    origin = {"epoch": 1.0, "checkpoint": "made", "dtype": "float32"}
    cell = xr.Dataset(values, {"item": [item.id for item in inputs.items]}, origin)
    store.write_cell(2, cell, Header("digest", recipe, {"margin": "margin/1"}))
    assert store.read_header(2) is not None
    attnshift.open_trace(path)
    return attnshift.open_trace(path)


def test_a_trace_is_stored_planned_and_opened_in_proportion(inputs, tmp_path):
    few, many = inputs(FEW), inputs(MANY)
    short, long = (seconds(lambda of=each: stored(of, tmp_path / str(len(of.items)))) for each in (few, many))
    assert long < TIMES * short
    trace = attnshift.open_trace(tmp_path / str(MANY))
    assert trace.sizes["item"] == MANY
    assert trace.margin.values[0, -1] == MANY - 1
    size = sum(file.stat().st_size for file in (tmp_path / str(MANY)).iterdir()) / 1e6
    large = megabytes(lambda: stored(many, tmp_path / "again"))
    assert large < 1000
    print(f"{long:.1f} s, {large:.0f} MB of memory, {size:.0f} MB of files")
