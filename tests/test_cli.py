"""The command line, in this process: what it prints, writes and exits with."""

from __future__ import annotations

import json
import shutil
import socket
from pathlib import Path

import pytest
import xarray as xr
from command_line import Command, is_one_block
from tiny import alpaca_rows, conflict_rows

CHEAP = ("--measures", "margin", "--max-new-tokens", "2")


@pytest.fixture
def attnshift(command) -> Command:
    """``attnshift("inspect", run)`` runs the command line and says how it ended."""
    return command


@pytest.fixture(scope="module")
def run(made) -> Path:
    return made("llama")


@pytest.fixture(scope="module")
def lora(made) -> Path:
    return made("llama", lora=True)


@pytest.fixture
def copied(run, tmp_path) -> Path:
    return Path(shutil.copytree(run, tmp_path / "run"))


def data(run: Path) -> tuple[object, ...]:
    return "--conflicts", run.parent / "cf.json", "--ift", run.parent / "alpaca.json"


def conflicts(run: Path) -> tuple[object, ...]:
    return "--conflicts", run.parent / "cf.json"


def written(out: Path) -> list[str]:
    return sorted(file.name for file in out.glob("*.nc"))


def mtimes(out: Path) -> dict[str, int]:
    return {file.name: file.stat().st_mtime_ns for file in out.glob("step-*.nc")}


def write(path: Path, content: object) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def truncate(checkpoint: Path) -> None:
    weights = checkpoint / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])


# inspect


def test_inspect_prints_a_line_per_checkpoint(attnshift, run):
    done = attnshift("inspect", run)
    assert done.code == 0
    assert done.err == ""
    lines = done.out.splitlines()
    assert lines[0].split() == ["run", str(run)]
    rows = [line.split() for line in lines if "checkpoint-" in line and "full" in line]
    assert [row[:3] for row in rows] == [["2", "0.06", "full"], ["4", "0.12", "full"]]
    assert "no base" in done.out
    assert "--base" in done.out


def test_inspect_as_json(attnshift, run):
    facts = attnshift("inspect", run, "--base", run.parent / "base", "--json").json
    assert [c["step"] for c in facts["checkpoints"]] == [0, 2, 4]
    assert [c["epoch"] for c in facts["checkpoints"]] == [None, 0.0625, 0.125]
    assert facts["base"] == str(run.parent / "base")
    assert facts["tokenizer"] == str(run / "checkpoint-4")
    assert facts["aliases"] == facts["broken"] == {}
    assert len({c["digest"] for c in facts["checkpoints"]}) == 3
    assert all(c["bytes"] > 1000 for c in facts["checkpoints"])


def test_inspect_orders_steps_as_numbers_and_needs_no_trainer_state(attnshift, copied):
    (copied / "checkpoint-4").rename(copied / "checkpoint-10")
    for state in copied.glob("*/trainer_state.json"):
        state.unlink()
    facts = attnshift("inspect", copied, "--json").json
    assert [c["step"] for c in facts["checkpoints"]] == [2, 10]
    assert [c["epoch"] for c in facts["checkpoints"]] == [None, None]
    assert attnshift("inspect", copied).code == 0


def test_inspect_names_an_alias(attnshift, copied):
    shutil.copytree(copied / "checkpoint-4", copied / "final")
    facts = attnshift("inspect", copied, "--json").json
    assert facts["aliases"] == {"final": 4}
    assert [c["step"] for c in facts["checkpoints"]] == [2, 4]
    assert "final = step 4" in attnshift("inspect", copied).out


def test_inspect_of_adapters(attnshift, lora):
    facts = attnshift("inspect", lora, "--json").json
    assert [(c["step"], c["kind"]) for c in facts["checkpoints"]] == [(0, "full"), (2, "adapter"), (4, "adapter")]
    assert facts["base"] == str(lora.parent / "base")


def test_inspect_shows_what_is_broken(attnshift, copied):
    truncate(copied / "checkpoint-2")
    done = attnshift("inspect", copied)
    assert done.code == 0
    assert "can't be read" in done.out
    assert list(attnshift("inspect", copied, "--json").json["broken"]) == ["2"]


# trace


