"""Small made-up traces on disk, with texts but without a model."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import xarray as xr

from attnshift.measures.generation import Generation
from attnshift.tracing.store import Header, Store

ANSWERS = (("Lyon", "Paris"), ("Graz", "Vienna"), ("Oran", "Algiers"), ("Ghent", "Brussels"))


def made_store(
    path: Path,
    texts: Mapping[int, Sequence[str] | None],
    *,
    labels: Mapping[int, Sequence[str]] | None = None,
    keys: Mapping[str, str] | None = None,
    attention: Sequence[int] = (),
) -> Store:
    """A trace of these generations, by step; ``attention`` is layers and heads of an attention mass beside them."""
    store = Store(path)
    store.prepare()
    count = len(next(text for text in texts.values() if text is not None))
    answers = [ANSWERS[i % len(ANSWERS)] for i in range(count)]
    about = {"unit": "text", "measure": "made up", "key": "input/1"}
    inputs = {
        "item_context_answer": [context for context, _ in answers],
        "item_parametric_answer": [parametric for _, parametric in answers],
        "item_context_aliases": ["[]"] * count,
        "item_parametric_aliases": [json.dumps(["Old " + parametric]) for _, parametric in answers],
        "item_question": [f"question {i}?" for i in range(count)],
    }
    items = {"item": [f"i{i}" for i in range(count)]}
    store.write_inputs(
        xr.Dataset({name: ("item", np.array(values, object), about) for name, values in inputs.items()}, items)
    )
    rng = np.random.default_rng(0)
    for step, written in texts.items():
        variables = {"margin": ("item", rng.normal(size=count), {"key": "margin/1"})}
        stated = {"margin": "margin/1"}
        if written is not None:
            variables["generation"] = ("item", np.array(written, object), {"key": Generation().key})
            stated["generation"] = Generation().key
        if labels and step in labels:
            variables["answer_label"] = ("item", np.array(labels[step], object), {"key": "answer_label/0"})
            stated["answer_label"] = "answer_label/0"
        if attention:
            mass = rng.random((count, *attention, 8)).astype(np.float32)
            variables["attention_mass"] = (("item", "layer", "head", "role"), mass, {"key": "attention_mass/1"})
        origin = {"epoch": step / 100, "checkpoint": f"run/checkpoint-{step}", "dtype": "float32"}
        store.write_cell(
            step, xr.Dataset(variables, items, origin), Header(f"digest {step}", {}, stated | dict(keys or {}))
        )
    return store
