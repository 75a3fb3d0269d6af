"""Maps of what is measured by layer and head at the rows of the answer hold means over items."""

from __future__ import annotations

import json

import numpy as np
import pytest
import xarray as xr
from made_traces import made_trace

from attnshift.errors import AttnshiftError
from attnshift.figures.plot import plot

BY_HEAD = {
    "lookback": ("lookback_ratio", "ratio"),
    "retrieval": ("retrieval_score", "share"),
    "external_context": ("external_context_score", "cosine similarity"),
}


@pytest.fixture(scope="module")
def trace() -> xr.Dataset:
    rng, made = np.random.default_rng(0), made_trace()
    dims = ("step", "item", "layer", "head")
    shape = [made.sizes[dim] for dim in dims]
    for name, unit in BY_HEAD.values():
        values = rng.uniform(size=shape)
        values[:, 0] = np.nan  # an item for which it isn't defined
        made[name] = dims, values, {"unit": unit}
    made["parametric_knowledge_score"] = dims[:3], rng.uniform(size=shape[:3]), {"unit": "nats"}
    return made


def drawn(trace: xr.Dataset, name: str, **options) -> dict:
    return json.loads(plot(trace, name, **options).to_json())


@pytest.mark.parametrize("name", BY_HEAD)
def test_a_map_per_step_of_layers_and_heads(trace, name):
    variable, unit = BY_HEAD[name]
    figure = drawn(trace, name, step=50)
    maps = np.array([one["z"] for one in figure["data"]], float)
    np.testing.assert_allclose(maps, trace[variable].mean("item").transpose("step", "layer", "head"))
    assert [one["visible"] for one in figure["data"]] == (trace.step == 50).values.tolist()
    assert figure["layout"]["coloraxis"]["colorbar"]["title"]["text"] == unit
    with pytest.raises(AttnshiftError, match="no map of step 7"):
        plot(trace, name, step=7)


def test_what_mlps_change_is_a_map_of_layers_over_steps(trace):
    (heat,) = drawn(trace, "parametric_knowledge")["data"]
    np.testing.assert_allclose(heat["z"], trace.parametric_knowledge_score.mean("item").transpose("layer", "step"))
    assert heat["x"][-1] == "1,400"


def test_where_no_item_has_a_number_there_is_no_figure(trace):
    empty = trace.assign(lookback_ratio=trace.lookback_ratio.where(False).assign_attrs(unit="ratio"))
    with pytest.raises(AttnshiftError, match="lookback_ratio has no number"):
        plot(empty, "lookback")


@pytest.mark.parametrize("name", [*BY_HEAD, "parametric_knowledge"])
def test_what_is_missing_is_named(name):
    with pytest.raises(AttnshiftError) as caught:
        plot(made_trace(), name)
    assert f"--measures {name}_" in caught.value.remedy
