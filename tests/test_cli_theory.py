"""`attnshift theory`, in this process."""

from __future__ import annotations

import json
import sys
import warnings

import pytest

from attnshift import cli
from attnshift.theory import Setting, simulate


@pytest.fixture
def theory(monkeypatch, capsys, tmp_path):
    """``theory("--json")`` runs the command in an empty directory: exit code, stdout, stderr."""
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    monkeypatch.chdir(tmp_path)

    def command(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["attnshift", "theory", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        printed = capsys.readouterr()
        return int(ended.value.code or 0), printed.out, printed.err

    return command


def test_json_has_the_golden_trajectory_and_writes_nothing(theory, tmp_path):
    code, out, err = theory("--json")
    facts, run = json.loads(out), simulate(Setting())
    assert (code, err) == (0, "")
    assert facts["step"] == list(range(601))
    for name in (
        "attention",
        "reliance",
        "counterfactual_accuracy",
        "gradient_critical",
        "gradient_non_critical",
        "loss",
    ):
        assert facts[name] == getattr(run, name).tolist()
    assert facts["summary"]["peak_step"] == 18
    assert facts["summary"]["phase"] == "inversion"
    assert facts["summary"]["context_wins"] == [3, 109]
    assert facts["closed_form"]["plateau_attention"] == pytest.approx(0.613, abs=5e-4)
    assert not list(tmp_path.iterdir())


def test_every_option_reaches_the_setting(theory):
    options = {
        "n_critical": 3, "n_non_critical": 4, "n_recall": 1, "n_counterfactual": 2, "n_test": 5, "n_answers": 50,
        "n_subjects": 7, "delta_context": 0.2, "delta_memory": 0.6, "answer_logit": 0.4, "relation_logit": 0.2,
        "known": 0.05, "spread": 0.3, "attention_spread": 0.1, "filtered": 0.2, "trained": "both",
        "learning_rate": 0.5, "steps": 4, "seed": 9,
    }  # fmt: skip
    flags = [part for name, value in options.items() for part in (f"--{name.replace('_', '-')}", value)]
    code, out, _ = theory("--json", *flags)
    assert code == 0
    assert json.loads(out)["setting"] == options
    assert simulate(Setting(**options)).loss.tolist() == json.loads(out)["loss"]


def test_without_json_it_draws_and_tells(theory, tmp_path):
    code, out, err = theory("--n-noncritical", 0, "--steps", 30, "--n-test", 1, "-o", "fig.json")
    assert code == 0
    assert "monotone" in out
    assert "fig.json" in err
    figure = json.loads((tmp_path / "fig.json").read_text())
    run = simulate(Setting(n_non_critical=0, steps=30, n_test=1))
    curves = {(curve["yaxis"], curve["name"]): curve for curve in figure["data"]}
    assert curves["y", "context reliance M"]["y"] == run.reliance.tolist()
    assert curves["y2", "critical"]["y"] == run.attention_critical.tolist()
    assert curves["y2", "non_critical"]["y"] == []
    assert [figure["layout"][axis]["title"]["text"].partition("<br>")[0] for axis in ("yaxis", "yaxis2", "yaxis3")] == [
        "share of conflicts",
        "attention to the context",
        "gradient",
    ]


def test_phases_are_drawn_and_told(theory, tmp_path):
    code, out, _ = theory("--phases", "--json", "--steps", 60, "-o", "fig.csv")
    facts = json.loads(out)
    assert code == 0
    assert {phase for plane in facts["phase"] for row in plane for phase in row} >= {"inversion", "plateau", "monotone"}
    rows = (tmp_path / "fig.csv").read_text().splitlines()
    settings = len(facts["known"]) * len(facts["delta_memory"]) * len(facts["share_non_critical"])
    assert len(rows) == 1 + settings


@pytest.mark.parametrize(
    ("arguments", "quoted"),
    [
        (["--n-critical", 0, "--n-noncritical", 0], "n_critical=0"),
        (["--delta-memory", 1.5], "delta_memory=1.5"),
        (["--steps", -1], "steps=-1"),
        (["--learning-rate", 1000], "learning_rate=1000.0"),
        (["--rho", 0.6], "known=0.6"),
        (["--trained", "mlp"], "trained='mlp'"),
        (["--phases", "--n-recall", 3], "homogeneous"),
        (["--steps", 3, "-o", "fig.bmp"], "fig.bmp"),
        (["--steps", 3, "-o", "nowhere/fig.html"], "nowhere"),
    ],
)
def test_bad_input_is_one_block(theory, tmp_path, arguments, quoted):
    code, out, err = theory(*arguments)
    told = [line for line in err.splitlines() if not line.startswith("note: ")]
    assert code == 2
    assert out == ""
    assert told[0].startswith("error: ")
    assert quoted in err
    assert all(line.startswith(("  expected: ", "  try: ")) for line in told[1:])
    assert not list(tmp_path.iterdir())
