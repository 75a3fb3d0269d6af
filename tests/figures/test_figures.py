"""Figures draw the numbers of the trace: their JSON is read, not their pixels."""

import json
import subprocess
import sys

import numpy as np
import pytest
import xarray as xr
from made_traces import made_trace, with_everything

from attnshift.data.roles import CONTEXT_ROLES, KEY_ROLES
from attnshift.errors import AttnshiftError
from attnshift.figures.arms import arms
from attnshift.figures.heatmaps import Heat, heat_maps
from attnshift.figures.phases import phase_marks
from attnshift.figures.plot import FIGURES, list_figures, plot
from attnshift.figures.theme import COLOURS
from attnshift.figures.ticks import decade_ticks, step_ticks
from attnshift.stats.intervals import cluster_mean_interval, cluster_wilson, wilson

ELSEWHERE = (
    "forecast", "attribution", "lens", "lookback", "retrieval", "external_context", "parametric_knowledge",
    "mass_against_effect",
)  # fmt: skip
OF_A_TRACE = [name for name, kind in FIGURES.items() if kind.of == "trace" and name not in ELSEWHERE]
"""Those whose numbers a made-up trace has; others have tests of their own."""
OVER_STEPS = [name for name in OF_A_TRACE if "log_steps" in FIGURES[name].options]
EVERY = pytest.mark.parametrize("name", OF_A_TRACE)
EVERY_OVER_STEPS = pytest.mark.parametrize("name", OVER_STEPS)


@pytest.fixture(scope="module")
def trace() -> xr.Dataset:
    return with_everything(made_trace())


def drawn(trace: xr.Dataset, name: str, **options) -> dict:
    return json.loads(plot(trace, name, **options).to_json())


def lines(figure: dict) -> dict[str, dict]:
    """By the name in the legend; panels below repeat some of them."""
    legend = [curve for curve in figure["data"] if curve["meta"] == "line" and curve.get("showlegend", True)]
    assert {curve["name"] for curve in figure["data"] if curve["meta"] == "line"} == {curve["name"] for curve in legend}
    return {curve["name"]: curve for curve in legend}


def bands(figure: dict) -> dict[str, tuple[list, list]]:
    """The lower and the upper edge by curve."""
    found = {}
    for curve in figure["data"]:
        if curve["meta"] == "band":
            half = len(curve["y"]) // 2
            assert curve["x"][:half] == curve["x"][half:][::-1]
            found[curve["legendgroup"]] = curve["y"][:half], curve["y"][half:][::-1]
    return found


def unmarked(figure: dict, kind: str) -> list[dict]:
    """Shapes or annotations that mark no phase."""
    return [one for one in figure["layout"][kind] if "name" not in one]


def axis_title(figure: dict, axis: str) -> str:
    return figure["layout"][axis]["title"]["text"]


# Numbers


def test_inversion_draws_percentages_with_wilson_intervals(trace):
    figure = drawn(trace, "inversion")
    for kind in ("counterfactual", "parametric"):
        hits = trace[f"{kind}_accuracy"].sum("item").values
        np.testing.assert_allclose(lines(figure)[f"{kind} accuracy"]["y"], hits / 20 * 100)
        low, high = bands(figure)[f"{kind} accuracy"]
        np.testing.assert_allclose(low, 100 * wilson(hits, 20).low)
        np.testing.assert_allclose(high, 100 * wilson(hits, 20).high)


def test_inversion_sums_attention_over_the_roles_of_the_context(trace):
    figure = drawn(trace, "inversion")
    masses = {"context mass": list(CONTEXT_ROLES), "question mass": ["question"]}
    for name, roles in masses.items():
        values = trace["attention_mass"].sel(role=roles).astype(float).sum("role").mean(("layer", "head"))
        np.testing.assert_allclose(lines(figure)[name]["y"], values.mean("item"))
        expected = cluster_mean_interval(values.values, np.arange(20))
        low, high = bands(figure)[name]
        np.testing.assert_allclose((low, high), (expected.low, expected.high))