def test_trace_of_every_measure_then_again(attnshift, run, tmp_path):
    out = tmp_path / "t"
    command = ("trace", "--ckpts", run, *data(run), "--out", out, "--max-new-tokens", 2, "--base", run.parent / "base")
    done = attnshift(*command, "--json")
    assert done.code == 0, done.err
    assert written(out) == ["inputs.nc", "step-00000000.nc", "step-00000002.nc", "step-00000004.nc"]
    assert {k: done.json[k] for k in ("trace", "computed", "kept", "failed")} == {
        "trace": str(out),
        "computed": [0, 2, 4],
        "kept": [],
        "failed": {},
    }
    progress = [line for line in done.err.splitlines() if line.startswith("ckpt ")]
    assert [line.split(" · ")[:2] for line in progress] == [
        ["ckpt 1/3", "step 0"],
        ["ckpt 2/3", "step 2"],
        ["ckpt 3/3", "step 4"],
    ]
    assert "context " in progress[0]
    before = mtimes(out)
    again = attnshift(*command)
    assert again.code == 0
    assert "0 checkpoints measured, 3 kept" in again.out
    assert f"trace: {out}" in again.out
    assert "ckpt " not in again.err
    assert mtimes(out) == before


def test_trace_with_nothing_but_a_run(attnshift, copied):
    done = attnshift("trace", "--ckpts", copied, "--limit", 5, *CHEAP)
    assert done.code == 0, done.err
    assert written(copied / "trace") == ["inputs.nc", "step-00000002.nc", "step-00000004.nc"]
    assert "the sets that ship" in done.err
    with xr.open_dataset(copied / "trace" / "inputs.nc", engine="h5netcdf") as inputs:
        assert inputs.sizes["item"] == inputs.sizes["example"] == 5
    assert attnshift("inspect", copied, "--json").json["aliases"] == {}  # the trace is no part of the run


def test_examples_alone(attnshift, run, tmp_path):
    out = tmp_path / "t"
    done = attnshift("trace", "--ckpts", run, "--ift", run.parent / "alpaca.json", "--measures", "loss", "--out", out)
    assert done.code == 0, done.err
    assert "examples by" in done.out or "critical" in done.out
    with xr.open_dataset(out / "step-00000004.nc", engine="h5netcdf") as cell:
        assert set(cell.data_vars) == {"loss"}


def test_several_files_of_a_kind(attnshift, run, tmp_path):
    more = write(tmp_path / "more.json", [row | {"question": row["question"] + "!"} for row in conflict_rows(3)])
    facts = attnshift(
        "trace",
        "--ckpts",
        run,
        *conflicts(run),
        "--conflicts",
        more,
        *CHEAP,
        "--out",
        tmp_path / "t",
        "--dry-run",
        "--json",
    ).json
    assert (facts["items"], facts["examples"]) == (13, 0)


@pytest.mark.parametrize(
    ("options", "steps"),
    [
        (("--steps", "0,4"), [0, 4]),
        (("--steps", "1-3"), [2]),
        (("--steps", "0, 2-9"), [0, 2, 4]),
        (("--every", "2"), [0, 4]),
        (("--every", "5"), [0, 4]),
        (("--every", "2", "--steps", "2-4"), [2, 4]),
        ((), [0, 2, 4]),
    ],
)
def test_steps(attnshift, run, tmp_path, options, steps):
    base = ("--base", run.parent / "base")
    done = attnshift(
        "trace",
        "--ckpts",
        run,
        *conflicts(run),
        *CHEAP,
        *base,
        *options,
        "--out",
        tmp_path / "t",
        "--dry-run",
        "--json",
    )
    assert done.json["steps"] == steps


def test_steps_are_the_ones_computed(attnshift, run, tmp_path):
    done = attnshift("trace", "--ckpts", run, *conflicts(run), *CHEAP, "--steps", 4, "--out", tmp_path, "--json")
    assert done.json["computed"] == [4]
    assert written(tmp_path) == ["inputs.nc", "step-00000004.nc"]


