"""Results made elsewhere become a trace: for statistics and figures without a model."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from attnshift.data.items import Item, normalise
from attnshift.errors import AttnshiftError
from attnshift.measures.catalogue import FROM_TEXT, MEASURES
from attnshift.measures.label import AnswerLabel
from attnshift.measures.margin import Margin
from attnshift.measures.measure import Answers, Measure, Observation, by_name
from attnshift.tracing.dataset import open_trace
from attnshift.tracing.results import MEASURED, OF_ITEM, TEXTS, Result, load_results
from attnshift.tracing.schema import storable
from attnshift.tracing.store import Header, Store

_KEY = "ingested"
"""Stands in the keys of numbers that were made elsewhere, where a measure's version would."""
_ANSWERS = ("context_answer", "parametric_answer")


def ingest(
    paths: Sequence[str | Path],
    out: str | Path,
    *,
    items: Sequence[Item] | None = None,
    mapping: Mapping[str, str] | None = None,
) -> xr.Dataset:
    """Make a trace of results per step and item that were made elsewhere; returns it.

    What a file doesn't have is missing (NaN, an empty text, no variable), never invented. From generations and answers
    the label and the two accuracies follow, and from both log-probabilities the margin, where no row states them.

    Parameters
    ----------
    paths
        Files in json, jsonl or csv with a row per step and item, as `load_results` reads them.
    out
        Directory of the trace; it must hold none yet.
    items
        What the items ask and answer, where the results don't say it themselves.
    mapping
        For columns of other names.

    Raises
    ------
    AttnshiftError
        For every defect: a row without step or item, a value that can't be, an item twice at a step, or told in two
        ways, or unknown among ``items``; a trace that is there already.
    """
    results = load_results(paths, mapping)
    about = _about_items(results, items)
    store = Store(Path(out))
    store.prepare()
    _refuse_existing(store)
    names = [name for name in MEASURED if any(name in result.measured for result in results)]
    for step in sorted({result.step for result in results}):
        rows = {result.item: result for result in results if result.step == step}
        cell = _cell(step, rows, about, names)
        digest = _digest(list(rows.values()))
        keys = {str(name): str(variable.attrs["key"]) for name, variable in cell.data_vars.items()}
        store.write_cell(step, cell, Header(digest, {"ingested": digest}, keys))
    store.write_inputs(_inputs(about, paths, results))  # the last, since without them it is no trace yet
    return open_trace(out)


def _refuse_existing(store: Store) -> None:
    """Raise where there is a trace already; steps that an ingestion left which was killed are removed."""
    headers = [store.read_header(step) for step in store.steps()]
    if store.stated() or any(header is None or "ingested" not in header.recipe for header in headers):
        raise AttnshiftError(
            f"there is a trace in {str(store.path)!r} already", remedy="name another directory with -o"
        )
    for step in store.steps():
        store.file(step).unlink()


def _about_items(results: Sequence[Result], items: Sequence[Item] | None) -> dict[str, dict[str, Any]]:
    """What is known of every item, in the order in which they come."""
    about: dict[str, dict[str, Any]] = {}
    if items is not None:
        about = {item.id: {name: getattr(item, name) for name in OF_ITEM if name != "known_item"} for item in items}
    told: dict[tuple[str, str], Result] = {}
    for result in results:
        if items is not None and result.item not in about:
            raise AttnshiftError(
                f"{result.place}: the item {result.item!r} is not among the conflict items",
                expected="results of the items that --conflicts names",
                remedy="name their file, or make the ids the same",
            )
        here = about.setdefault(result.item, {})
        for name, value in result.about.items():
            if here.get(name, value) != value:
                earlier = told[result.item, name].place if (result.item, name) in told else "the conflict items"
                raise AttnshiftError(
                    f"{result.place}: {name} of the item {result.item!r} is {value!r}, and {here[name]!r} in {earlier}",
                    expected="the same of an item wherever it is told",
                    remedy="give different items ids of their own",
                )
            here[name] = value
            told.setdefault((result.item, name), result)
    return about


