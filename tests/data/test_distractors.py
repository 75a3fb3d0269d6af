from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from attnshift.data.distractors import choose_distractors
from attnshift.data.items import Item


def items(answers, strata=None, aliases=None):
    return [
        Item(
            id=f"i{n}",
            context="c",
            question=f"q{n}",
            context_answer="somewhere else",
            parametric_answer=answer,
            parametric_aliases=(aliases or {}).get(answer, ()),
            stratum=(strata or {}).get(n, "s"),
        )
        for n, answer in enumerate(answers)
    ]


CITIES = [f"City{letter}" for letter in "abcdefghijklmnopqrst"]


def test_answers_of_the_same_length_come_first():
    lengths = [1 + n % 3 for n in range(20)]
    for n, chosen in enumerate(choose_distractors(items(CITIES), lengths, count=5)):
        assert len(set(chosen)) == 5
        assert n not in chosen
        assert {lengths[j] for j in chosen} == {lengths[n]}


def test_where_they_are_too_few_the_nearest_lengths_follow():
    lengths = [1, 1, 2, 5, 9, 3]
    first = choose_distractors(items(CITIES[:6]), lengths, count=4)[0]
    assert first == [1, 2, 5, 3]


def test_the_own_stratum_comes_before_others():
    strata = {n: "a" if n < 4 else "b" for n in range(20)}
    chosen = choose_distractors(items(CITIES, strata), [1] * 20, count=6)
    assert set(chosen[0]) >= {1, 2, 3}
    assert len(set(chosen[0]) - {1, 2, 3}) == 3
    assert all(strata[j] == "b" for j in chosen[10])


def test_no_answer_serves_twice_and_none_is_the_own_or_an_alias():
    answers = ["Paris", "paris", "Lyon", "LYON!", "Graz", "City of Light", "Oran"]
    rows = items(answers, aliases={"Paris": ("City of light",)})
    chosen = choose_distractors(rows, [1] * 7)
    assert sorted(answers[j].casefold().strip("!") for j in chosen[0]) == ["graz", "lyon", "oran"]
    assert all(len(each) == len({answers[j].casefold().strip("!") for j in each}) for each in chosen)


def test_an_item_alone_has_none():
    assert choose_distractors(items(["Paris"]), [1]) == [[]]


def test_the_choice_is_the_same_in_every_process_and_depends_on_the_seed():
    here = choose_distractors(items(CITIES), [1] * 20, count=3)
    program = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); from test_distractors import *; "
        "print(choose_distractors(items(CITIES), [1] * 20, count=3))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=300, env=None, check=True
    )
    assert done.stdout.strip() == str(here)
    assert choose_distractors(items(CITIES), [1] * 20, count=3, seed=1) != here
    more = choose_distractors(items(CITIES), [1] * 20, count=5)
    assert all(b[:3] == a for a, b in zip(here, more, strict=True))