def test_limit_and_seed_choose_the_datapoints(attnshift, run, tmp_path):
    def ids(seed: int) -> list[str]:
        out = tmp_path / str(seed)
        more = ("--limit", 3, "--seed", seed, "--steps", 4, "--out", out)
        assert attnshift("trace", "--ckpts", run, *conflicts(run), *CHEAP, *more).code == 0
        with xr.open_dataset(out / "inputs.nc", engine="h5netcdf") as inputs:
            return inputs["item"].values.tolist()

    assert [len(ids(seed)) for seed in (0, 1, 2)] == [3, 3, 3]
    assert len({tuple(ids(seed)) for seed in (0, 1, 2)}) > 1


def test_other_columns(attnshift, run, tmp_path):
    rows = [{"passage": r["context"], "ask": r["question"], "new": r["answer"], "old": r["memory_answer"]}
            for r in conflict_rows()]  # fmt: skip
    file = write(tmp_path / "other.json", rows)
    mapping = ("context=passage", "question=ask", "context_answer=new", "parametric_answer=old")
    named = [word for pair in mapping for word in ("--map", pair)]
    done = attnshift(
        "trace", "--ckpts", run, "--conflicts", file, *named, *CHEAP, "--out", tmp_path / "t", "--dry-run", "--json"
    )
    assert done.code == 0, done.err
    assert done.json["items"] == 10
    assert rows[0]["passage"] in "".join(part["text"] for part in done.json["prompts"]["item"])


def test_a_template_of_ones_own(attnshift, run, tmp_path):
    file = write(tmp_path / "mine.jinja", "{% if context %}READ {{ context }}\n{% endif %}ASK {{ question }}\nSAY")
    done = attnshift(
        "trace",
        "--ckpts",
        run,
        *conflicts(run),
        *CHEAP,
        "--template",
        file,
        "--out",
        tmp_path / "t",
        "--dry-run",
        "--json",
    )
    assert done.code == 0, done.err
    assert done.json["template"]["name"] == str(file)
    whole = "".join(part["text"] for part in done.json["prompts"]["item"])
    assert "READ In 2030" in whole
    assert whole.endswith("SAY")
    assert "READ" not in "".join(part["text"] for part in done.json["prompts"]["item_closed_book"])


def test_the_manifest_is_honoured(attnshift, copied):
    write(copied / "mine.json", conflict_rows(4))
    write(copied / "ift.json", alpaca_rows(6))
    write(copied / "mine.jinja", "{{ context }} {{ question }} =>")
    told = {"conflicts": "mine.json", "ift": ["ift.json"], "template": "mine.jinja", "max_new_tokens": 3}
    write(copied / "attnshift.json", told)
    command = ("trace", "--ckpts", copied, "--measures", "margin,generation", "--steps", 4)
    facts = attnshift(*command, "--dry-run", "--json").json
    assert (facts["items"], facts["examples"]) == (4, 6)
    assert facts["template"]["name"] == str(copied / "mine.jinja")
    done = attnshift(*command)
    assert done.code == 0, done.err
    assert "sets that ship" not in done.err
    with xr.open_dataset(copied / "trace" / "step-00000004.nc", engine="h5netcdf") as cell:
        assert json.loads(cell.attrs["recipe"])["max_new_tokens"] == "3"
    # What the user names goes before it.
    file = write(copied.parent / "cf.json", conflict_rows(2))
    more = ("--conflicts", file, "--template", "plain", "--out", copied.parent / "t")
    facts = attnshift(*command, *more, "--dry-run", "--json").json
    assert (facts["items"], facts["examples"], facts["template"]["name"]) == (2, 0, "plain")


def test_dry_run_as_text_writes_nothing(attnshift, run, tmp_path):
    out = tmp_path / "t"
    done = attnshift("trace", "--ckpts", run, *data(run), "--out", out, "--dry-run")
    assert done.code == 0, done.err
    assert not out.exists()
    assert not (run / "trace").exists()
    lines = done.out.splitlines()
    starts = ["run ", "trace ", "steps ", "to do ", "data ", "measures ", "template ", "item ", "item_closed_book ",
              "context_answer: ", "parametric_answer: ", "example ", "example_closed_book ", "left out ", "device ",
              "memory ", "time ", "disk "]  # fmt: skip
    for start in starts:
        assert any(line.startswith(start) for line in lines), start
    for role in ("context", "question", "template", "answer"):
        assert any(line.startswith(f"  {role} ") for line in lines), role
    assert "10 conflict items, 32 examples" in done.out


