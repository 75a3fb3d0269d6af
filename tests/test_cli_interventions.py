"""`attnshift patch` and `attnshift graft` in this process."""

from __future__ import annotations

import json

import pytest
from test_cli import attnshift, conflicts  # noqa: F401  (a fixture)

CHEAP = ("--limit", "3", "--max-new-tokens", "1")


@pytest.fixture(scope="module")
def run(made):
    return made("llama")


def test_patch_prints_writes_and_exits(attnshift, run, tmp_path):  # noqa: F811
    out = tmp_path / "patch.nc"
    ends = ("--source", run / "checkpoint-2", "--target", run / "checkpoint-4")
    done = attnshift("patch", *ends, *conflicts(run), "--parts", "attn,mlp", "-o", out, *CHEAP)
    assert done.code == 0
    assert "controls   clean" in done.out
    assert "prompts in" in done.out
    assert out.is_file()
    assert json.loads(out.with_suffix(".json").read_text())["parts"] == ["attn", "mlp"]
    facts = attnshift("patch", "--run", run, "--source", 2, "--target", 4, *conflicts(run), "--by", "layer", "--json",
                      "--no-generate", "-o", out, *CHEAP).json  # fmt: skip
    assert {cell["part"] for cell in facts["cells"]} == {"resid_pre", "resid_mid", "resid_post", "attn", "mlp", "z"}
    assert facts["manifest"]["by"] == ["layer"]


def test_graft_prints_writes_saves_and_exits(attnshift, run, tmp_path):  # noqa: F811
    ends = ("--run", run, "--source", 2, "--target", 4)
    options = ("--parts", "q,k,mlp:1", "--by", "part", "--search", "--criteria", "margin", "--share", ".1")
    place = ("--save", tmp_path / "saved", "-o", tmp_path)
    done = attnshift("graft", *ends, *conflicts(run), *options, *place, *CHEAP)
    assert done.code == 0
    assert "found      " in done.out
    assert (tmp_path / "saved" / "config.json").is_file()
    assert (tmp_path / "graft.nc").is_file()
    facts = attnshift(
        "graft", *ends, *conflicts(run), "--by", "part", "--set", "q,k", "--json", "-o", tmp_path, *CHEAP
    ).json
    assert facts["grafts"][0]["restoration_margin"] == 1
    assert facts["grafts"][1]["units"] == ["0.k", "0.q", "1.k", "1.q"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("patch", "--source", "7", "--target", "4"), "there is no step 7"),
        (("patch", "--source", "2", "--target", "4", "--parts", "heads"), "there is no part 'heads'"),
        (("patch", "--source", "2", "--target", "4", "--by", "token"), "isn't told apart by 'token'"),
        (("graft", "--source", "2", "--target", "4", "--parts", "q:9"), "there is no q in layer 9"),
        (("graft", "--source", "2", "--target", "4", "--share", "0", "--search"), "a search for 0"),
        (("graft", "--source", "2", "--target", "4", "--criteria", "loss", "--search"), "'loss' can't be restored"),
    ],
)
def test_bad_input_is_one_block_and_exit_2(attnshift, run, arguments, said, tmp_path):  # noqa: F811
    done = attnshift(arguments[0], "--run", run, *conflicts(run), *CHEAP, "-o", tmp_path / "x.nc", *arguments[1:])
    assert done.code == 2
    assert said in done.err
    assert "Traceback" not in done.err
    block = done.err[done.err.index("error:") :]
    assert len(block.strip().splitlines()) <= 4
