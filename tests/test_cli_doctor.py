"""`attnshift doctor`: what it prints, its JSON, its exit codes, and that every check is written down."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from command_line import Command, is_one_block
from tiny import conflict_rows

from attnshift.console.doctor import doctor_text
from attnshift.diagnosis.check import STATUSES, Check

CHECK = {"name": str, "status": str, "seen": str, "remedy": str}
FINDING = CHECK | {"count": int, "of": int, "ids": list, "effect": str, "share": float}
LINT = {"name": str, "kind": str, "rows": int, "findings": list}
WHOLE = {
    "schema": int,
    "status": str,
    "counts": dict,
    "run": str | None,
    "environment": list,
    "folder": list,
    "tokens": list,
    "data": list,
}
DOCS = Path(__file__).parents[1] / "docs" / "doctor.md"


@pytest.fixture(autouse=True)
def _sound_machine(monkeypatch):
    """The machine has tests of its own, and looking at it takes a while."""
    monkeypatch.setattr(
        "attnshift.diagnosis.doctor.environment", lambda: [Check("python", "ok", "Python 3.11; supported is >=3.11")]
    )


@pytest.fixture(scope="module")
def run(made) -> Path:
    return made("llama")


def matches(value: dict, schema: dict) -> bool:
    assert set(value) == set(schema)
    for key, kind in schema.items():
        assert isinstance(value[key], kind), (key, value[key])
    return True


def test_a_sound_run_exits_with_0_and_warnings_do_too(command: Command, run):
    done = command("doctor", run, "--conflicts", run.parent / "cf.json", "--base", run.parent / "base")
    assert done.code == 0
    assert done.err == ""
    lines = done.out.splitlines()
    assert lines[0] == "machine"
    assert f"run {run}" in lines
    assert "tokenizer and template" in lines
    assert "data cf.json: 10 items" in lines
    assert re.search(
        r"^0 fail, 2 warn \(template, parametric_in_context\), \d+ ok, \d+ skipped$", done.out, re.MULTILINE
    )
    assert "parametric_in_context" in done.out
    assert all(len(line) <= 100 for line in lines if "/" not in line)


def test_the_schema(command: Command, run):
    done = command("doctor", run, "--conflicts", run.parent / "cf.json", "--ift", run.parent / "alpaca.json", "--json")
    assert done.code == 0
    assert matches(done.json, WHOLE)
    assert done.json["schema"] == 1
    assert done.json["status"] == "warn"
    assert tuple(done.json["counts"]) == STATUSES
    checks = [check for section in ("environment", "folder", "tokens") for check in done.json[section]]
    findings = [finding for lint in done.json["data"] for finding in lint["findings"]]
    assert all(matches(check, CHECK) for check in checks)
    assert all(matches(lint, LINT) for lint in done.json["data"])
    assert all(matches(finding, FINDING) for finding in findings)
    assert {each["status"] for each in [*checks, *findings]} <= set(STATUSES)
    assert sum(done.json["counts"].values()) == len(checks) + len(findings)
    assert [lint["kind"] for lint in done.json["data"]] == ["items", "examples"]
    assert "overlap" in {finding["name"] for finding in done.json["data"][1]["findings"]}


def test_a_failed_check_exits_with_1(command: Command, run, tmp_path):
    sick = Path(shutil.copytree(run, tmp_path / "run"))
    shutil.copytree(sick / "checkpoint-4", sick / "checkpoint-8")
    done = command("doctor", sick, "--conflicts", run.parent / "cf.json")
    assert done.code == 1
    assert done.err == ""
    assert "fail     weights" in done.out
    assert "steps 4 and 8 have identical weights" in " ".join(done.out.split())
    assert done.out.splitlines()[-1].startswith("1 fail (weights), ")


def test_data_alone(command: Command, tmp_path):
    rows = conflict_rows(3)
    rows[0] |= {"answer": "New Cairo", "memory_answer": "Cairo"}
    path = tmp_path / "cf.json"
    path.write_text(json.dumps(rows))
    done = command("doctor", "--conflicts", path, "--json")
    assert done.code == 0
    assert done.json["run"] is None
    assert done.json["folder"] == done.json["tokens"] == []
    found = {finding["name"]: finding for finding in done.json["data"][0]["findings"]}
    nested = found["context_answer_contains_parametric"]
    assert (nested["count"], nested["of"], nested["ids"]) == (1, 3, ["cf:1"])
    assert nested["share"] == pytest.approx(1 / 3)
    assert found["shared_first_token"]["status"] == "skipped"


def test_data_through_a_tokenizer(command: Command, run):
    done = command("doctor", "--conflicts", run.parent / "cf.json", "--tokenizer", run / "checkpoint-4", "--json")
    assert done.code == 0
    assert "skipped" not in {finding["status"] for finding in done.json["data"][0]["findings"]}


def test_the_machine_alone(command: Command):
    done = command("doctor")
    assert done.code == 0
    assert done.out.splitlines()[0] == "machine"
    assert done.out.splitlines()[-1] == "0 fail, 0 warn, 1 ok, 0 skipped"


@pytest.mark.parametrize(
    "arguments",
    [
        ("nowhere",),
        ("EMPTY",),
        ("FILE",),
        ("--conflicts", "no.json"),
        ("--conflicts", "FILE"),
        ("--base", "somewhere"),
        ("--revisions", "step1000"),
        ("nobody/nothing-here", "--revisions", "step1000"),
        ("--template", "plain"),
        ("--tokenizer", "somewhere"),
        ("--map", "context=passage"),
        ("RUN", "--template", "no.jinja"),
        ("RUN", "--base", "nobody/nothing-here"),
        ("RUN", "--tokenizer", "nowhere"),
    ],
)
def test_bad_input_is_one_block(command: Command, run, tmp_path, arguments):
    (tmp_path / "empty").mkdir()
    (tmp_path / "garbage.json").write_bytes(b"\xff\x00{")
    places = {"EMPTY": tmp_path / "empty", "FILE": tmp_path / "garbage.json", "RUN": run}
    given = [places.get(each, each) for each in arguments]
    quoted = "--map" if "=" in arguments[-1] else given[0] if "nobody/nothing-here" in arguments[:1] else given[-1]
    assert is_one_block(command("doctor", *given), quoted)


def test_help_lists_it(command: Command):
    done = command("--help")
    assert "doctor" in done.out


def test_every_check_and_defect_is_written_down(command: Command, run):
    done = command("doctor", run, "--conflicts", run.parent / "cf.json", "--ift", run.parent / "alpaca.json", "--json")
    names = {check["name"] for section in ("folder", "tokens") for check in done.json[section]}
    names |= {finding["name"] for lint in done.json["data"] for finding in lint["findings"]}
    machine = "python packages extras libraries devices memory threads browser temporary_files hub_cache"
    told = set(re.findall(r"`([a-z_]+)`", DOCS.read_text(encoding="utf-8")))
    assert (names | {*machine.split(), "data"}) - told == set()


def test_text_keeps_to_its_width():
    check = {
        "name": "a_name_that_is_longer_than_its_column",
        "status": "warn",
        "seen": "word " * 60,
        "remedy": "do " * 60,
    }
    facts = {"environment": [check], "folder": [], "tokens": [], "data": [], "counts": {"warn": 1}}
    lines = doctor_text(facts).splitlines()
    assert max(map(len, lines)) <= 100
    assert " ".join(" ".join(lines).split()).count("word") == 60