def test_dry_run_as_json(attnshift, run, tmp_path):
    from transformers import AutoTokenizer

    done = attnshift("trace", "--ckpts", run, *data(run), "--out", tmp_path / "t", "--dry-run", "--json")
    facts = done.json
    assert list(tmp_path.iterdir()) == []
    assert facts["steps"] == [2, 4]
    assert facts["done"] == facts["dropped"] == []
    assert min(facts["memory_bytes"], facts["disk_bytes"], facts["parameters"]) > 1000
    assert facts["seconds_per_checkpoint"] >= 0
    prompts, row = facts["prompts"], conflict_rows()[0]
    answer = prompts["context_answer"]
    tokenizer = AutoTokenizer.from_pretrained(run / "checkpoint-4")
    assert tokenizer.decode(answer["ids"]).strip() == answer["text"].strip() == row["answer"]
    assert prompts["parametric_answer"]["text"].strip() == row["memory_answer"]
    whole = "".join(part["text"] for part in prompts["item"])
    assert row["context"] in whole
    assert [part["text"].strip() for part in prompts["item"] if part["role"] == "question"] == [row["question"]]
    roles = {part["role"] for part in prompts["item"]}
    assert {"context", "question", "template"} <= roles
    assert "answer" not in roles
    assert "context" not in {part["role"] for part in prompts["item_closed_book"]}
    assert "answer" in {part["role"] for part in prompts["example"]}
    assert sum(part["tokens"] for part in prompts["item"]) > sum(p["tokens"] for p in prompts["item_closed_book"])


def test_dry_run_knows_what_is_done(attnshift, lora, tmp_path):
    command = ("trace", "--ckpts", lora, *conflicts(lora), *CHEAP, "--out", tmp_path)
    assert attnshift(*command, "--steps", "0,2").code == 0
    facts = attnshift(*command, "--dry-run", "--json").json
    assert (facts["steps"], facts["done"]) == ([0, 2, 4], [0, 2])
    assert "to do      1: 4" in attnshift(*command, "--dry-run").out
    assert attnshift(*command, "--json").json["computed"] == [4]


def test_contradicting_the_stored_part_is_refused(attnshift, run, tmp_path):
    command = ("trace", "--ckpts", run, *conflicts(run), "--measures", "margin", "--steps", 4, "--out", tmp_path)
    assert attnshift(*command, "--max-new-tokens", 2).code == 0
    assert is_one_block(attnshift(*command, "--max-new-tokens", 3), "max_new_tokens: 2 there, 3 now", "--out")


# Bad input


@pytest.fixture
def place(run, tmp_path) -> Path:
    """A folder with everything that can be wrong with a file."""
    write(tmp_path / "empty.json", "[]")
    write(tmp_path / "empty.jsonl", "")
    write(tmp_path / "broken.json", "[{")
    write(tmp_path / "columns.json", [{"foo": "a", "bar": "b"}])
    write(tmp_path / "data.xlsx", "PK")
    write(tmp_path / "swallows.jinja", "{{ question }} =>")
    write(tmp_path / "in_the_way", "")
    (tmp_path / "nothing").mkdir()
    shutil.copytree(run, tmp_path / "mute")
    for file in [*(tmp_path / "mute").rglob("*token*"), *(tmp_path / "mute").rglob("*.jinja")]:
        file.unlink()
    return tmp_path


