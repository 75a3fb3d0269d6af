"""Whether the benchmarks run and write what they say; what they measure depends on the machine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from benchmarks.__main__ import COMPARISONS, main
from benchmarks.bench import Bench
from benchmarks.clock import Cost, alternate, peak_memory
from benchmarks.figure import draw
from benchmarks.models import STANDARD
from benchmarks.rows import Goal, Row, Section
from benchmarks.table import COLUMNS, cells

CPU = torch.device("cpu")


@pytest.fixture
def _threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("_threads")
def test_table_results_and_figure_are_written(tmp_path):
    assert main(["--quick", "--pairs", "2", "--out", str(tmp_path), "--only", "scoring"]) == 0
    results = json.loads((tmp_path / "results.json").read_text())
    assert list(results) == ["scoring"]
    assert results["scoring"]["environment"]["packages"]["torch"]
    table = (tmp_path / "table.md").read_text()
    for row in results["scoring"]["rows"]:
        assert len(row["ours_costs"]) == len(row["against_costs"]) == 2
        assert row["difference"] < 1e-4
        assert f"| {row['name']} |" in table
    assert (tmp_path / "ratios.html").stat().st_size > 10_000


@pytest.mark.usefixtures("_threads")
def test_what_an_earlier_run_found_is_kept(tmp_path, monkeypatch):
    for name in ("start", "attention"):
        monkeypatch.setitem(COMPARISONS, name, lambda bench, name=name: Section([Row(name, "ours", "", [Cost(1, 2)])]))
        assert main(["--quick", "--out", str(tmp_path), "--only", name]) == 0
    assert list(json.loads((tmp_path / "results.json").read_text())) == ["attention", "start"]
    assert "| start | ours |" in (tmp_path / "table.md").read_text()


def test_an_unknown_comparison_is_refused(capsys):
    with pytest.raises(SystemExit):
        main(["--only", "atention"])
    assert "there is no atention" in capsys.readouterr().err
    assert "attention" in COMPARISONS


@pytest.mark.usefixtures("_threads")
def test_a_failing_comparison_is_told_and_the_others_are_kept(tmp_path, monkeypatch):
    def fail(bench: Bench):
        raise ValueError("no such luck")

    monkeypatch.setitem(COMPARISONS, "push", fail)
    assert main(["--quick", "--out", str(tmp_path), "--only", "push"]) == 1
    assert "push: failed, ValueError: no such luck" in (tmp_path / "table.md").read_text()


def test_pairs_alternate():
    calls = []
    ours, against = alternate(lambda: calls.append("a"), lambda: calls.append("b"), 3, CPU)
    assert calls == ["a", "b", "b", "a", "a", "b"]
    assert len(ours) == len(against) == 3


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="no such file in this system")
def test_one_that_runs_out_of_memory_is_told_with_our_costs_alone(tmp_path):
    def too_much() -> None:
        raise torch.OutOfMemoryError("no room")

    bench = Bench(CPU, 2, True, tmp_path)
    row = bench.compare("mass", ("ours", lambda: 1), ("theirs", too_much), [Goal("time", 0.1)], memory=False)
    assert len(row.ours_costs) == 2
    assert not row.against_costs
    assert not row.goals
    assert "theirs: out of memory" in cells(row)
    assert not draw([row]).data[0].y


def test_peak_memory_sees_what_is_freed_again():
    def work():
        torch.ones(16 * 2**20).sum()

    assert peak_memory(work, CPU) == pytest.approx(64 * 2**20, rel=0.2)


def test_a_row_knows_its_ratios_and_whether_goals_hold():
    row = Row(
        "name",
        "ours",
        "other",
        [Cost(1, 2), Cost(3, 3), Cost(2, 2)],
        [Cost(2, 2), Cost(2, 3), Cost(2, 1)],
        ours_peak=100,
        against_peak=50,
        goals=[Goal("time", 1.0), Goal("memory", 1.5)],
    )
    assert row.ratios("cpu") == [0.5, 1.5, 1.0]
    assert row.value("time") == 1.0
    assert [row.holds(goal) for goal in row.goals] == [True, False]
    assert dict(zip(COLUMNS, cells(row), strict=True))["CPU time"] == "1.00 (0.50–1.50)"


def test_what_cannot_be_measured_is_neither_met_nor_missed():
    row = Row("name", "ours", "other", goals=[Goal("memory", 1.0)])
    assert row.holds(row.goals[0]) is None
    assert cells(row)[-1] == "n/a"


def test_the_shape_knows_its_size():
    from benchmarks.models import random_llama

    shape = STANDARD.__class__(layers=1, width=16, heads=2, kv_heads=1, intermediate=24, vocabulary=50)
    matrices = sum(p.numel() for p in random_llama(shape, CPU).parameters() if p.ndim > 1)
    assert shape.parameters == matrices
