"""`attnshift compare` from the command line, on traces on disk."""

from __future__ import annotations

import json
import sys
import warnings

import pytest
from made_traces import made_trace, saved_trace

from attnshift import cli, compare, open_trace


@pytest.fixture
def command(monkeypatch, capsys):
    """``command(a, b)`` runs `attnshift compare` and gives exit code, stdout and stderr."""
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)  # main() replaces it

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["attnshift", "compare", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        printed = capsys.readouterr()
        return ended.value.code or 0, printed.out, printed.err

    return run


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two arms with two seeds each, and a run whose trace lies in it."""
    folder = tmp_path_factory.mktemp("compare")
    for arm, shift in (("a", 0), ("b", 10)):
        for seed in (1, 2):
            made = made_trace(items=30, clusters=10, seed=seed + shift, steps=tuple(range(0, 90, 10)))
            made = made.drop_vars(
                ["attention_mass", "loss", "exact_match", "gradient_norm", "margin_push", "group_share"]
            )
            made = made.assign_coords(item_stratum=("item", ["north", "south", "east"] * 10))
            saved_trace(made, folder / arm / f"seed-{seed}" / "trace")
    return folder


def is_one_block(code: int, out: str, err: str, *quoted: object) -> bool:
    assert (code, out) == (2, "")
    lines = err.splitlines()
    assert lines[0].startswith("error: ")
    assert 2 <= len(lines) <= 4, err
    assert all(str(each) in err for each in quoted), err
    return True


def test_two_checkpoints(command, folder):
    place = folder / "a" / "seed-1"
    code, out, err = command(f"{place}@peak", f"{place}@end")
    assert (code, err) == (0, "")
    assert "peak → end (steps " in out
    assert "McNemar: " in out
    assert "whole clusters flipped: p" in out
    assert "30 items in 10 clusters" in out
    assert "by stratum" in out
    assert "from north: " in out
    assert "lasting: ±1 checkpoints agree" in out
    code, out, _ = command(f"{place}/trace@0", f"{place}@80", "--json", "--by", "cluster", "--measure", "margin")
    assert code == 0
    told = json.loads(out)
    (change,) = told["changes"]
    trace = open_trace(place / "trace")
    assert change["change"] == pytest.approx(float((trace.margin[-1] - trace.margin[0]).mean()))
    assert change["runs"][0]["mcnemar"] is None
    assert change["runs"][0]["holm"] is None  # no number is null, not NaN
    assert len(change["contributions"]) == 10
    assert sum(part["contribution"] for part in change["contributions"]) == pytest.approx(change["change"])


def test_arms_by_seed(command, folder):
    code, out, err = command(folder / "a", folder / "b")
    assert (code, err) == (0, "")
    assert out.count("2 runs, 60 items") == 2
    assert "seed-1 (steps " in out
    assert "whole runs flipped: p = " in out
    named = [f"x={folder}/{arm}/seed-1,y={folder}/{arm}/seed-2/trace" for arm in "ab"]
    assert command(*named)[1].splitlines()[1:] == out.replace("seed-1", "x").replace("seed-2", "y").splitlines()[1:]


def test_two_runs(command, folder):
    code, out, _ = command(folder / "a" / "seed-1", folder / "b" / "seed-1")
    assert code == 0
    assert "by Holm" in out
    assert "One run a side" in out


def test_python_says_the_same(command, folder):
    found = compare(folder / "a", {f"seed-{seed}": folder / "b" / f"seed-{seed}" for seed in (1, 2)})
    told = json.loads(command(folder / "a", folder / "b", "--json")[1])
    assert [change["low"] for change in told["changes"]] == [change.low for change in found.changes]


@pytest.mark.parametrize(
    ("a", "b", "options", "quoted"),
    [
        ("nowhere", "a/seed-1", (), ("nowhere", "expected: TRACE, TRACE@STEP")),
        ("a/seed-1", "a/seed-1", (), ("both sides are", "@peak")),
        ("a/seed-1", "a/seed-1/trace", (), ("both sides are",)),
        ("a/seed-1@peak", "b/seed-1", (), ("names a checkpoint", "@end")),
        ("a/seed-1@top", "b/seed-1@end", (), ("@top",)),
        ("a/seed-1@7", "b/seed-1@end", (), ("no step 7", "80")),
        ("a/seed-1@peak", "a/seed-1@end", ("--by", "colour"), ("colour", "stratum")),
        ("a/seed-1@peak", "a/seed-1@end", ("--measure", "loss"), ("loss", "margin")),
        ("a/seed-1@peak", "a/seed-1@end", ("--known",), ("known_item", "--known")),
        ("a/seed-1@peak", "a/seed-1@end", ("--window", "-1"), ("window of -1",)),
    ],
)
def test_bad_input_is_one_block(command, folder, a, b, options, quoted):
    assert is_one_block(*command(folder / a, folder / b, *options), *quoted)


def test_names_given_twice(command, folder):
    twice = f"x={folder}/a/seed-1,x={folder}/a/seed-2"
    assert is_one_block(*command(twice, folder / "b"), "names x twice", "NAME=DIR")