def test_items_that_share_a_cluster_are_drawn_together():
    trace = made_trace(items=24, clusters=6)
    low, high = bands(drawn(trace, "inversion"))["counterfactual accuracy"]
    values = trace["counterfactual_accuracy"]
    expected = cluster_wilson(values.values, trace["item_cluster"].values)
    np.testing.assert_allclose((low, high), (100 * expected.low, 100 * expected.high))


def test_agreement_of_all_items_is_no_certainty():
    trace = made_trace(items=24, clusters=6)
    trace["counterfactual_accuracy"][:] = 0.0
    low, high = bands(drawn(trace, "inversion"))["counterfactual accuracy"]
    assert low == [0] * 8
    np.testing.assert_allclose(high, 100 * wilson(0, 6).high)


def test_without_clusters_every_item_is_its_own(trace):
    assert drawn(trace.drop_vars("item_cluster"), "inversion") == drawn(trace, "inversion")


def test_gradients_draws_norms_and_their_ratio(trace):
    figure = drawn(trace, "gradients")
    norms = trace["gradient_norm"]
    for group in ("critical", "non_critical", "no_context"):
        np.testing.assert_allclose(lines(figure)[group]["y"], norms.sel(group=group))
    ratio = norms.sel(group="critical") / norms.sel(group="non_critical")
    np.testing.assert_allclose(lines(figure)["critical / non_critical"]["y"], ratio)
    assert figure["layout"]["yaxis"]["type"] == figure["layout"]["yaxis2"]["type"] == "log"
    (line,) = unmarked(figure, "shapes")
    assert (line["y0"], line["y1"], line["yref"]) == (1, 1, "y2")
    low, high = figure["layout"]["yaxis"]["range"]
    assert low < np.log10(norms.min()) < np.log10(norms.max()) < high


@pytest.mark.parametrize(
    "groups", [["critical"], ["non_critical"], ["critical", "no_context"], ["mine"], ["critical", "non_critical"]]
)
def test_the_ratio_is_drawn_where_both_groups_are(trace, groups):
    some = trace.isel(group=range(len(groups))).assign_coords(group=groups)
    both = {"critical", "non_critical"} <= set(groups)
    figure = drawn(some, "gradients")
    assert list(lines(figure)) == groups + ["critical / non_critical"] * both
    assert ("yaxis2" in figure["layout"]) == both


def test_a_group_that_was_never_measured_is_left_out(trace):
    holed = trace.copy()
    holed["gradient_norm"] = trace["gradient_norm"].where(trace["group"] != "non_critical")
    assert list(lines(drawn(holed, "gradients"))) == ["critical", "no_context"]


def test_margin_draws_the_mean_and_the_middle_half_of_the_items(trace):
    figure = drawn(trace, "margin")
    values = trace["margin"].values
    np.testing.assert_allclose(lines(figure)["mean"]["y"], values.mean(1))
    for percent in (25, 75):
        np.testing.assert_allclose(lines(figure)[f"{percent} % quantile"]["y"], np.percentile(values, percent, axis=1))
    low, high = bands(figure)["mean"]
    expected = cluster_mean_interval(values, np.arange(20))
    np.testing.assert_allclose((low, high), (expected.low, expected.high))


@pytest.mark.parametrize("shift", [-30, 0, 30])
def test_the_zero_line_of_the_margin_is_labelled_and_in_sight(trace, shift):
    figure = drawn(trace.assign(margin=trace["margin"] + shift), "margin")
    (line,), (label,) = unmarked(figure, "shapes"), unmarked(figure, "annotations")
    assert line["y0"] == line["y1"] == label["y"] == 0
    assert "context preferred above" in label["text"]
    assert "memory below" in label["text"]
    low, high = figure["layout"]["yaxis"]["range"]
    assert low < min(0, *lines(figure)["25 % quantile"]["y"])
    assert high > max(0, *lines(figure)["75 % quantile"]["y"])