@pytest.mark.parametrize(
    ("words", "quoted"),
    [
        ("inspect {place}/absent", ("absent", "run directory")),
        ("inspect {place}/nothing", ("nothing", "checkpoint-500/")),
        ("inspect {place}/in_the_way", ("in_the_way", "is a file")),
        ("inspect {run} --base {place}/absent", ("absent", "--base")),
        ("trace --ckpts {place}/absent", ("absent", "run directory")),
        ("trace --ckpts {place}/nothing", ("nothing", "checkpoint-500/")),
        ("trace --ckpts {place}/mute --conflicts {cf}", ("mute", "--tokenizer")),
        ("trace --ckpts {run} --conflicts {cf} --tokenizer {place}/nothing", ("nothing", "--tokenizer")),
        ("trace --ckpts {run} --conflicts {place}/absent.json", ("absent.json",)),
        ("trace --ckpts {run} --conflicts {place}/empty.json", ("empty.json",)),
        ("trace --ckpts {run} --ift {place}/empty.jsonl", ("empty.jsonl",)),
        ("trace --ckpts {run} --ift {place}/broken.json", ("broken.json",)),
        ("trace --ckpts {run} --conflicts {place}/columns.json", ("columns.json", "foo, bar", "--map")),
        ("trace --ckpts {run} --ift {place}/columns.json", ("columns.json", "foo, bar", "--map")),
        ("trace --ckpts {run} --conflicts {place}/data.xlsx", ("data.xlsx", ".jsonl")),
        (
            "trace --ckpts {run} --conflicts {cf} --template {place}/swallows.jinja",
            ("swallows the context", "--template"),
        ),
        ("trace --ckpts {run} --conflicts {cf} --template nonsense", ("'nonsense'", "alpaca")),
        ("trace --ckpts {run} --conflicts {cf} --template chat", ("chat template", "--template")),
        ("trace --ckpts {run} --conflicts {cf} --measures margin,nonsense", ("'nonsense'", "attention_mass")),
        ("trace --ckpts {run} --conflicts {cf} --measures loss", ("loss", "--ift")),
        ("trace --ckpts {run} --conflicts {cf} --steps 3", ("step 3", "2, 4")),
        ("trace --ckpts {run} --conflicts {cf} --steps abc", ("'abc'", "0,100,500-2000")),
        ("trace --ckpts {run} --conflicts {cf} --steps 2-x", ("'2-x'", "0,100,500-2000")),
        ("trace --ckpts {run} --conflicts {cf} --steps ²", ("'²'", "0,100,500-2000")),
        ("trace --ckpts {run} --conflicts {cf} --steps 5-9", ("'5-9'", "2, 4")),
        ("trace --ckpts {run} --conflicts {cf} --steps ,", ("','", "2, 4")),
        ("trace --ckpts {run} --conflicts {cf} --dtype int3", ("'int3'", "bfloat16")),
        ("trace --ckpts {run} --conflicts {cf} --device cuda:99", ("'cuda:99'", "cpu")),
        ("trace --ckpts {run} --conflicts {cf} --device nonsense", ("'nonsense'", "cpu")),
        ("trace --ckpts {run} --conflicts {cf} --rows nonsense", ("'nonsense'", "answer")),
        ("trace --ckpts {run} --conflicts {cf} --backend cloud", ("'cloud'", "local, ray, slurm")),
        ("trace --ckpts {run} --conflicts {cf} --backend ray --cluster address=nowhere", ("'nowhere'", "host:port")),
        ("trace --ckpts {run} --conflicts {cf} --cluster gpus", ("'gpus'", "key=value")),
        ("trace --ckpts {run} --conflicts {cf} --workers 2 --device auto:1", ("--workers 2", "--workers 1")),
        ("trace --ckpts {run} --map context=passage", ("--map", "--conflicts")),
        ("trace --ckpts {run} --conflicts {cf} --map nonsense=question", ("'nonsense=question'", "context_answer")),
        ("trace --ckpts {run} --conflicts {cf} --map question", ("'question'", "field=column")),
        ("trace --ckpts {run} --conflicts {cf} --map question=absent", ("'absent'", "--map question=COLUMN")),
        ("trace --ckpts {run} --conflicts {cf} --out {place}/in_the_way", ("in_the_way", "--out")),
        ("trace --ckpts {run} --conflicts {cf} --out {place}/in_the_way/t", ("in_the_way", "--out")),
        ("plot {place}/nothing margin -o {place}/x.html", ("nothing", "attnshift trace")),
        ("plot {place}/nothing nonsense", ("'nonsense'", "inversion")),
        ("plot {place}/nothing", ("TRACE FIGURE",)),
    ],
)
def test_bad_input_is_told_in_one_block(attnshift, run, place, words, quoted):
    names = {"run": run, "place": place, "cf": run.parent / "cf.json"}
    assert is_one_block(attnshift(*(word.format(**names) for word in words.split())), *quoted)
    assert not (run / "trace").exists()
    assert not (place / "x.html").exists()


