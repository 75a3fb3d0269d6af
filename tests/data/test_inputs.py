"""What a trace feeds to a model: chosen by ids alone, dropped with a reason, recognised by digests."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import bpe_tokenizer, data_texts

from attnshift.data.groups import with_groups
from attnshift.data.inputs import Dropped, encode, sample
from attnshift.data.items import Example, Item
from attnshift.data.prompts import Encoder
from attnshift.data.templates import load_template
from attnshift.errors import AttnshiftError

TOKENIZER = bpe_tokenizer(data_texts())
ENCODER = Encoder(TOKENIZER, load_template("plain", None), max_length=60)
LONG = "It was a quiet, cold spring day when they moved. " * 20


def item(name, **changes):
    fields = {"context": "They left Oran for Herat.", "question": f"Where is {name}?"}
    return Item(**{"id": name, **fields, "context_answer": "Herat", "parametric_answer": "Oran"} | changes)


def example(name, **changes):
    return Example(
        **{"id": name, "context": "They like tea.", "question": f"What of {name}?", "answer": "tea"} | changes
    )


def test_everything_is_encoded_in_order():
    items, examples = [item(c) for c in "ab"], [example(c) for c in "cde"]
    inputs = encode(ENCODER, items, examples)
    assert inputs.items == tuple(items)
    assert inputs.examples == tuple(examples)
    assert inputs.dropped == ()
    for row, tokens in zip(items, inputs.item_tokens, strict=True):
        assert tokens.prompt.ids.tolist() == ENCODER.item(row).prompt.ids.tolist()
    for row, tokens in zip(examples, inputs.example_tokens, strict=True):
        assert tokens.sequence.ids.tolist() == ENCODER.example(row).sequence.ids.tolist()


def test_what_cannot_be_read_is_dropped_with_its_reason():
    items, examples = [item("a", context=LONG), item("b")], [example("c"), example("d", context=LONG)]
    inputs = encode(ENCODER, items, examples)
    assert inputs.items == (items[1],)
    assert inputs.examples == (examples[0],)
    assert len(inputs.item_tokens) == len(inputs.example_tokens) == 1
    assert [d.id for d in inputs.dropped] == ["a", "d"]
    assert all(isinstance(d, Dropped) and "more than the model's window of 60" in d.reason for d in inputs.dropped)


@pytest.mark.parametrize(
    ("items", "examples", "kind"),
    [
        ([item("a", context=LONG)], [example("b")], "none of the 1 items"),
        ([item("a")], [example("b", context=LONG), example("c", context=LONG)], "none of the 2 examples"),
    ],
)
def test_nothing_left_is_an_error(items, examples, kind):
    with pytest.raises(AttnshiftError, match=f"{kind} can be used; the first: .* window of 60"):
        encode(ENCODER, items, examples)


def test_nothing_given_is_none():
    inputs = encode(ENCODER, [], [])
    assert (inputs.items, inputs.examples, inputs.dropped) == ((), (), ())


@pytest.mark.parametrize(
    ("items", "examples", "kind"),
    [([item("a"), item("b"), item("a")], [], "two items"), ([], [example("a"), example("a")], "two examples")],
)
def test_repeated_ids(items, examples, kind):
    with pytest.raises(AttnshiftError, match=f"{kind} have the id 'a'"):
        encode(ENCODER, items, examples)


def test_an_item_and_an_example_may_share_an_id():
    assert encode(ENCODER, [item("a")], [example("a")]).dropped == ()


# --- groups ---


def test_groups_and_shares_are_those_of_training():
    examples = [example("a"), example("b"), example("c", split="heldout"), example("d", context="")]
    inputs = encode(ENCODER, [], examples)
    assert (inputs.groups, inputs.shares) == ((), ())
    grouped = inputs.with_examples(with_groups(examples, ["critical", "critical", "non_critical", "no_context"]), {})
    assert grouped.groups == ("critical", "no_context")
    assert dict(grouped.shares) == {"critical": pytest.approx(2 / 3), "no_context": pytest.approx(1 / 3)}
    assert grouped.train_positions("critical") == [0, 1]
    assert grouped.train_positions("non_critical") == []
    assert grouped.example_tokens is inputs.example_tokens
    stated = inputs.with_examples(grouped.examples, {"critical": 0.9, "no_context": 0.1})
    assert dict(stated.shares) == {"critical": 0.9, "no_context": 0.1}


# --- samples ---

ids = st.lists(st.text(max_size=6), unique=True, max_size=20)


@settings(max_examples=100, deadline=None)
@given(ids, st.integers(0, 22), st.integers(0, 3), st.randoms())
def test_a_sample_depends_on_seed_and_ids_alone(names, limit, seed, random):
    rows = [example("x", id=name) for name in names]
    chosen = sample(rows, limit, seed)
    assert len(chosen) == min(limit, len(rows))
    assert chosen == [row for row in rows if row in chosen]
    shuffled = random.sample(rows, len(rows))
    assert {row.id for row in sample(shuffled, limit, seed)} == {row.id for row in chosen}
    larger = {row.id for row in sample(rows, limit + 1, seed)}
    assert {row.id for row in chosen} <= larger
    rewritten = [replace(row, question="Another?") for row in rows]
    assert [row.id for row in sample(rewritten, limit, seed)] == [row.id for row in chosen]


def test_samples():
    rows = [item(str(i)) for i in range(100)]
    assert sample(rows, None, 0) == rows
    assert sample(rows, 100, 0) == rows
    # Written down: a change of the choice would change what resumed and repeated traces measure.
    assert [row.id for row in sample(rows, 6, 0)] == ["3", "23", "37", "55", "68", "99"]
    assert sample(rows, 6, 1) != sample(rows, 6, 0)
    assert sample([item("\ud800"), item("b")], 1, 0)


# --- digests ---

ITEMS, EXAMPLES = [item("a"), item("b")], [example("c", group="critical"), example("d", split="heldout")]


def digests(items=ITEMS, examples=EXAMPLES, encoder=ENCODER):
    return encode(encoder, items, examples).digests()


def changed(before, after):
    assert before.keys() == after.keys() == {"items", "examples", "groups"}
    return {kind for kind in before if before[kind] != after[kind]}


def test_digests_repeat():
    assert changed(digests(), digests([*ITEMS], [*EXAMPLES])) == set()


@pytest.mark.parametrize(
    "change",
    [
        {"id": "z"},
        {"context": "They left Oran for Herat!"},
        {"question": "Where to?"},
        {"context_answer": "herat "},
        {"parametric_answer": "oran"},
        {"context_aliases": ("Harat",)},
        {"parametric_aliases": ("Wahran",)},
        {"stratum": "s"},
        {"cluster": "c"},
        {"conflict_type": "t"},
    ],
)
def test_any_change_of_an_item_shows(change):
    assert changed(digests(), digests([replace(ITEMS[0], **change), ITEMS[1]])) == {"items"}


@pytest.mark.parametrize(
    "change",
    [{"id": "z"}, {"context": ""}, {"question": "Q?"}, {"answer": "Tea"}, {"stratum": "s"}, {"split": "heldout"}],
)
def test_any_change_of_an_example_shows(change):
    assert changed(digests(), digests(examples=[replace(EXAMPLES[0], **change), EXAMPLES[1]])) == {"examples"}


def test_the_group_has_its_own_digest():
    assert changed(digests(), digests(examples=with_groups(EXAMPLES, ["non_critical", "critical"]))) == {"groups"}


def test_order_and_number_show():
    assert changed(digests(), digests(ITEMS[::-1])) == {"items"}
    assert changed(digests(), digests(ITEMS[:1])) == {"items"}
    assert changed(digests(), digests(examples=EXAMPLES[:1])) == {"examples", "groups"}
    assert "items" in changed(digests(), digests([]))


def test_tokens_show():
    """The same texts by another tokenizer, template or target."""
    other = bpe_tokenizer(data_texts(), bos=False)
    assert changed(digests(), digests(encoder=replace(ENCODER, tokenizer=other))) == {"items", "examples"}
    alpaca = replace(ENCODER, template=load_template("alpaca", None), max_length=None)
    assert changed(digests(), digests(encoder=alpaca)) == {"items", "examples"}
    assert changed(digests(), digests(encoder=replace(ENCODER, target_eos=False))) == {"examples"}