def test_losses_draws_means_and_weighted_parts(trace):
    figure = drawn(trace, "losses")
    train = trace["split"] == "train"
    means = {g: trace["loss"].values[:, train & (trace.group_of_example == g)].mean(-1) for g in trace.group.values}
    whole = 0.4 * means["critical"] + 0.5 * means["non_critical"] + 0.1 * means["no_context"]
    upper, lower = ([c for c in figure["data"] if c["yaxis"] == axis] for axis in ("y", "y2"))
    assert [c["name"] for c in upper] == [c["name"] for c in lower] == list(means)
    for curve in upper:
        np.testing.assert_allclose(curve["y"], means[curve["name"]])
    share = dict(zip(means, (0.4, 0.5, 0.1), strict=True))
    for curve in lower:
        np.testing.assert_allclose(curve["y"], 100 * share[curve["name"]] * means[curve["name"]] / whole)
    with pytest.raises(AttnshiftError, match="no training examples"):
        plot(trace.assign_coords(split=("example", ["heldout"] * trace.sizes["example"])), "losses")


def test_arms_are_means_over_seeds_and_items(trace):
    other = made_trace(steps=(0, 50, 800), seed=1)
    seeds = xr.concat([trace, made_trace(seed=2)], xr.IndexVariable("run", ["0", "1"]), data_vars="all")
    figure = json.loads(arms({"full": seeds, "critical": other}, log_steps=True).to_json())
    for axis, kind in (("y", "counterfactual"), ("y2", "parametric")):
        curves = {c["name"]: c for c in figure["data"] if c["yaxis"] == axis}
        np.testing.assert_allclose(curves["full"]["y"], 100 * seeds[f"{kind}_accuracy"].mean(("run", "item")))
        np.testing.assert_allclose(curves["critical"]["y"], 100 * other[f"{kind}_accuracy"].mean("item"))
        assert [step for step, *_ in curves["critical"]["customdata"]] == [0, 50, 800]
        assert curves["full"]["line"]["color"] != curves["critical"]["line"]["color"]
    with pytest.raises(AttnshiftError, match="0 arms"):
        arms({})
    with pytest.raises(AttnshiftError, match="'b' has no parametric_accuracy"):
        arms({"a": trace, "b": trace.drop_vars("parametric_accuracy")})


# Looks


UNITS = {
    "inversion": ["accuracy (% of items)", "attention mass (probability)"],
    "losses": ["loss<br>(nats per answer token)", "part of the loss<br>(% of all groups)"],
    "gradients": ["gradient norm<br>(nats per unit of parameter)", "critical / non_critical<br>(ratio of norms)"],
    "margin": ["margin (nats)"],
    "attention": ["attention mass<br>(probability)", "beyond its share of<br>the tokens (probability)"],
    "push": [
        "push on the margin<br>(nats per unit of rate)",
        "push on the attention<br>(probability per unit of rate)",
    ],
    "cosine": ["cosine"],
    "quartiles": [f"loss {kind} context<br>(nats per answer token)" for kind in ("with", "without")],
}


@pytest.mark.parametrize("name", UNITS)
def test_axes_carry_units_and_figures_a_title(trace, name):
    figure = drawn(trace, name)
    assert [axis_title(figure, f"yaxis{row or ''}") for row in (None, 2)[: len(UNITS[name])]] == UNITS[name]
    assert axis_title(figure, "xaxis2" if len(UNITS[name]) == 2 else "xaxis") == "optimizer step"
    assert len(figure["layout"]["title"]["text"].partition("<br>")[0]) < 50


@EVERY_OVER_STEPS
def test_every_line_is_in_the_legend_and_tells_step_value_and_interval(trace, name):
    for curve in lines(drawn(trace, name)).values():
        assert curve["x"] == [0, 10, 50, 100, 200, 400, 800, 1400]
        for text, (step, low, _), y in zip(curve["hovertext"], curve["customdata"], curve["y"], strict=True):
            assert f"step {step:,}" in text
            assert f"{y:.3g}" in text
            assert ("95 % interval" in text) == (low is not None)


@EVERY_OVER_STEPS
def test_bands_contain_their_lines(trace, name):
    figure = drawn(trace, name)
    for group, (low, high) in bands(figure).items():
        y = np.array(lines(figure)[group]["y"])
        assert ((low <= y) & (y <= high)).all()


