"""Items on the page: prompts in pieces, labels, turns, attention per token, and a page that stays small."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from made_page import reportable

from attnshift.data.roles import KEY_ROLES
from attnshift.report.items import TURNS, items_of, label_codes, turns
from attnshift.report.prompts import LONGEST, Prompts, prompts_of


def test_a_prompt_is_shown_as_fed_with_the_role_of_every_piece():
    pieces = items_of(reportable()).payload["items"][2]["p"]
    assert [list(piece) for piece in pieces] == [
        ["context", "Person 2 left "],
        ["parametric_answer", "Oslo"],
        ["context", " for "],
        ["context_answer", "Lima"],
        ["context", "."],
        ["template", " Q: "],
        ["question", "Where does Person 2 live?"],
        ["template", " A:"],
    ]


@pytest.mark.parametrize(
    "attributes", [{"template": "chat"}, {"template_source": "{{ broken"}, {"template_source": ""}]
)
def test_without_a_template_the_fields_alone_are_shown(attributes):
    items = items_of(reportable().assign_attrs(attributes))
    assert not items.whole_prompts
    assert "".join(text for _, text in items.payload["items"][0]["p"]) == (
        "Person 0 left Oslo for Lima.\n\nWhere does Person 0 live?"
    )


def test_a_template_that_would_not_follow_its_fields_falls_back():
    trace = reportable().assign_attrs(template_source="{{ context | upper }} {{ question }} {{ answer }}")
    pieces = prompts_of(trace).pieces("It left Oslo for Lima", "Where?", ("Lima",), ("Oslo",))
    assert pieces[0] == ("context", "It left ")


def test_a_long_context_loses_its_middle_never_the_answers_or_the_question():
    context = "tea " * 3000 + "Lima" + " tea" * 3000
    pieces = Prompts(None).pieces(context, "Where?", ("Lima",), ("Oslo",))
    assert sum(len(text) for _, text in pieces) < LONGEST + 200
    assert ("context_answer", "Lima") in pieces
    assert pieces[-1] == ("question", "Where?")
    assert "characters…]" in pieces[0][1]


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ("pppp", {"steady", "no_context"}),
        ("cccc", {"steady"}),
        ("ppcc", {"to_context"}),
        ("ccpp", {"to_memory"}),
        ("pccp", {"there_and_back", "to_memory", "to_context"}),
        ("cpcc", {"to_memory", "to_context"}),
        ("pnbn", {"steady"}),
        ("nnnn", {"steady", "no_context"}),
        ("pnc-bp", {"there_and_back", "to_memory", "to_context"}),
        ("----", {"steady"}),
    ],
)
def test_turns(labels, expected):
    found = turns(labels)
    assert set(found) == expected
    assert set(found) <= set(TURNS)


def accuracies(context, memory) -> xr.Dataset:
    return xr.Dataset(
        {
            "counterfactual_accuracy": (("step", "item"), np.array(context, float)),
            "parametric_accuracy": (("step", "item"), np.array(memory, float)),
        }
    )


def test_labels_by_containment_where_nothing_better_is_there():
    trace = accuracies([[1, 0, 1, 0, np.nan]], [[0, 1, 1, 0, 0]])
    codes, how = label_codes(trace)
    assert "".join(codes[0]) == "cpbn-"
    assert "containment" in how
    trace["answer_label"] = (("step", "item"), np.array([["parametric", "context", "neither", "both", ""]], object))
    codes, how = label_codes(trace)
    assert "".join(codes[0]) == "pcnb-"
    assert "asserts" in how


def test_numbers_are_those_of_the_trace():
    trace = reportable()
    items = items_of(trace)
    payload = items.payload
    mass = trace.attention_mass.mean(["layer", "head"])
    for index in (0, 7):
        row = payload["items"][index]
        np.testing.assert_allclose(row["d"], trace.margin.values[:, index], atol=0.005)
        distinct, which = row["g"]
        assert [distinct[place] for place in which] == trace.generation.values[:, index].tolist()
        for at in range(trace.sizes["step"]):
            there = mass.isel(step=at, item=index).sel(role=payload["roles"]).values
            np.testing.assert_allclose(np.array(row["a"][at]) / 1000, there, atol=0.0005)
        assert dict(zip(payload["roles"], row["n"], strict=True))["context"] == 5
    assert "sink" not in payload["roles"]  # no mass, nothing to show
    assert set(payload["roles"]) < set(KEY_ROLES)
    assert items.counts[""] == items.shown == items.total == 20


def test_the_scale_of_the_shades_is_a_quantile_of_mass_per_token():
    trace = reportable()
    counts = {"context": 5, "context_answer": 1, "parametric_answer": 1, "question": 3}
    mass = trace.attention_mass.mean(["layer", "head"]).sel(role=list(counts))
    each = mass.transpose("step", "item", "role").values / np.array(list(counts.values()))
    assert items_of(trace).payload["scale"] == pytest.approx(np.quantile(each, 0.9), rel=0.05)


def test_a_missing_step_is_told_as_missing():
    trace = reportable()
    gone = trace.step != 50
    trace["margin"] = trace.margin.where(gone)
    trace["attention_mass"] = trace.attention_mass.where(gone)
    trace["counterfactual_accuracy"] = trace.counterfactual_accuracy.where(gone)
    trace["generation"] = trace.generation.where(gone)
    row = items_of(trace).payload["items"][0]
    assert "k" not in row
    assert (row["d"][2], row["a"][2], row["l"][2], row["g"][1][2]) == (None, None, "-", None)
    assert row["d"][3] is not None


def test_of_too_many_items_an_even_selection_is_shown():
    trace = reportable(items=60)
    items = items_of(trace, budget=8_000)
    assert 3 < items.shown < 60
    assert items.total == 60
    shown = [int(row["id"][1:]) for row in items.payload["items"]]
    assert (shown[0], shown[-1]) == (0, 59)
    assert max(np.diff(shown)) - min(np.diff(shown)) <= 1


def test_known_items_are_told_apart_where_the_trace_knows_them():
    trace = reportable()
    assert items_of(trace).known is None
    trace["known_item"] = ("item", np.array([1.0] * 5 + [0.0] * 14 + [np.nan]))
    items = items_of(trace)
    assert items.known == 5
    assert [row["k"] for row in items.payload["items"]] == [1] * 5 + [0] * 15


def test_a_trace_without_texts_has_no_items():
    assert items_of(reportable().drop_vars("item_context")) is None