@pytest.mark.parametrize(
    ("words", "quoted"),
    [
        ("trace --ckpts x --nonsense", "--nonsense"),
        ("trace", "--ckpts"),
        ("trace --ckpts x --limit 0", "--limit"),
        ("trace --ckpts x --every two", "--every"),
        ("nonsense", "nonsense"),
        ("inspect", "'run'"),
    ],
)
def test_wrong_usage(attnshift, words, quoted):
    done = attnshift(*words.split())
    assert done.code == 2
    assert done.out == ""
    assert quoted in done.err
    assert done.err.startswith("Usage: attnshift")
    assert "Traceback" not in done.err


def test_help_explains_every_command(attnshift):
    done = attnshift("--help")
    assert done.code == 0
    for name in ("inspect", "trace", "plot"):
        assert f"  {name} " in done.out
        assert attnshift(name, "--help").code == 0


def test_debug_shows_a_traceback(attnshift, tmp_path):
    done = attnshift("inspect", tmp_path / "absent", "--debug")
    assert done.code == 2
    assert "Traceback (most recent call last)" in done.err
    assert "error: " in done.err


def test_a_bug_is_called_one(attnshift, run, monkeypatch):
    def breaks(*_: object, **__: object) -> None:
        raise ZeroDivisionError("of ours")

    monkeypatch.setattr("attnshift.checkpoints.run.find_run", breaks)
    done = attnshift("inspect", run)
    assert done.code == 1
    assert "ZeroDivisionError: of ours" in done.err
    assert "--debug" in done.err
    assert "Traceback" not in done.err


# Checkpoints that fail


def test_a_truncated_checkpoint_fails_alone_and_can_be_mended(attnshift, run, copied, tmp_path):
    out = tmp_path / "t"
    command = ("trace", "--ckpts", copied, *conflicts(run), *CHEAP, "--base", run.parent / "base", "--out", out)
    truncate(copied / "checkpoint-2")
    done = attnshift(*command)
    assert done.code == 1
    assert "step 2 failed" in done.err
    assert "checkpoint-2" in done.err
    assert written(out) == ["inputs.nc", "step-00000000.nc", "step-00000004.nc"]
    before = mtimes(out)
    shutil.copy(run / "checkpoint-2" / "model.safetensors", copied / "checkpoint-2")
    done = attnshift(*command, "--json")
    assert done.code == 0, done.err
    assert (done.json["computed"], done.json["kept"], done.json["failed"]) == ([2], [0, 4], {})
    assert before.items() <= mtimes(out).items()


def test_all_truncated_is_bad_input(attnshift, run, copied, tmp_path):
    for step in (2, 4):
        truncate(copied / f"checkpoint-{step}")
    assert is_one_block(attnshift("trace", "--ckpts", copied, *conflicts(run), "--out", tmp_path / "t"), copied)
    assert not (tmp_path / "t").exists()


def test_a_hub_name_inside_a_run_is_never_fetched(attnshift, lora, tmp_path, monkeypatch):
    copied = Path(shutil.copytree(lora, tmp_path / "run"))
    for file in copied.glob("*/adapter_config.json"):
        write(file, json.loads(file.read_text()) | {"base_model_name_or_path": "someone/some-model"})
    attempts = []

    def connect(_: socket.socket, address: object) -> None:
        attempts.append(address)
        raise OSError("no network in tests")

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(socket.socket, "connect", connect)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *address, **_: connect(socket.socket(), address))
    for command in (("inspect", copied), ("trace", "--ckpts", copied, *conflicts(lora))):
        assert is_one_block(attnshift(*command), "'someone/some-model'", "--base")
    assert not attempts
    done = attnshift("trace", "--ckpts", copied, *conflicts(lora), "--base", lora.parent / "base", *CHEAP)
    assert done.code == 0, done.err
    assert not attempts


# Interrupted