def test_a_meaning_has_one_colour_everywhere(trace):
    found = {curve: line["line"]["color"] for name in OVER_STEPS for curve, line in lines(drawn(trace, name)).items()}
    assert found["counterfactual accuracy"] == found["context mass"] == COLOURS["context"]
    assert found["parametric accuracy"] == COLOURS["parametric"]
    assert [found[group] for group in trace["group"].values] == [COLOURS[group] for group in trace["group"].values]
    assert len(set(COLOURS.values())) == len(COLOURS)


# Steps


@EVERY_OVER_STEPS
def test_log_steps_have_a_place_for_step_0_and_real_labels(trace, name):
    figure = drawn(trace, name, log_steps=True)
    axis = figure["layout"]["xaxis2" if "yaxis2" in figure["layout"] else "xaxis"]
    assert axis["ticktext"] == ["0", "1", "10", "100", "1,000"]
    np.testing.assert_allclose(axis["tickvals"], np.log10([1, 2, 11, 101, 1001]))
    for curve in lines(figure).values():
        np.testing.assert_allclose(curve["x"], np.log10(trace["step"].values + 1))
        assert [step for step, *_ in curve["customdata"]] == trace["step"].values.tolist()


@pytest.mark.parametrize(
    ("steps", "ticks"),
    [
        ([0], [0]),
        ([0, 20], [0, 1, 2, 5, 10, 20]),
        ([0, 100_000], [0, 1, 10, 100, 1000, 10_000, 100_000]),
        ([500, 600, 700], [500, 600, 700]),
        ([7, 8], [7, 8]),
        ([200, 900], [200, 500]),
    ],
)
def test_step_ticks(steps, ticks):
    assert step_ticks(steps) == ticks


def test_decade_ticks_are_few_and_round():
    assert decade_ticks(0.3, 4) == [0.5, 1, 2]
    assert decade_ticks(1e-5, 1) == [1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1]
    assert decade_ticks(1e-12, 1e3) == [1e-12, 1e-9, 1e-6, 1e-3, 1, 1e3]


@EVERY_OVER_STEPS
@pytest.mark.parametrize("log_steps", [False, True])
def test_one_step_is_a_marker_with_a_bar(name, log_steps):
    figure = drawn(with_everything(made_trace(steps=(500,))), name, log_steps=log_steps)
    assert not bands(figure)
    for curve in lines(figure).values():
        assert "markers" in curve["mode"]
        ((_, low, high),), (y,) = curve["customdata"], curve["y"]
        if low is not None:
            assert curve["error_y"]["array"] == [pytest.approx(high - y)]
            assert curve["error_y"]["arrayminus"] == [pytest.approx(y - low)]
    assert figure["layout"]["xaxis"]["ticktext"] == ["500"]


@EVERY_OVER_STEPS
def test_steps_that_were_not_measured_are_passed_over(trace, name):
    kept = [0, 50, 800]
    holed = trace.copy()
    for variable in [name for name, values in trace.data_vars.items() if "step" in values.dims]:
        holed[variable] = trace[variable].where(trace["step"].isin(kept))
    whole, figure = lines(drawn(trace, name)), drawn(holed, name)
    for curve, line in lines(figure).items():
        assert line["x"] == kept
        np.testing.assert_allclose(line["y"], np.array(whole[curve]["y"])[[0, 2, 6]])


@pytest.mark.parametrize("name", [name for name in OVER_STEPS if name != "quartiles"])
def test_a_trace_of_nothing_but_nan_draws_empty_panels(trace, name):
    assert all(curve["y"] == [] for curve in drawn(trace * np.nan, name)["data"])


# Traces


