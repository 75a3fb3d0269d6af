"""The demo, from the command line: small here, whole in the slow test."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from tiny_organism import TINY

import attnshift
from attnshift import cli
from attnshift.organism import recipe

ROOT = Path(__file__).parents[1]


@pytest.fixture
def command(monkeypatch, capsys):
    """``command("--seed", 1)`` runs the demo and gives exit code, stdout and stderr."""
    other = replace(TINY, name="other", data=replace(TINY.data, unsettled_share=0.0, counterfactual=0.1))
    monkeypatch.setattr(recipe, "ARMS", {"full": TINY, "other": other})

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["attnshift", "demo", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        printed = capsys.readouterr()
        return ended.value.code or 0, printed.out, printed.err

    return run


def test_it_says_what_happened_and_where_things_are(command, tmp_path):
    code, out, err = command("--out", tmp_path / "d", "--seed", 2)
    assert code == 0, err
    trace = attnshift.open_trace(tmp_path / "d" / "trace")
    words = " ".join(out.split())
    for sentence in attnshift.verdict(trace).sentences():
        assert sentence in words
    assert "do not settle their target" not in words
    assert "have a context that does not settle their target" in words
    for place in ("run", "trace", "report.html"):
        assert str(tmp_path / "d" / place) in out
        assert (tmp_path / "d" / place).exists()
    assert "pretraining" in err
    assert trace.step.values.tolist() == [0, *TINY.saved_steps]
    report = (tmp_path / "d" / "report.html").read_text(encoding="utf-8")
    assert "drive the fall" in report
    code, again, err = command("--out", tmp_path / "d", "--seed", 2)
    assert (code, again) == (0, out)
    assert "pretraining" not in err  # kept


def test_as_json_and_in_another_arm(command, tmp_path):
    code, out, _ = command("--out", tmp_path / "d", "--arm", "other", "--json")
    facts = json.loads(out)
    assert code == 0
    assert facts["numbers"]["steps"][0] == 0
    assert "settles its target" in facts["caveats"][0]
    assert "contradict memory on purpose" in facts["caveats"][1]


def test_several_seeds_are_runs_that_open_traces_joins(command, tmp_path):
    code, _, err = command("--out", tmp_path, "--seeds", "0,2")
    assert code == 0, err
    assert "seed 2: Counterfactual accuracy" in err
    joined = attnshift.open_traces({seed: tmp_path / f"seed-{seed}" / "trace" for seed in "02"})
    assert joined.sizes["run"] == 2
    assert bool(joined.counterfactual_accuracy.notnull().all())


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--arm", "nothing"), "there is no arm 'nothing'"),
        (("--seeds", "1-x"), "--seeds '1-x' is not a list of seeds"),
        (("--seeds", ","), "names no seed"),
        (("--out", "{tmp}/file"), "file"),
        (("--out", "{tmp}/taken"), "holds no run of the organism"),
    ],
)
def test_bad_input_is_named(command, tmp_path, arguments, expected):
    (tmp_path / "file").write_text("")
    (tmp_path / "taken" / "run").mkdir(parents=True)
    code, out, err = command(*(a.format(tmp=tmp_path) for a in arguments))
    assert (code, out) == (2, "")
    assert expected in err
    assert "Traceback" not in err


@pytest.mark.slow
def test_the_whole_demo_and_the_notebooks_on_it(tmp_path):
    """As a newcomer runs them, and the inversion is there."""
    main = "from attnshift.cli import main; main()"
    environment = os.environ | {"ATTNSHIFT_DEMO": str(tmp_path)}
    for program in (["-c", main, "demo", "--out", str(tmp_path)], *[[str(n)] for n in NOTEBOOKS]):
        done = subprocess.run(
            [sys.executable, *program], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=1200
        )
        assert done.returncode == 0, done.stderr[-3000:]
    found = attnshift.verdict(attnshift.open_trace(tmp_path / "trace"))
    assert found.counterfactual.start < 5
    assert found.counterfactual.peak > 30
    assert found.fall >= 15
    assert found.to_memory >= 50
    assert found.highest_mass[1] > max(found.context_mass.start, found.context_mass.end)
    assert found.heldout.end > found.heldout.peak - 4


NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.py"))
