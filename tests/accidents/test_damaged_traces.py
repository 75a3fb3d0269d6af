"""Traces that something has damaged: told with the file and what to do, or made anew; never other numbers."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import h5py
import pytest
import xarray as xr
from command_line import is_one_block

import attnshift
from attnshift.errors import AttnshiftError
from attnshift.tracing.netcdf import read_attributes, read_netcdf, update_netcdf, write_netcdf
from attnshift.tracing.store import Store

STEP = "step-00000002.nc"


def words_of(run: Path, out: Path, *more: object) -> list[object]:
    data = ("--conflicts", run.parent / "cf.json", "--base", run.parent / "base", "--device", "cpu")
    options = ("--measures", "margin,generation,attention_mass", "--limit", "4", "--max-new-tokens", "3")
    return ["trace", "--ckpts", run, *data, *options, "--out", out, *more]


@pytest.fixture(scope="module")
def whole(made, tmp_path_factory) -> Path:
    """A trace that nothing may change."""
    run, out = made("llama"), tmp_path_factory.mktemp("whole") / "trace"
    items, base = attnshift.load_items(run.parent / "cf.json"), str(run.parent / "base")
    measures = ["margin", "generation", "attention_mass"]
    options = {"measures": measures, "limit": 4, "max_new_tokens": 3, "token_budget": 64}
    attnshift.trace(attnshift.open_series(run, base=base), items=items, out=out, **options)
    (out / "summary.nc").unlink()
    return out


@pytest.fixture
def copied(whole, tmp_path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "trace"))


def assert_same(here: Path, there: Path) -> None:
    mine, theirs = attnshift.open_trace(here), attnshift.open_trace(there)
    xr.testing.assert_identical(mine.load().drop_attrs(), theirs.load().drop_attrs())


DAMAGES = {
    "empty": lambda content: b"",
    "truncated": lambda content: content[: len(content) // 2],
    "its end cut off": lambda content: content[:-4000],
    "garbage": lambda content: bytes(range(256)) * 100,
    "zeros in the middle": lambda content: content[:8000] + bytes(4096) + content[12_096:],
    "a bit": lambda content: content[:9000] + bytes([content[9000] ^ 4]) + content[9001:],
}


@pytest.mark.parametrize(
    "damage", [d if d in ("truncated", "a bit") else pytest.param(d, marks=pytest.mark.slow) for d in DAMAGES]
)
@pytest.mark.parametrize("name", ["inputs.nc", STEP])
def test_a_damaged_file_is_named_and_what_is_said_to_do_mends_it(made, whole, copied, command, name, damage):
    file, run = copied / name, made("llama")
    file.write_bytes(DAMAGES[damage](file.read_bytes()))
    for words in (words_of(run, copied), ["report", copied, "-o", copied.parent / "r.html"], ["rescore", copied]):
        assert is_one_block(command(*words), file, "can't be read", "delete it and trace again")
    assert not (copied.parent / "r.html").exists()
    file.unlink()
    done = command(*words_of(run, copied, "--json"))
    assert done.code == 0, done.err
    assert done.json["computed"] == ([2] if name == STEP else [])
    assert Store(copied).token_budget() == 64
    assert_same(copied, whole)


@pytest.mark.parametrize("name", ["inputs.nc", STEP])
def test_no_bit_changes_unnoticed(copied, name):
    """HDF5 alone notices half of them, takes others for numbers and texts, and never comes back from some."""
    rng, file = random.Random(0), copied / name
    content = file.read_bytes()
    for _ in range(100):
        at = rng.randrange(len(content) - 26)  # what stands behind is the seal itself
        file.write_bytes(content[:at] + bytes([content[at] ^ (1 << rng.randrange(8))]) + content[at + 1 :])
        for read in (read_netcdf, read_attributes):
            with pytest.raises(AttnshiftError, match=f"{name} can't be read: it isn't what was written"):
                read(file)


def test_damage_is_noticed_where_a_single_variable_is_read_and_before_one_is_added(copied):
    trace = attnshift.open_trace(copied)
    file = copied / STEP
    content = file.read_bytes()
    file.write_bytes(content[:9000] + bytes([content[9000] ^ 4]) + content[9001:])
    with pytest.raises(AttnshiftError, match=STEP):
        trace.attention_mass.isel(step=1).load()
    with pytest.raises(AttnshiftError, match=STEP):
        update_netcdf(xr.Dataset({"more": ("item", [1.0] * 4)}), file)
    trace.attention_mass.isel(step=0).load()


def test_a_file_that_somebody_edited_is_read_as_it_is_now(copied):
    with h5py.File(copied / STEP, "r+") as file:
        file.attrs["remark"] = "looked at"
    assert read_attributes(copied / STEP)["remark"] == "looked at"
    assert attnshift.open_trace(copied).sizes["step"] == 3


def test_sealed_files_are_plain_netcdf_and_sealed_again(tmp_path):
    dataset = xr.Dataset({"a": ("x", [1.0, 2.0]), "t": ("x", ["ä", "b"])}, attrs={"k": "v"})
    write_netcdf(dataset, tmp_path / "f.nc")
    with xr.open_dataset(tmp_path / "f.nc", engine="h5netcdf") as opened:
        xr.testing.assert_identical(opened.load(), dataset)
    for number in range(3):
        update_netcdf(xr.Dataset({f"b{number}": ("x", [3, 4])}), tmp_path / "f.nc")
        assert (tmp_path / "f.nc").read_bytes().count(b"attnshift crc32") == 1
    assert set(read_netcdf(tmp_path / "f.nc").data_vars) == {"a", "t", "b0", "b1", "b2"}


@pytest.mark.parametrize("text", ["", "[1]", '{"two": "x"}', "\x00\xff"])
def test_damaged_failures_are_told_before_anything_is_computed(made, copied, command, text):
    (copied / "failures.json").write_bytes(text.encode("latin-1"))
    (copied / STEP).unlink()
    done = command(*words_of(made("llama"), copied))
    assert is_one_block(done, copied / "failures.json")
    assert not (copied / STEP).exists()
    with pytest.raises(AttnshiftError, match=r"failures\.json"):
        attnshift.open_trace(copied)


def test_a_folder_or_something_else_in_the_place_of_a_file(made, copied, command):
    (copied / STEP).unlink()
    (copied / STEP).mkdir()
    done = command(*words_of(made("llama"), copied))
    assert done.code == 2
    assert is_one_block(done, copied)


def test_where_nothing_can_be_written(made, tmp_path, command):
    """Root may write everywhere but below a file, and where the system says no."""
    (tmp_path / "file").write_text("")
    run = made("llama")
    for out in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/nowhere"), Path("/dev/null/t")):
        assert is_one_block(command(*words_of(run, out)), out, "--out")