def test_attention_is_read_one_step_at_a_time(trace):
    read = []

    class Watched(xr.backends.BackendArray):
        shape, dtype = trace["attention_mass"].shape, trace["attention_mass"].dtype

        def __getitem__(self, key):
            read.append(key.tuple[0])
            return trace["attention_mass"].values[key.tuple]

    lazy = xr.core.indexing.LazilyIndexedArray(Watched())
    watched = trace.assign(attention_mass=xr.Variable(trace["attention_mass"].dims, lazy))
    assert drawn(watched, "inversion") == drawn(trace, "inversion")
    assert read == list(range(8))


@pytest.mark.parametrize(
    ("name", "lost"),
    [
        ("inversion", ["attention_mass"]),
        ("inversion", ["counterfactual_accuracy", "parametric_accuracy"]),
        ("gradients", ["gradient_norm"]),
        ("margin", ["margin"]),
    ],
)
def test_a_missing_measure_is_named(trace, name, lost):
    with pytest.raises(AttnshiftError) as caught:
        plot(trace.drop_vars(lost), name)
    assert f"--measures {','.join(lost)}" in caught.value.remedy


@EVERY
def test_one_run_with_its_steps_is_asked_for(trace, name):
    runs = xr.concat([trace, trace], xr.IndexVariable("run", ["a", "b"]), data_vars="all")
    with pytest.raises(AttnshiftError, match="dims"):
        plot(runs, name)
    with pytest.raises(AttnshiftError, match="dims"):
        plot(trace.isel(step=0), name)
    assert drawn(runs.sel(run="b"), name) == drawn(trace, name)


def test_unknown_names_list_the_known():
    with pytest.raises(AttnshiftError, match="'inverison'") as caught:
        plot(made_trace(), "inverison")
    assert "inversion, losses, gradients, margin" in caught.value.expected
    with pytest.raises(AttnshiftError, match="no width 'three'") as caught:
        plot(made_trace(), "margin", width="three")
    assert "one" in caught.value.expected
    with pytest.raises(AttnshiftError, match="no option 'smoth'") as caught:
        plot(made_trace(), "margin", smoth=3)
    assert "log_steps" in caught.value.expected


def test_a_path_is_opened_as_a_trace(tmp_path):
    with pytest.raises(AttnshiftError, match="no trace"):
        plot(tmp_path, "margin")


def test_every_figure_is_described_in_a_line():
    assert list_figures().keys() == FIGURES.keys()
    assert all(text.endswith(".") and len(text) < 120 for text in list_figures().values())


def test_made_traces_have_the_roles_of_real_ones(trace):
    assert tuple(trace["role"].values) == KEY_ROLES


def test_drawing_loads_no_torch():
    code = "import sys, attnshift.figures.plot; print([m for m in ('torch', 'transformers') if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


# Smoothing, noise and phases


