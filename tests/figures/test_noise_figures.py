"""Checkpoint noise in figures: as wide as the statistics say, within what is possible, named once."""

import json
from itertools import pairwise

import numpy as np
import pytest
import xarray as xr
from made_traces import made_trace, with_everything

from attnshift.data.roles import CONTEXT_ROLES
from attnshift.figures.noise import noise_points
from attnshift.figures.plot import FIGURES, plot
from attnshift.stats.items import ItemSeries, item_clusters, item_series
from attnshift.stats.noise import checkpoint_noise

JUDGED = ("inversion", "attention", "margin", "benchmark", "heldout")
OVER_STEPS = JUDGED[:3]


@pytest.fixture(scope="module")
def trace() -> xr.Dataset:
    return with_everything(made_trace(items=60, clusters=30))


def drawn(trace: xr.Dataset, name: str, **options) -> dict:
    return json.loads(plot(trace, name, **options).to_json())


def noises(figure: dict) -> list[dict]:
    return [curve for curve in figure["data"] if curve["meta"] == "noise"]


def curves(figure: dict) -> dict[str, dict]:
    return {curve["name"]: curve for curve in figure["data"] if curve["meta"] == "line"}


def half_widths(trace: xr.Dataset, name: str) -> list[float]:
    """By the statistics: of every curve that is judged, panel by panel."""
    if name == "margin":
        return [checkpoint_noise(item_series(trace, "margin")).band]
    mass = trace["attention_mass"].astype(float).sel(role=list(CONTEXT_ROLES)).sum("role").mean(("layer", "head"))
    excess = trace["context_mass_excess"].mean(("layer", "head"))
    of_items = [
        checkpoint_noise(ItemSeries("", "", trace.step.values, trace.item.values, values.values, item_clusters(trace)))
        for values in (mass, excess)
    ]
    masses = [one.band for one in of_items]
    return masses if name == "attention" else [checkpoint_noise(item_series(trace)).band, masses[0]]


@pytest.mark.parametrize("log_steps", [False, True])
@pytest.mark.parametrize("name", OVER_STEPS)
def test_the_band_is_as_wide_as_the_statistics_say(trace, name, log_steps):
    figure = drawn(trace, name, log_steps=log_steps)
    found = noises(figure)
    limit = {"inversion": [(0, 100), (0, 1)], "attention": [(0, 1), (-1, 1)], "margin": [(-np.inf, np.inf)]}[name]
    assert len(found) == len(limit)
    for band, half, bounds in zip(found, half_widths(trace, name), limit, strict=True):
        steps, y, low, high = np.array(band["customdata"]).T
        np.testing.assert_array_equal(steps, trace["step"])
        np.testing.assert_allclose(low, np.clip(y - half, *bounds))
        np.testing.assert_allclose(high, np.clip(y + half, *bounds))
        (line,) = [one for one in curves(figure).values() if one["y"] == y.tolist()]
        assert band["x"] == [*line["x"], None, *line["x"]]
        assert band["y"] == [*low, None, *high]
        assert band["line"]["color"] == line["line"]["color"]
        assert all(f"± {half:.3g}" in text for text in line["hovertext"])


@pytest.mark.parametrize("width", ["screen", "one"])
@pytest.mark.parametrize("name", JUDGED)
def test_it_is_faint_dotted_and_named_once(trace, name, width):
    figure = drawn(trace, name, width=width)
    found = noises(figure)
    assert [band["name"] for band in found if band["showlegend"]] == ["checkpoint noise (95 %)"]
    assert all(band["opacity"] < 1 and "px" in band["line"]["dash"] and "fill" not in band for band in found)
    assert all(band["legendrank"] > 1000 for band in found)
    assert "checkpoint noise" in " ".join((FIGURES[name].draw.__doc__ or "").split())


@pytest.mark.parametrize("name", OVER_STEPS)
def test_the_line_under_the_title_says_what_is_dotted_where_something_is(trace, name):
    few = with_everything(made_trace(steps=(0, 50, 800)))
    for which, told in ((trace, True), (few, False)):
        text = drawn(which, name)["layout"]["title"]["text"]
        assert "shaded: 95 % interval over items" in text
        assert ("dotted: how far checkpoints jump" in text) == told


def test_figures_without_a_judged_curve_have_none(trace):
    for name in ("losses", "gradients", "push", "cosine", "quartiles"):
        assert not noises(drawn(trace, name))


@pytest.mark.parametrize("name", JUDGED)
def test_three_checkpoints_tell_no_noise_and_four_do(name):
    for steps, there in (((0, 50, 800), False), ((0, 50, 200, 800), True)):
        assert bool(noises(drawn(with_everything(made_trace(steps=steps)), name))) == there


def test_steps_without_a_number_are_not_counted(trace):
    holed = trace.copy()
    holed["margin"] = trace["margin"].where(trace["step"].isin([0, 50, 800]))
    assert not noises(drawn(holed, "margin"))


def test_percentages_and_probabilities_end_where_they_can(trace):
    extreme = trace.copy()
    swing = np.where(np.arange(trace.sizes["step"]) % 2, 0.97, 0.05)[:, None] > np.linspace(0, 1, trace.sizes["item"])
    extreme["counterfactual_accuracy"] = (("step", "item"), swing.astype(float))
    for name in ("inversion", "heldout"):
        _, y, low, high = np.array(noises(drawn(extreme, name))[0]["customdata"]).T
        assert (low == 0).any()
        assert (high == 100).any()
        assert ((low <= y) & (y <= high)).all()
    assert drawn(extreme, "inversion")["layout"]["yaxis"]["rangemode"] == "tozero"
    edges = noise_points(np.zeros(2), np.array([0.1, 0.9]), 0.2, (0, 1))[:, 2:]
    np.testing.assert_allclose(edges, [[0, 0.3], [0.7, 1]])


def test_the_axis_of_margins_shows_the_whole_band(trace):
    jumping = trace.copy()
    jumping["margin"] = trace["margin"] + 40 * (np.arange(trace.sizes["step"]) % 2)[:, None]
    figure = drawn(jumping, "margin")
    _, _, low, high = np.array(noises(figure)[0]["customdata"]).T
    assert figure["layout"]["yaxis"]["range"][0] < low.min()
    assert figure["layout"]["yaxis"]["range"][1] > high.max()


def test_it_lies_around_the_smoothed_line(trace):
    figure = drawn(trace, "margin", smooth=3)
    _, y, low, high = np.array(noises(figure)[0]["customdata"]).T
    np.testing.assert_allclose(y, curves(figure)["mean"]["y"])
    np.testing.assert_allclose((high - low) / 2, half_widths(trace, "margin")[0])


@pytest.mark.parametrize("name", ["benchmark", "heldout"])
def test_against_benchmarks_it_stands_at_the_highest_point_and_the_last(trace, name):
    figure = drawn(trace, name)
    (band,) = noises(figure)
    path = next(one for one in figure["data"] if one["name"] == "counterfactual accuracy")
    x, y, low, high = np.array(band["customdata"]).T
    highest = int(np.argmax(path["y"]))
    assert 0 < highest < 7
    np.testing.assert_allclose((x, y), np.array([path["x"], path["y"]])[:, [highest, 7]])
    half = checkpoint_noise(item_series(trace)).band
    np.testing.assert_allclose((low, high), (np.clip(y - half, 0, 100), np.clip(y + half, 0, 100)))
    pieces = [band["x"][3 * at : 3 * at + 2] for at in range(2)]
    assert all(left == right for left, right in pieces)
    assert {a == b for a, b in pairwise(sorted(x))} == {False}
