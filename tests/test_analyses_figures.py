"""The scripts that draw the paper's figures and ours: of one's own traces, and of the organism."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
import xarray as xr
from made_traces import made_trace, saved_trace, with_everything

import attnshift
from analyses import drawing

SINGLE = {
    "reliance_against_benchmarks": ("benchmark", {}),
    "accuracy_over_steps": ("inversion", {"log_steps": True}),
    "attention_over_steps": ("attention", {"log_steps": True}),
    "finetuning_on_squad": ("heldout", {}),
    "labels_raster": ("labels", {}),
    "push_over_steps": ("push", {"log_steps": True}),
    "known_quarters": ("quartiles", {"log_steps": True}),
    "gradient_parts": ("parts", {}),
    "attention_by_head": ("attention_heads", {}),
}
ARMS = ("overlap_removed", "critical_only", "mitigations")
IMPORT = "from analyses.drawing import"
FOLDER = Path(drawing.__file__).parent


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    made = with_everything(made_trace())
    label = xr.where(made["counterfactual_accuracy"] == 1, "context", "parametric")
    made = made.assign(answer_label=label)
    return saved_trace(made, tmp_path_factory.mktemp("made") / "trace")


def test_every_script_that_draws_is_tested_and_in_the_index():
    drawing_scripts = {file.stem for file in FOLDER.glob("*.py") if IMPORT in file.read_text("utf-8")}
    assert drawing_scripts == {*SINGLE, *ARMS}
    index = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert [name for name in (*SINGLE, *ARMS) if f"`python -m analyses.{name} " not in index] == []


@pytest.mark.parametrize("name", SINGLE)
def test_a_trace_of_ones_own(name, saved, tmp_path, capsys):
    figure, options = SINGLE[name]
    importlib.import_module(f"analyses.{name}").main([str(saved), "-o", str(tmp_path / "x.json"), "--width", "one"])
    plain = attnshift.plot(saved, figure, width="one", **options)
    assert (tmp_path / "x.json").read_text() == plain.to_json()
    assert capsys.readouterr().out == f"{figure}: {tmp_path / 'x.json'}\n"


@pytest.mark.parametrize("name", ARMS)
def test_arms_of_ones_own(name, saved, tmp_path):
    given = {"mine": str(saved), "yours": str(saved)}
    arguments = [f"{arm}={place}" for arm, place in given.items()]
    importlib.import_module(f"analyses.{name}").main([*arguments, "-o", str(tmp_path / "x.json")])
    assert (tmp_path / "x.json").read_text() == attnshift.plot(given, "arms", log_steps=True).to_json()


def test_without_benchmarks_it_is_held_out_accuracy(tmp_path):
    from analyses.reliance_against_benchmarks import main

    saved = saved_trace(made_trace(), tmp_path / "trace")
    drawn = main([str(saved), "-o", str(tmp_path / "x.json")])
    assert drawn.to_json() == attnshift.plot(saved, "heldout").to_json()


def test_the_organism_is_built_once_and_its_arms_share_its_base(monkeypatch, tmp_path, capsys):
    from analyses.mitigations import main

    built = []

    def demo(out, arm, base, say):
        saved_trace(made_trace(items=5), out / "trace")
        (out / "report.html").write_text("", encoding="utf-8")
        built.append((str(out), arm, base))
        say("built")

    monkeypatch.setattr(attnshift, "demo", demo)
    monkeypatch.chdir(tmp_path)
    first = main([])
    base = Path("demo/run")
    assert built == [
        ("demo", "full", None),
        ("demo-arms/augmented", "augmented", base),
        ("demo-arms/qk", "qk", base),
    ]
    assert "demo-arms/qk: built" in capsys.readouterr().out
    assert list(dict.fromkeys(curve.name for curve in first.data)) == ["standard", "augmented", "QK only"]
    assert (tmp_path / "mitigations.html").is_file()
    assert main([]).to_json() == first.to_json()
    assert len(built) == 3  # kept


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["no/such/place"], "no/such/place"),
        (["{saved}", "-o", "x.docx"], "x.docx"),
    ],
)
def test_bad_input_is_one_block(arguments, told, saved, capsys):
    from analyses.attention_over_steps import main

    with pytest.raises(SystemExit) as ended:
        main([argument.format(saved=saved) for argument in arguments])
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.startswith("error: ")
    assert "Traceback" not in error
    assert len(error.splitlines()) <= 4