@pytest.mark.parametrize("window", [3, 5])
def test_a_smoothed_line_has_its_numbers_faint_behind_it(trace, window):
    plain, figure = drawn(trace, "margin"), drawn(trace, "margin", smooth=window)
    raw = {curve["name"]: curve for curve in figure["data"] if curve["meta"] == "raw"}
    for name, line in lines(figure).items():
        y = lines(plain)[name]["y"]
        assert raw[name]["y"] == y
        assert raw[name]["opacity"] < 0.5
        for index, value in enumerate(line["y"]):
            reach = min(window // 2, index, len(y) - 1 - index)
            assert value == pytest.approx(np.mean(y[index - reach : index + reach + 1]))
    bars = raw["mean"]["error_y"]
    np.testing.assert_allclose(np.array(raw["mean"]["y"]) - bars["arrayminus"], bands(plain)["mean"][0])
    assert not bands(figure)


@pytest.mark.parametrize("window", [0, 2, -3])
def test_a_window_has_a_middle(trace, window):
    with pytest.raises(AttnshiftError, match="no window"):
        plot(trace, "margin", smooth=window)


def test_the_peak_and_the_ends_of_epochs_are_marked_on_every_panel(trace):
    best = float(trace["step"][int(np.argmax(trace["counterfactual_accuracy"].mean("item").values))])
    epochs = [float("nan"), *(trace["step"].values[1:] / 500)]
    marked = trace.assign_coords(epoch=("step", epochs))
    figure = drawn(marked, "inversion", log_steps=True)
    found = {(shape["name"], shape["yref"]): 10 ** shape["x0"] - 1 for shape in figure["layout"]["shapes"]}
    places = {"peak": best, "epoch 1": 500, "epoch 2": 1000}
    expected = {(name, f"{axis} domain"): step for name, step in places.items() for axis in ("y", "y2")}
    assert found == {key: pytest.approx(step) for key, step in expected.items()}
    assert [text["text"] for text in figure["layout"]["annotations"]] == list(places)


def test_no_peak_at_an_end_and_no_epoch_that_is_not_told(trace):
    ordered = np.sort(trace["counterfactual_accuracy"].values, axis=0)
    rising = trace.assign(counterfactual_accuracy=(("step", "item"), ordered))
    assert phase_marks(rising) == ()
    assert phase_marks(trace.assign_coords(epoch=("step", [np.nan] * 8)).drop_vars("counterfactual_accuracy")) == ()


# Sizes


@EVERY
@pytest.mark.parametrize("width", ["one", "two"])
def test_a_paper_gets_the_width_of_its_columns_and_no_title(trace, name, width):
    figure = drawn(trace, name, width=width)
    layout = figure["layout"]
    assert layout["width"] == {"one": 312, "two": 648}[width]
    assert not layout.get("title", {}).get("text")
    assert layout["template"]["layout"]["font"]["size"] * 72 / 96 >= 7.5
    for key, axis in layout.items():
        if key.startswith("yaxis"):
            low, high = axis.get("domain", (0, 1))
            inner = layout["height"] - layout["margin"]["t"] - layout["margin"]["b"]
            assert (high - low) * inner > 100


@EVERY
def test_fitting_changes_no_number(trace, name):
    for screen, paper in zip(drawn(trace, name)["data"], drawn(trace, name, width="one")["data"], strict=True):
        assert {key: paper[key] for key in ("x", "y", "z") if key in paper} == {
            key: screen[key] for key in ("x", "y", "z") if key in screen
        }


def test_legends_that_wrap_have_room(trace):
    names = {f"an arm with a long name {number}": made_trace(seed=number) for number in range(6)}
    layout = json.loads(plot(names, "arms", width="one").to_json())["layout"]
    assert layout["margin"]["t"] > 6 * 1.3 * layout["template"]["layout"]["font"]["size"]


# Maps


def heat(steps=(0, 10), signed=False) -> Heat:
    values = np.arange(len(steps) * 6, dtype=float).reshape(len(steps), 2, 3) - 4
    values[0, 0, 0] = np.nan
    return Heat(values, steps, ["0", "1"], ["a", "b", "c"], "layer", "head", "what (unit)", signed)


def test_maps_share_their_colours_and_a_slider_shows_one():
    figure = json.loads(heat_maps(heat(), "Title", "below", step=0).to_json())
    assert [one["visible"] for one in figure["data"]] == [True, False]
    assert {one["coloraxis"] for one in figure["data"]} == {"coloraxis"}
    (slider,) = figure["layout"]["sliders"]
    assert slider["active"] == 0
    assert [step["args"][0]["visible"] for step in slider["steps"]] == [[True, False], [False, True]]
    colours = figure["layout"]["coloraxis"]
    assert (colours["cmin"], colours["cmax"]) == (-3, 7)
    assert colours["colorbar"]["title"]["text"] == "what (unit)"
    assert figure["data"][0]["z"][0][0] is None
    with pytest.raises(AttnshiftError, match="step 3"):
        heat_maps(heat(), "Title", "below", step=3)


def test_the_colour_of_zero_is_the_middle_of_signed_maps():
    colours = heat_maps(heat(signed=True), "Title", "below").layout.coloraxis
    assert (colours.cmin, colours.cmax) == (-7, 7)
    assert colours.colorscale[0][1] == COLOURS["parametric"]
    assert colours.colorscale[-1][1] == COLOURS["context"]


def test_one_map_needs_no_slider():
    assert not heat_maps(heat(steps=(5,)), "Title", "below").layout.sliders
