"""Grafted weights: bit for bit, taken back, cut right out of fused matrices."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny import FAMILIES, tiny_model

from attnshift.errors import AttnshiftError
from attnshift.interventions.plan import candidates, plan_grafts, read_axes
from attnshift.interventions.units import NO_LAYER, Grafts, Unit, choose_units, tensors_of, views_of


def grafts_of(source, target):
    kept = {name: tensor.detach().clone() for name, tensor in tensors_of(source, {}).items()}
    return Grafts(tensors_of(target, {}), kept, views_of(target, {}))


def copied(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def assert_equal(state, other):
    assert state.keys() == other.keys()
    for name, tensor in state.items():
        assert torch.equal(tensor, other[name]), name


@pytest.mark.parametrize("family", FAMILIES)
def test_all_parts_are_the_source_and_none_the_target_bit_for_bit(family):
    source, target = tiny_model(family, seed=0), tiny_model(family, seed=1)
    before = copied(target)
    grafts = grafts_of(source, target)
    grafts.graft(grafts.units)
    assert_equal(target.state_dict(), source.state_dict())
    grafts.graft(grafts.units[::2])
    assert any(not torch.equal(a, b) for a, b in zip(target.state_dict().values(), before.values(), strict=True))
    grafts.graft(())
    assert_equal(target.state_dict(), before)
    assert_equal(source.state_dict(), tiny_model(family, seed=0).state_dict())


@pytest.mark.parametrize("family", FAMILIES)
def test_each_unit_changes_its_own_numbers_alone(family):
    """Units partition the parameters: every number comes from the source exactly once."""
    source, target = tiny_model(family, seed=0), tiny_model(family, seed=1)
    before, grafts = copied(target), grafts_of(source, target)
    taken = {name: torch.zeros_like(tensor) for name, tensor in before.items()}
    for unit in grafts.units:
        grafts.graft([unit])
        for name, tensor in target.state_dict().items():
            taken[name] += (tensor != before[name]).to(tensor.dtype)
    differ = {name: (tensor != before[name]).to(tensor.dtype) for name, tensor in source.state_dict().items()}
    assert_equal(taken, differ)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.sets(st.integers(0, 15)), min_size=1, max_size=5))
def test_whatever_is_grafted_after_whatever_the_last_set_counts(sets):
    source, target = tiny_model("llama", seed=0), tiny_model("llama", seed=1)
    other, straight = tiny_model("llama", seed=1), grafts_of(source, target)
    for chosen in sets:
        straight.graft([straight.units[i % len(straight.units)] for i in chosen])
    direct = grafts_of(source, other)
    direct.graft([direct.units[i % len(direct.units)] for i in sets[-1]])
    assert_equal(target.state_dict(), other.state_dict())


def test_queries_of_a_fused_matrix_are_those_that_the_layer_splits_off():
    """NeoX: head by head its q, k and v. GPT-2: columns."""
    source, target = tiny_model("neox", seed=0), tiny_model("neox", seed=1)
    name = "gpt_neox.layers.1.attention.query_key_value.weight"
    before, theirs = target.state_dict()[name].clone(), source.state_dict()[name]
    grafts_of(source, target).graft([Unit("k", 1)])
    after = target.state_dict()[name]
    for head in range(4):
        rows = slice(24 * head, 24 * head + 24)
        for i, expected in enumerate((before, theirs, before)):
            torch.testing.assert_close(after[rows][8 * i : 8 * i + 8], expected[rows][8 * i : 8 * i + 8])
    source, target = tiny_model("gpt2", seed=0), tiny_model("gpt2", seed=1)
    name = "transformer.h.0.attn.c_attn.weight"
    before, theirs = target.state_dict()[name].clone(), source.state_dict()[name]
    grafts_of(source, target).graft([Unit("v", 0)])
    torch.testing.assert_close(target.state_dict()[name], torch.cat([before[:, :64], theirs[:, 64:]], 1))


UNITS = [Unit("embed", NO_LAYER)]
UNITS += [Unit(part, layer) for layer in range(3) for part in ("q", "k", "mlp")] + [Unit("unembed", NO_LAYER)]


def names(units):
    return [unit.name for unit in units]


def test_units_are_named_by_part_and_layer():
    assert names(choose_units(UNITS, ["q", "embed"])) == ["embed", "0.q", "1.q", "2.q"]
    assert names(choose_units(UNITS, ["q:1", "mlp:0+2"])) == ["0.mlp", "1.q", "2.mlp"]
    assert names(choose_units(UNITS, ["k:0-1"])) == ["0.k", "1.k"]
    assert choose_units(UNITS, ["all"]) == tuple(UNITS)
    adapted = [Unit("self_attn.q_proj", 0), Unit("mlp.down_proj", 0), Unit("attn.c_proj", 1)]
    assert names(choose_units(adapted, ["q", "mlp"])) == ["0.self_attn.q_proj", "0.mlp.down_proj"]
    assert names(choose_units(adapted, ["c_proj"])) == ["1.attn.c_proj"]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("w", "no part 'w'"),
        ("q:7", "no q in layer 7"),
        ("embed:0", "no embed in layer 0"),
        ("q:1-", "'q:1-' is no part"),
        ("", "'' is no part"),
    ],
)
def test_parts_that_are_not_there_are_refused(asked, said):
    with pytest.raises(AttnshiftError, match=said):
        choose_units(UNITS, [asked])


def test_what_is_planned():
    planned = plan_grafts(UNITS, read_axes(["layer", "part", "unit"]))
    kinds = [one.kind for one in planned]
    assert kinds[0] == "all"
    counts = {kind: kinds.count(kind) for kind in kinds}
    assert counts == {
        "all": 1, "unit": 11, "part": 5, "without_part": 5, "layer": 3, "first_layers": 3, "last_layers": 3
    }  # fmt: skip
    by_label = {one.label: names(sorted(one.units, key=lambda u: u.name)) for one in planned}
    assert by_label["up to layer 1"] == ["0.k", "0.mlp", "0.q", "1.k", "1.mlp", "1.q"]
    assert by_label["from layer 2 on"] == ["2.k", "2.mlp", "2.q"]
    assert "0.q" not in by_label["all but q"]
    assert len(by_label["all but q"]) == 8
    assert len(candidates(UNITS, ("unit", "part"))) == 11
    assert len(candidates(UNITS, ("part", "layer"))) == 5
    assert len(candidates(UNITS, ("layer",))) == 5
    (together,) = plan_grafts(UNITS, (), ["q:1,embed"])[1:]
    assert (together.kind, names(sorted(together.units, key=lambda u: u.name))) == ("set", ["1.q", "embed"])
    with pytest.raises(AttnshiftError, match="no part 'v'"):
        plan_grafts(UNITS, (), ["q,v"])
    with pytest.raises(AttnshiftError, match="'head'"):
        read_axes(["head"])


def test_sequence_of_swaps_keeps_aliases():
    """Tied embeddings are one unit, and the unembedding follows."""
    source, target = tiny_model("llama_tied", seed=0), tiny_model("llama_tied", seed=1)
    grafts = grafts_of(source, target)
    assert "unembed" not in names(grafts.units)
    grafts.graft([Unit("embed", NO_LAYER)])
    assert torch.equal(target.lm_head.weight, source.model.embed_tokens.weight)
    assert np.array_equal(target.lm_head.weight.detach(), target.model.embed_tokens.weight.detach())