def test_interrupted_keeps_what_is_done_and_resumes(attnshift, run, tmp_path, monkeypatch):
    from attnshift.tracing import cell

    real, calls = cell.observe, []

    def interrupted(*arguments: object) -> object:
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*arguments)

    command = ("trace", "--ckpts", run, *conflicts(run), *CHEAP, "--base", run.parent / "base", "--out", tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(cell, "observe", interrupted)
        done = attnshift(*command)
    assert done.code == 130
    assert "interrupted" in done.err
    assert "same command" in done.err
    assert "Traceback" not in done.err
    assert written(tmp_path) == ["inputs.nc", "step-00000000.nc"]
    before = mtimes(tmp_path)
    resumed = attnshift(*command, "--json").json
    assert (resumed["computed"], resumed["kept"]) == ([2, 4], [0])
    assert before.items() <= mtimes(tmp_path).items()


# plot


@pytest.fixture(scope="module")
def traced(run, tmp_path_factory) -> Path:
    from attnshift import load_items, open_series, trace

    out = tmp_path_factory.mktemp("traced")
    trace(open_series(run), items=load_items(run.parent / "cf.json"), measures=["margin"], out=out)
    return out


@pytest.mark.parametrize("suffix", ["html", "json", "csv"])
def test_plot_writes_what_the_suffix_says(attnshift, traced, tmp_path, suffix):
    file = tmp_path / f"x.{suffix}"
    done = attnshift("plot", traced, "margin", "-o", file)
    assert done.code == 0, done.err
    assert done.out == f"{file}\n"
    text = file.read_text(encoding="utf-8")
    if suffix == "html":
        assert "plotly" in text
    elif suffix == "json":
        assert json.loads(text)["data"]
    else:
        assert text.startswith("series,axis,x,y,low,high,z\n")
        assert {line.split(",")[-5] for line in text.splitlines()[1:]} >= {"2", "4"}


def test_plot_without_a_file_is_a_page_here(attnshift, traced, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert attnshift("plot", traced, "margin", "--log-steps").out == "margin.html\n"
    assert (tmp_path / "margin.html").is_file()


def test_plot_lists_its_figures(attnshift):
    done = attnshift("plot", "--list")
    assert done.code == 0
    names = [line.split()[0] for line in done.out.splitlines()]
    assert names[:4] == ["inversion", "losses", "gradients", "margin"]
    assert {"labels", "attention_heads", "push", "quartiles", "benchmark", "arms", "theory"} < set(names)
    facts = json.loads(attnshift("plot", "--list", "--json").out)
    assert list(facts) == names
    assert facts["gradients"]["reads"] == ["gradient_norm"]
    assert facts["arms"]["of"] == "traces"


def test_plot_lists_what_a_trace_lacks(attnshift, traced):
    assert "it has no gradient_norm" in attnshift("plot", traced, "--list").out
    facts = json.loads(attnshift("plot", traced, "--list", "--json").out)
    assert facts["margin"]["lacks"] == []
    assert "attention_mass" in facts["inversion"]["lacks"]


def test_plot_overlays_traces_by_name(attnshift, traced, tmp_path):
    again = f"again={traced}"
    done = attnshift("plot", traced, "arms", "--with", again, "-o", tmp_path / "x.json")
    assert is_one_block(done, "counterfactual_accuracy", traced.name)
    assert is_one_block(attnshift("plot", again, "arms", "--with", again), "called 'again'", "NAME=DIR")
    assert is_one_block(attnshift("plot", traced, "margin", "--with", again), "margin is drawn of one trace")


def test_plot_draws_for_a_column(attnshift, traced, tmp_path):
    file = tmp_path / "x.json"
    assert attnshift("plot", traced, "margin", "--width", "one", "--smooth", 3, "-o", file).code == 0
    assert json.loads(file.read_text())["layout"]["width"] == 312


def test_plot_refuses_what_it_cannot_draw(attnshift, traced, tmp_path):
    assert is_one_block(attnshift("plot", traced, "nonsense"), "'nonsense'", "margin")
    assert is_one_block(attnshift("plot", "nonsense"), "TRACE FIGURE")
    assert is_one_block(attnshift("plot", traced, "margin", "--width", "three"), "'three'", "screen, two, one")
    assert is_one_block(attnshift("plot", traced, "margin", "--step", 3), "margin has no option 'step'")
    assert is_one_block(attnshift("plot", traced, "margin", "-o", tmp_path / "x.docx"), "x.docx", ".html")
    assert is_one_block(attnshift("plot", traced, "margin", "-o", tmp_path / "absent" / "x.csv"), "absent")
    assert is_one_block(attnshift("plot", traced, "gradients", "-o", tmp_path / "x.csv"), "gradient_norm")
    assert list(tmp_path.iterdir()) == []