def _inputs(
    about: Mapping[str, Mapping[str, Any]], paths: Sequence[str | Path], results: Sequence[Result]
) -> xr.Dataset:
    """What is known of the items, and where it comes from. Fields that no item has are left out."""
    rows = list(about.values())
    has = {name for row in rows for name, value in row.items() if value not in ("", ())}
    variables: dict[str, Any] = {}
    for name in ("context", "question", *_ANSWERS):
        if name in has:
            variables[f"item_{name}"] = ("item", _texts(row.get(name, "") for row in rows), _given("text", name))
    if set(_ANSWERS) <= has:
        for name in ("context_aliases", "parametric_aliases"):
            lists = (json.dumps(list(row.get(name, ())), ensure_ascii=False) for row in rows)
            variables[f"item_{name}"] = ("item", _texts(lists), _given("text", f"a JSON list: {name}"))
    if "known_item" in has:
        known = np.array([float(row["known_item"]) if "known_item" in row else np.nan for row in rows])
        variables["known_item"] = ("item", known, _given("0/1", "whether the item is known, as the files say"))
    clusters = [row.get("cluster") or normalise(str(row.get("question", ""))) or name for name, row in about.items()]
    coordinates: dict[str, Any] = {"item": list(about), "item_cluster": ("item", _texts(clusters))}
    for name in ("stratum", "conflict_type"):
        coordinates[f"item_{name}"] = ("item", _texts(row.get(name, "") for row in rows))
    attributes = {
        "attnshift_version": version("attnshift"),
        "run": "",
        "recipe": json.dumps({"ingested": _digest(results)}),
        "ingested_from": json.dumps([str(path) for path in paths]),
        "grouping": "",
        "dropped": "[]",
        "notes": "[]",
    }
    return xr.Dataset(variables, coordinates, attributes)


def _cell(
    step: int, rows: Mapping[str, Result], about: Mapping[str, Mapping[str, Any]], names: Sequence[str]
) -> xr.Dataset:
    """One step: what its rows state, and what follows from it."""
    measures = by_name(MEASURES)
    values: dict[str, np.ndarray] = {}
    for name in names:
        missing: str | float = "" if name in TEXTS else np.nan
        stated = [rows[item].measured.get(name, missing) if item in rows else missing for item in about]
        values[name] = _texts(map(str, stated)) if name in TEXTS else np.array(stated, np.float64)
    variables = {name: _variable(measures[name], value, f"{name}/{_KEY}") for name, value in values.items()}
    followed = {} if "generation" not in names else _from_texts(rows, about, [n for n in names if n != "generation"])
    variables |= {name: _variable(measures[name], value, measures[name].key) for name, value in followed.items()}
    pair = ("logprob_context_answer", "logprob_parametric_answer")
    if "margin" not in names and set(pair) <= set(names):
        variables["margin"] = _variable(measures["margin"], values[pair[0]] - values[pair[1]], Margin().key)
    epochs = {result.epoch for result in rows.values() if not np.isnan(result.epoch)}
    origin = {
        "attnshift_version": version("attnshift"),
        "step": step,
        "epoch": epochs.pop() if len(epochs) == 1 else float("nan"),
        "checkpoint": next(iter(rows.values())).place.rpartition(", row ")[0],
        "dtype": "",
    }
    return xr.Dataset(variables, {"item": list(about)}, origin)


def _from_texts(
    rows: Mapping[str, Result], about: Mapping[str, Mapping[str, Any]], stated: Sequence[str]
) -> dict[str, np.ndarray]:
    """Labels and accuracies of the generations whose answers are known, where no row states them."""
    usable = [i for i in rows if "generation" in rows[i].measured and all(about[i].get(name) for name in _ANSWERS)]
    if not usable:
        return {}
    answers = [
        Answers(
            *((about[i][f"{side}_answer"], *about[i].get(f"{side}_aliases", ())) for side in ("context", "parametric"))
        )
        for i in usable
    ]
    seen = Observation(answers, generation=[str(rows[i].measured["generation"]) for i in usable])
    place = {item: position for position, item in enumerate(about)}
    found = {}
    for measure in FROM_TEXT:
        if measure.name not in stated:
            part = measure.compute(seen)
            label = measure.name == AnswerLabel.name
            whole = np.full(len(about), "" if label else np.nan, object if label else np.float64)
            whole[[place[i] for i in usable]] = part
            found[measure.name] = whole
    return found


def _variable(measure: Measure, values: np.ndarray, key: str) -> xr.Variable:
    return xr.Variable("item", values, {"unit": measure.unit, "measure": measure.meaning, "key": key})


def _given(unit: str, meaning: str) -> dict[str, str]:
    return {"unit": unit, "measure": meaning.replace("_", " "), "key": f"input/{_KEY}"}


def _texts(texts: Any) -> np.ndarray:
    return np.array([storable(str(text)) for text in texts], object)


def _digest(results: Sequence[Result]) -> str:
    told = [[result.step, result.item, dict(result.measured), str(result.about)] for result in results]
    return hashlib.blake2b(json.dumps(told, sort_keys=True).encode(), digest_size=16).hexdigest()
