"""The critical split: by a model's loss without the context."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from made import base_of, data_of
from tiny_organism import TINY

from attnshift import AttnshiftError, Example, load_examples
from attnshift.data.groups import PAPER, Rule, group_examples
from attnshift.data.prompts import Encoder
from attnshift.data.roles import ANSWER
from attnshift.data.templates import load_template
from attnshift.organism.build import build_run
from attnshift.training.split import split


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return base_of(tmp_path_factory.mktemp("llama") / "base")


@pytest.fixture(scope="module")
def examples(tmp_path_factory):
    """Every fifth has no context; answers of different lengths."""
    loaded = load_examples(data_of(tmp_path_factory.mktemp("data"))[0])
    return [replace(e, answer=e.answer + " it was, they say" * (i % 3 == 0)) for i, e in enumerate(loaded)]


@pytest.fixture(scope="module")
def found(base, examples):
    return split(base, examples, template="plain", device="cpu")


def test_losses_are_those_of_plain_transformers(found, base, examples):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model, tokenizer = AutoModelForCausalLM.from_pretrained(base), AutoTokenizer.from_pretrained(base)
    encoder = Encoder(tokenizer, load_template("plain", tokenizer))
    total = found.scores.losses(Rule(score="sum"))
    for i in (1, 3, 6, 39):
        tokens = encoder.example(examples[i]).closed_book
        ids = torch.from_numpy(tokens.ids[None].astype(np.int64))
        labels = ids.masked_fill(torch.from_numpy(tokens.roles != ANSWER), -100)
        loss = model(ids, labels=labels).loss.item()
        assert found.losses[i] == pytest.approx(loss, abs=1e-5)
        assert total[i] == pytest.approx(loss * int((tokens.roles == ANSWER).sum()), abs=1e-4)


def test_the_quarter_of_those_with_a_context_is_non_critical(found, examples):
    assert found.sizes() == {"critical": 24, "non_critical": 8, "no_context": 8}
    low = [i for i, e in enumerate(found.examples) if e.group == "non_critical"]
    others = [i for i, e in enumerate(found.examples) if e.group == "critical"]
    assert found.losses[low].max() <= found.losses[others].min()
    columns = found.columns()
    ranks = [columns[e.id].get("closed_book_rank") for e in found.examples]
    assert sorted(rank for rank in ranks if rank) == list(range(1, 33))
    assert all((rank is None) == (not e.context) for rank, e in zip(ranks, examples, strict=True))
    assert {ranks[i] for i in low} == set(range(1, 9))
    assert columns[examples[1].id]["closed_book_loss"] == pytest.approx(found.losses[1], abs=1e-6)


def test_other_options_are_told(found):
    told = {each.option: each for each in found.alternatives()}
    assert set(told) == {"score sum", "pool all", "fraction 0.125", "fraction 0.5"}
    assert (told["fraction 0.125"].non_critical, told["fraction 0.5"].non_critical) == (4, 16)
    assert told["fraction 0.125"].jaccard == told["fraction 0.5"].jaccard == 0.5
    total = found.scores.losses(Rule(score="sum"))
    with_context = [i for i, e in enumerate(found.examples) if e.context]
    low = [{with_context[i] for i in np.argsort(loss[with_context])[:8]} for loss in (found.losses, total)]
    assert told["score sum"].jaccard == len(low[0] & low[1]) / len(low[0] | low[1])


def test_by_threshold(base, examples):
    by_quantile = split(base, examples, template="plain", device="cpu")
    cut = float(np.sort(by_quantile.losses[[bool(e.context) for e in examples]])[5])
    found = split(base, examples, Rule(by="threshold", threshold=cut), template="plain", device="cpu")
    assert found.sizes()["non_critical"] == 5
    told = {each.option: each for each in found.alternatives()}
    assert told["score sum, as many"].non_critical == 5
    assert told[f"threshold {2 * cut:g}"].jaccard <= 1


def test_given_groups_do_not_count_but_are_compared_with(base, examples, found):
    given = [replace(e, group="non_critical" if e.group == "critical" else e.group) for e in found.examples]
    again = split(base, given, template="plain", device="cpu")
    assert [e.group for e in again.examples] == [e.group for e in found.examples]
    assert {row.get("given_group") for row in again.columns().values()} == {"non_critical", "no_context"}
    assert again.agreement() is None  # no given example is critical
    assert found.agreement() is None
    same = split(base, found.examples, template="plain", device="cpu")
    assert same.agreement() == 1.0


@pytest.mark.slow
def test_it_finds_the_groups_of_the_organism(tmp_path):
    """Facts that pretraining taught against names that it never saw."""
    recipe = replace(TINY, model=replace(TINY.model, width=32, mlp_width=128), stories=0.1)
    schedule = replace(recipe.pretraining, steps=300, learning_rate=1e-2, warmup=20)
    run = build_run(tmp_path / "run", replace(recipe, pretraining=schedule), seed=0)
    examples = load_examples(run / "train.jsonl")
    found = split(
        run / "base", examples, Rule(fraction=0.5), template=str(run / "prompt.jinja"), target_eos=False, device="cpu"
    )
    assert found.agreement() >= 0.95
    right = np.mean([a.group == b.group for a, b in zip(found.examples, examples, strict=True)])
    assert right >= 0.9


@pytest.mark.parametrize(
    ("rule", "problem"),
    [
        ({"by": "luck"}, "examples can't be split with by 'luck'"),
        ({"score": "median"}, "with score 'median'"),
        ({"pool": "most"}, "with pool 'most'"),
        ({"fraction": 0.0}, "the fraction is 0.0"),
        ({"fraction": 1.0}, "the fraction is 1.0"),
        ({"by": "threshold"}, "the split is by threshold, and the threshold is None"),
        ({"threshold": 1.0}, "the split is by quantile, and the threshold is 1.0"),
    ],
)
def test_rules_that_cannot_be(rule, problem):
    with pytest.raises(AttnshiftError, match=problem):
        Rule(**rule)


def test_nothing_to_split(base, examples):
    with pytest.raises(AttnshiftError, match="none of the 8 examples has a context: there is nothing to split"):
        split(base, [e for e in examples if not e.context], device="cpu")


def test_a_pool_of_all_examples_moves_the_cut():
    losses = np.array([5.0, 4.0, 3.0, 2.0, 1.0, 0.5, 0.4, 0.3])
    contexts = [True] * 4 + [False] * 4
    rows = [Example(id=str(i), question="q", answer="a", context="c" * c) for i, c in enumerate(contexts)]

    def loss(positions):
        return losses[positions]

    assert group_examples(rows, loss, PAPER).groups == (*["critical"] * 3, "non_critical", *["no_context"] * 4)
    assert group_examples(rows, loss, Rule(pool="all")).groups == (*["critical"] * 4, *["no_context"] * 4)
    assert group_examples(rows, loss, Rule(pool="all", fraction=0.75)).groups[:4] == (
        "critical",
        "critical",
        "non_critical",
        "non_critical",
    )
