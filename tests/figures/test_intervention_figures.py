"""Figures of patches, grafts, attribution, lens and knock-out hold the numbers of what they are drawn of."""

from __future__ import annotations

import json
import subprocess
import sys

import made_results
import numpy as np
import pytest
import xarray as xr

from attnshift.data.roles import CONTEXT_ROLES
from attnshift.errors import AttnshiftError
from attnshift.figures.plot import FIGURES, plot
from attnshift.stats.heads import by_head, mass_against_effect
from attnshift.tracing.netcdf import write_netcdf


@pytest.fixture(scope="module")
def trace() -> xr.Dataset:
    return made_results.contributions()


@pytest.fixture(scope="module")
def patched() -> xr.Dataset:
    return made_results.patched()


@pytest.fixture(scope="module")
def grafted() -> xr.Dataset:
    return made_results.grafted()


def drawn(source, name, **options):
    return json.loads(plot(source, name, **options).to_json())


def curves(figure):
    return {curve["name"]: curve for curve in figure["data"] if curve.get("meta") != "band"}


def of_kind(result, kind):
    return result.isel(graft=result.kind.values == kind)


def test_patch_draws_a_map_in_percent_per_part(patched):
    figure = drawn(patched, "patch")
    assert [one["name"] for one in figure["data"]] == ["attention", "MLP"]
    for one, part in zip(figure["data"], ("attn", "mlp"), strict=True):
        np.testing.assert_allclose(one["z"], 100 * patched.restoration.sel(part=part).values)
        assert one["x"] == ["context<br>answer", "all"]
        assert one["y"] == ["0", "1", "2"]
    assert figure["layout"]["coloraxis"]["cmax"] == -figure["layout"]["coloraxis"]["cmin"] >= 100
    assert "step 100 into step 800" in figure["layout"]["title"]["text"]
    flat = drawn(patched.isel(layer=0, drop=True), "patch")
    assert flat["data"][0]["y"] == ["all"]


def test_graft_draws_parts_and_all_but_them_with_intervals(grafted):
    figure = drawn(grafted, "graft")
    alone, without = of_kind(grafted, "part"), of_kind(grafted, "without_part")
    for curve, chosen in zip(figure["data"], (alone, alone, without, without), strict=True):
        name = {"margin": "margin", "answers": "counterfactual_accuracy"}[curve["name"]]
        np.testing.assert_allclose(curve["x"], 100 * chosen[f"restoration_{name}"])
        np.testing.assert_allclose(
            np.add(curve["x"], curve["error_x"]["array"]), 100 * chosen[f"restoration_{name}_high"]
        )
        assert curve["y"] == ["q", "embed"]


def test_graft_map_places_units(grafted):
    (heat,) = drawn(grafted, "graft_map")["data"]
    assert (heat["x"], heat["y"]) == (["q", "embed"], ["none", "0", "1"])
    units = 100 * of_kind(grafted, "unit").restoration_margin.values
    assert heat["z"] == [[None, units[2]], [units[0], None], [units[1], None]]


def test_graft_layers_and_search(grafted):
    layers = curves(drawn(grafted, "graft_layers"))
    np.testing.assert_allclose(
        layers["up to the layer"]["y"], 100 * of_kind(grafted, "first_layers").restoration_margin.values
    )
    found = curves(drawn(grafted, "graft_search"))
    assert found["margin"]["x"] == ["1. 1.q", "2. 0.q", "found"]
    np.testing.assert_allclose(found["loss"]["y"], grafted.loss_change.values[-3:])
    with pytest.raises(AttnshiftError, match="no grafts of the kind 'search'"):
        plot(grafted.isel(graft=slice(4)), "graft_search")


def test_attribution_sums_by_source(trace):
    found = curves(drawn(trace, "attribution"))
    values = trace.head_attribution.sum(["layer", "head"]).mean("item")
    context = values.sel(role=list(CONTEXT_ROLES)).sum("role")
    np.testing.assert_allclose(found["heads, from the context"]["y"], context)
    np.testing.assert_allclose(found["heads, from the question"]["y"], values.sel(role="question"))
    others = values.sum("role") - context - values.sel(role="question")
    np.testing.assert_allclose(found["heads, from other tokens"]["y"], others, atol=1e-12)
    np.testing.assert_allclose(found["MLPs"]["y"], trace.mlp_attribution.sum("layer").mean("item"))


def test_lens_is_a_map_of_layers_over_steps(trace):
    (heat,) = drawn(trace, "lens")["data"]
    np.testing.assert_allclose(heat["z"], trace.lens_margin.mean("item").transpose("layer", "step"))
    assert heat["x"][-1] == "1,400"


def test_mass_against_effect_draws_changes_per_head(trace):
    (heads,) = drawn(trace, "mass_against_effect", since=50)["data"]
    mass, effect = (by_head(trace.sel(step=[50, 1400]), name) for name in ("attention_mass", "knockout_effect"))
    np.testing.assert_allclose(heads["x"], mass[1] - mass[0])
    np.testing.assert_allclose(heads["y"], effect[1] - effect[0])
    said = drawn(trace, "mass_against_effect", since=50)["layout"]["title"]["text"]
    assert f"rank correlation {mass_against_effect(mass, effect)[0]:+.2f}" in said
    peak = int(trace.step.values[np.argmax(trace.counterfactual_accuracy.mean("item").values)])
    assert f"from step {peak:,} to 1,400" in drawn(trace, "mass_against_effect")["layout"]["title"]["text"]
    with pytest.raises(AttnshiftError, match="no checkpoint of step 7"):
        plot(trace, "mass_against_effect", since=7)
    with pytest.raises(AttnshiftError, match="to itself"):
        plot(trace, "mass_against_effect", since=1400)


def test_results_are_opened_from_files_and_folders(patched, grafted, tmp_path):
    write_netcdf(patched, tmp_path / "patch.nc")
    write_netcdf(grafted, tmp_path / "graft.nc")
    assert plot(tmp_path, "patch") == plot(tmp_path / "patch.nc", "patch") == plot(patched, "patch")
    plot(tmp_path, "graft_map", tmp_path / "map.csv")
    assert "restored" not in (tmp_path / "map.csv").read_text().splitlines()[0]
    with pytest.raises(AttnshiftError, match="isn't the result of a graft"):
        plot(patched, "graft")
    with pytest.raises(AttnshiftError, match="isn't the result of a patch"):
        plot(tmp_path / "graft.nc", "patch")
    with pytest.raises(AttnshiftError, match="can't be drawn of no trace"):
        plot(None, "graft")


def test_every_size_can_be_drawn(patched, grafted, trace):
    for name, source in (("patch", patched), ("graft", grafted), ("graft_search", grafted), ("attribution", trace)):
        for width in ("screen", "one", "two"):
            assert plot(source, name, width=width).layout.width <= 700
        assert FIGURES[name].about


def test_drawing_a_result_loads_no_torch(patched, tmp_path):
    write_netcdf(patched, tmp_path / "patch.nc")
    code = f"import sys, attnshift; attnshift.plot({str(tmp_path)!r}, 'patch'); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "False", done.stderr
