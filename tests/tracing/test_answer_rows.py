"""Attribution, lens and knock-out as variables of a trace."""

from __future__ import annotations

import numpy as np
import pytest

import attnshift
from attnshift.data.roles import CONTEXT_ROLES

ASKED = (
    "head_attribution",
    "mlp_attribution",
    "embedding_attribution",
    "bias_attribution",
    "context_budget",
    "memory_budget",
    "lens_margin",
    "lens_margin_final_scale",
    "knockout_effect",
    "knockout_effect_by_layer",
    "margin_first_token",
)


@pytest.fixture(scope="module")
def trace(made, tmp_path_factory):
    run = made("llama", lora=True)
    series = attnshift.open_series(run)
    items = attnshift.load_items(run.parent / "cf.json")
    out = tmp_path_factory.mktemp("trace")
    return attnshift.trace(series, items=items, measures=ASKED, out=out, steps=[0, 4], limit=4)


def test_contributions_sum_to_the_margin_and_the_lens_ends_there(trace):
    total = trace.head_attribution.sum(["layer", "head", "role"]) + trace.mlp_attribution.sum("layer")
    total = total + trace.embedding_attribution + trace.bias_attribution
    np.testing.assert_allclose(total, trace.margin_first_token, atol=1e-4)
    for name in ("lens_margin", "lens_margin_final_scale"):
        np.testing.assert_allclose(trace[name].isel(layer=-1), trace.margin_first_token, atol=1e-4)


def test_dims_and_units_are_those_of_the_contract(trace):
    assert trace.head_attribution.dims == ("step", "item", "layer", "head", "role")
    assert trace.knockout_effect.dims == trace.head_attribution.dims
    assert trace.mlp_attribution.dims == trace.lens_margin.dims == ("step", "item", "layer")
    assert {trace[name].unit for name in ASKED} == {"nats"}
    assert trace.sizes["head"] == 4


def test_budgets_are_sums_of_positive_parts(trace):
    heads, mlp = trace.head_attribution, trace.mlp_attribution
    context = heads.sel(role=list(CONTEXT_ROLES)).sum("role")
    others = heads.sum("role") - context
    np.testing.assert_allclose(trace.context_budget, context.clip(min=0).sum(["layer", "head"]), atol=1e-5)
    memory = (-others).clip(min=0).sum(["layer", "head"]) + (-mlp).clip(min=0).sum("layer")
    np.testing.assert_allclose(trace.memory_budget, memory, atol=1e-5)


def test_knockouts_of_absent_roles_are_zero_and_others_are_not(trace):
    effect = trace.knockout_effect_by_layer
    present = trace.role_present.astype(bool)
    assert (effect.where(~present, 0) == 0).all()
    assert np.abs(effect.sel(role="context")).max() > 0
