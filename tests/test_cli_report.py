"""`attnshift report`: the page of a trace, from the command line."""

from __future__ import annotations

import json

import pytest
from command_line import is_one_block


@pytest.fixture(scope="module")
def trace(made, tmp_path_factory):
    """A trace of a run that the HF Trainer left, with a byte-level BPE tokenizer and the Alpaca template."""
    import attnshift

    run, out = made("llama"), tmp_path_factory.mktemp("report") / "trace"
    attnshift.trace(
        attnshift.open_series(run, base=str(run.parent / "base")),
        items=attnshift.load_items(run.parent / "cf.json"),
        examples=attnshift.load_examples(run.parent / "alpaca.json"),
        template="alpaca",
        out=out,
    )
    return out


def test_a_report_of_a_trainers_run(command, trace, tmp_path):
    done = command("report", trace, "-o", tmp_path / "r.html", "--title", "Mine & yours")
    assert done.code == 0, done.err
    assert str(tmp_path / "r.html") in done.out
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "<title>Mine &amp; yours</title>" in page
    held = page.partition('id="items-data">')[2].partition("</script>")[0]
    item = json.loads(held)["items"][0]
    roles = [role for role, _ in item["p"]]
    assert "### Input:" in "".join(text for role, text in item["p"] if role == "template")
    assert {"context", "context_answer", "parametric_answer", "question"} <= set(roles)
    assert sum(item["n"]) > len(roles)
    done = command("report", trace, "-o", tmp_path / "r.html", "--json")
    assert done.json == {"report": str(tmp_path / "r.html"), "bytes": (tmp_path / "r.html").stat().st_size}


@pytest.mark.parametrize(
    ("arguments", "quoted"),
    [
        (("{tmp}",), "there is no trace"),
        (("{trace}", "-o", "{tmp}/nowhere/r.html"), "nowhere"),
        (("{trace}", "-o", "{tmp}"), "can't be written"),
    ],
)
def test_bad_input_is_named(command, trace, tmp_path, arguments, quoted):
    done = command("report", *(a.format(tmp=tmp_path, trace=trace) for a in arguments))
    assert is_one_block(done, quoted)


def test_a_report_of_results_made_elsewhere(command, tmp_path):
    row = {"step": 0, "item": "a", "generation": "Lyon", "context": "Avalon made Lyon its capital.",
           "question": "What is Avalon's capital?", "context_answer": "Lyon", "parametric_answer": "Paris"}  # fmt: skip
    (tmp_path / "mine.json").write_text(json.dumps([row, row | {"step": 5, "generation": "Paris"}]), encoding="utf-8")
    command("ingest", tmp_path / "mine.json", "-o", tmp_path / "trace")
    done = command("report", tmp_path / "trace", "-o", tmp_path / "r.html")
    assert done.code == 0, done.err
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert f"attnshift ingest {tmp_path / 'mine.json'}" in page
    assert "made elsewhere" in page
    held = json.loads(page.partition('id="items-data">')[2].partition("</script>")[0])
    assert [item["l"] for item in held["items"]] == ["cp"]
