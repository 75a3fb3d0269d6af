"""Figures beyond the first three: the numbers they draw, and that what they draw stays as it is."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from made_traces import made_trace, with_everything

from attnshift.data.roles import CONTEXT_ROLES
from attnshift.errors import AttnshiftError
from attnshift.figures.plot import FIGURES, plot
from attnshift.figures.quartiles import known_quarters
from attnshift.stats.flips import flips

GOLDEN = Path(__file__).parent / "golden"
NAMES = (
    "inversion", "losses", "gradients", "margin", "labels", "attention", "attention_layers", "attention_heads", "push",
    "cosine", "parts", "quartiles", "benchmark", "heldout",
)  # fmt: skip


@pytest.fixture(scope="module")
def trace() -> xr.Dataset:
    return with_everything(made_trace(steps=(0, 10, 50, 200, 800), items=12, seed=6), gap=True)


def drawn(trace: xr.Dataset, name: str, **options) -> dict:
    return json.loads(plot(trace, name, **options).to_json())


def curves(figure: dict, kind: str = "line") -> dict[str, list]:
    return {curve["name"]: curve["y"] for curve in figure["data"] if curve["meta"] == kind}


def heats(figure: dict) -> list[np.ndarray]:
    return [np.array(one["z"], float) for one in figure["data"] if one["type"] == "heatmap"]


def context_mass(trace: xr.Dataset) -> xr.DataArray:
    return trace["attention_mass"].astype(float).sel(role=list(CONTEXT_ROLES)).sum("role")


def test_attention_is_the_mean_over_layers_heads_and_items_and_what_length_does_not_explain(trace):
    found = curves(drawn(trace, "attention"))
    np.testing.assert_allclose(found["context mass"], context_mass(trace).mean(("item", "layer", "head")))
    excess = trace["context_mass_excess"].mean(("item", "layer", "head"))
    np.testing.assert_allclose(found["context mass beyond its share"], excess)
    assert list(curves(drawn(trace.drop_vars("context_mass_excess"), "attention"))) == ["context mass", "question mass"]


def test_maps_of_layers_and_heads_hold_means_over_items(trace):
    (by_layer,) = heats(drawn(trace, "attention_layers"))
    np.testing.assert_allclose(by_layer, context_mass(trace).mean(("item", "head")).transpose("layer", "step"))
    by_head = heats(drawn(trace, "attention_heads"))
    np.testing.assert_allclose(by_head, context_mass(trace).mean("item").transpose("step", "layer", "head"))


def test_a_map_stands_at_the_step_asked_for(trace):
    figure = drawn(trace, "attention_heads", step=50)
    assert [one["visible"] for one in figure["data"]] == [False, False, True, False, False]
    with pytest.raises(AttnshiftError, match="no map of step 7"):
        plot(trace, "attention_heads", step=7)


def test_pushes_are_weighted_by_share_and_add_up(trace):
    figure = drawn(trace, "push")
    upper = [one for one in figure["data"] if one["meta"] == "line" and one["yaxis"] == "y"]
    margin = {one["name"]: np.array(one["y"]) for one in upper}
    weighted = trace["margin_push"] * trace["group_share"]
    for group in ("critical", "non_critical", "no_context"):
        np.testing.assert_allclose(margin[group], weighted.sel(group=group))
    np.testing.assert_allclose(margin["all"], weighted.sum("group"))
    assert "yaxis2" in figure["layout"]
    assert "yaxis2" not in drawn(trace.drop_vars("attention_push"), "push")["layout"]


def test_the_cosine_passes_over_steps_without_one(trace):
    (values,) = curves(drawn(trace, "cosine")).values()
    np.testing.assert_allclose(values, trace["gradient_cosine"].values[[0, 1, 2, 4]])


@pytest.mark.parametrize("group", ["critical", "non_critical"])
def test_parts_of_a_gradient_sum_to_the_whole(trace, group):
    figure = drawn(trace, "parts", group=group)
    for index, shares in enumerate(heats(figure)):
        assert np.nansum(shares) == pytest.approx(100)
        squares = trace["gradient_norm_by_part"].sel(group=group).isel(step=index).values ** 2
        rows, columns = figure["data"][index]["y"], figure["data"][index]["x"]
        assert shares[rows.index("1"), columns.index("mlp")] == pytest.approx(100 * squares[4] / squares.sum())
    with pytest.raises(AttnshiftError, match="no group 'mine'"):
        plot(trace, "parts", group="mine")


def test_quarters_rank_training_examples_with_context_by_what_was_known(trace):
    quarter = known_quarters(trace)
    chosen = (trace["split"] == "train").values & (trace["group_of_example"] != "no_context").values
    assert (quarter[~chosen] == -1).all()
    assert np.bincount(quarter[chosen]).tolist() == [3, 2, 3, 2]
    first = trace["loss_closed_book"].values[0]
    assert max(first[quarter == 0]) <= min(first[quarter == 1])
    found = drawn(trace, "quartiles")["data"]
    best = [one["y"] for one in found if one["name"] == "best known quarter"]
    np.testing.assert_allclose(best[0], trace["loss"].values[:, quarter == 0].mean(-1))
    np.testing.assert_allclose(best[1], trace["loss_closed_book"].values[:, quarter == 0].mean(-1))
    with pytest.raises(AttnshiftError, match="0 training examples"):
        plot(trace.assign(loss_closed_book=trace["loss_closed_book"] * np.nan), "quartiles")


def test_labels_show_every_item_at_every_step_once_and_count_the_flips(trace):
    figure = drawn(trace, "labels")
    shown = {one["name"]: one for one in figure["data"] if one["type"] == "heatmap"}
    filled = {name: np.array(one["z"], float) == 1 for name, one in shown.items()}
    assert (sum(cells.astype(int) for cells in filled.values()) == 1).all()
    items = shown["context"]["y"]
    context, memory = trace["counterfactual_accuracy"] == 1, trace["parametric_accuracy"] == 1
    np.testing.assert_array_equal(filled["context"], (context & ~memory).sel(item=items).transpose("item", "step"))
    assert np.all(np.diff(filled["context"].mean(1)) >= 0)
    peak = trace["counterfactual_accuracy"].mean("item").idxmax("step").item()
    assert 0 < peak < 800
    told = flips(trace, peak, 800)
    assert f"{len(told.to_memory)} items flip from context to memory" in figure["layout"]["title"]["text"]


def test_reliance_lies_over_the_benchmarks_that_every_step_knows(trace):
    for name, x in (
        ("benchmark", trace["benchmark"].mean("task").values[[0, 1, 2, 4]]),
        ("heldout", 100 * trace["exact_match"].values[:, (trace["split"] == "heldout").values].mean(-1)),
    ):
        path = next(one for one in drawn(trace, name)["data"] if one["meta"] == "path")
        np.testing.assert_allclose(path["x"], x)
        assert (path["text"][0], path["text"][-1], path["customdata"][0]) == ("0", "800", 0)
    holed = trace.assign(benchmark=trace["benchmark"].where(trace["task"] != "arc", np.nan))
    np.testing.assert_allclose(drawn(holed, "benchmark")["data"][-1]["x"], trace["benchmark"].values[[0, 1, 2, 4], 1])
    with pytest.raises(AttnshiftError, match="known at 0 steps"):
        plot(trace.assign(benchmark=trace["benchmark"] * np.nan), "benchmark")


@pytest.mark.parametrize("name", ["theory", "theory_phases"])
def test_the_theory_is_drawn_of_nothing(name):
    assert FIGURES[name].of == "nothing"
    assert plot(None, name).data


@pytest.mark.parametrize("name", ["theory_phases", "labels"])
@pytest.mark.parametrize("width", ["screen", "one"])
def test_legends_lie_above_the_titles_of_panels(trace, name, width):
    layout = plot(None if name == "theory_phases" else trace, name, width=width).layout
    inner = layout.height - layout.margin.t - layout.margin.b
    titles = [note for note in layout.annotations if note.yanchor == "bottom"]
    assert inner * (layout.legend.y - 1) >= (15 if titles else 0)


@pytest.mark.parametrize("name", NAMES)
def test_figures_stay_as_they_are(trace, name):
    """Everything a figure says, against what it said when it was last looked at (ATTNSHIFT_GOLDEN=write renews it)."""
    found, file = drawn(trace, name), GOLDEN / f"{name}.json"
    found["layout"].pop("template")
    if os.environ.get("ATTNSHIFT_GOLDEN") == "write":
        file.write_text(json.dumps(_rounded(found), separators=(",", ":"), ensure_ascii=False) + "\n", encoding="utf-8")
    _same(found, json.loads(file.read_text(encoding="utf-8")), name)


def _rounded(value):
    if isinstance(value, dict):
        return {key: _rounded(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_rounded(inner) for inner in value]
    return float(f"{value:.7g}") if isinstance(value, float) else value


def _same(found, expected, where: str) -> None:
    if isinstance(expected, dict):
        assert set(found) == set(expected), where
        for key in expected:
            _same(found[key], expected[key], f"{where}.{key}")
    elif isinstance(expected, list):
        assert len(found) == len(expected), where
        for index, (one, other) in enumerate(zip(found, expected, strict=True)):
            _same(one, other, f"{where}[{index}]")
    elif isinstance(expected, float) or isinstance(found, float):
        assert math.isclose(found, expected, rel_tol=1e-5, abs_tol=1e-9), f"{where}: {found} is not {expected}"
    elif isinstance(expected, str):
        assert found.split() == expected.split(), where
    else:
        assert found == expected, where
