"""A trace of a stranger: HDF5 can lead to other files and unfold beyond memory, and its attributes say anything."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from audit import opened, recorded
from command_line import is_one_block
from made_stores import made_store

import attnshift
from attnshift.errors import AttnshiftError
from attnshift.tracing import netcdf
from attnshift.tracing.store import Store

TEXTS = {0: [" Paris"] * 4, 50: [" Lyon"] * 4, 100: [" Graz"] * 4}
SECRET = "root:x:0:0"


@pytest.fixture
def trace(tmp_path) -> Path:
    return made_store(tmp_path / "trace", TEXTS).path


@pytest.fixture
def with_attention(tmp_path) -> Path:
    return made_store(tmp_path / "trace", TEXTS, attention=(2, 2)).path


@pytest.fixture
def outside(tmp_path) -> Path:
    """A file that isn't the trace's: text, and the same as an HDF5 file."""
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "passwd").write_text(SECRET * 20)
    with h5py.File(folder / "secret.h5", "w") as file:
        file["margin"] = np.frombuffer(SECRET.encode() * 4, np.uint8).astype(float)[:4]
    return folder


def external_link(file: h5py.File, outside: Path) -> None:
    del file["margin"]
    file["margin"] = h5py.ExternalLink(str(outside / "secret.h5"), "/margin")


def external_link_under_another_name(file: h5py.File, outside: Path) -> None:
    file["more"] = h5py.ExternalLink(str(outside / "secret.h5"), "/margin")


def raw_storage(file: h5py.File, outside: Path) -> None:
    del file["margin"]
    file.create_dataset("margin", (4,), np.uint8, external=[(str(outside / "passwd"), 0, 4)])


def virtual_array(file: h5py.File, outside: Path) -> None:
    del file["margin"]
    layout = h5py.VirtualLayout((4,), float)
    layout[:] = h5py.VirtualSource(outside / "secret.h5", "margin", (4,))
    file.create_virtual_dataset("margin", layout)


def soft_link(file: h5py.File, _: Path) -> None:
    file["more"] = h5py.SoftLink("/more")


def group(file: h5py.File, _: Path) -> None:
    file.create_group("more")["margin"] = h5py.ExternalLink("/etc/passwd", "/")


def named_type(file: h5py.File, _: Path) -> None:
    file["more"] = np.dtype("f8")


LEADING = [external_link, external_link_under_another_name, raw_storage, virtual_array, soft_link, group, named_type]


@pytest.mark.parametrize("name", ["inputs.nc", "step-00000050.nc"])
@pytest.mark.parametrize("leads", LEADING)
def test_an_array_that_is_kept_elsewhere_is_refused(command, trace, outside, leads, name, tmp_path):
    with h5py.File(trace / name, "a") as file:
        if "margin" not in file:
            file["margin"] = np.zeros(4)
        leads(file, outside)
    with recorded() as events:
        for words in (("plot", trace, "margin", "-o", tmp_path / "x.csv"), ("report", trace), ("rescore", trace)):
            done = command(*words)
            if words[0] == "rescore" and done.code == 0:
                continue  # it reads the texts alone
            assert is_one_block(done, name, "kept in this file")
            assert SECRET not in done.err
    assert not opened(events, outside)
    assert not (tmp_path / "x.csv").exists()


@pytest.mark.parametrize("leads", [external_link, raw_storage, virtual_array])
def test_what_is_read_later_and_by_name_too(with_attention, outside, leads):
    opened_before = attnshift.open_trace(with_attention)
    with h5py.File(Store(with_attention).file(50), "a") as file:
        leads(file, outside)
        del file["attention_mass"]
        file.move("margin", "attention_mass")
    with pytest.raises(AttnshiftError, match="kept in this file"):
        opened_before.attention_mass.values.sum()
    with pytest.raises(AttnshiftError, match="kept in this file"):
        Store(with_attention).read_variables(50, ["attention_mass"])


def test_another_shape_than_in_the_other_steps(with_attention):
    opened_before = attnshift.open_trace(with_attention)
    with h5py.File(Store(with_attention).file(50), "a") as file:
        del file["attention_mass"]
        file["attention_mass"] = np.zeros((1, 1, 1, 1))
    with pytest.raises(AttnshiftError, match=r"step-00000050.nc can't be read: its attention_mass is of shape"):
        opened_before.attention_mass.values.sum()


def test_a_bomb_is_not_unfolded(command, trace, monkeypatch):
    """A few hundred bytes that claim a terabyte."""
    file = trace / "step-00000050.nc"
    with h5py.File(file, "a") as inside:
        inside.create_dataset("bomb", (2**20, 2**17), np.float64, chunks=(2**10, 2**10), compression="gzip")
    assert file.stat().st_size < 200_000
    done = command("plot", trace, "margin")
    assert is_one_block(done, "step-00000050.nc", "1100 GB", "free")


def test_many_arrays_are_counted_together(trace, monkeypatch):
    monkeypatch.setattr(netcdf, "free_host_bytes", lambda: 2**29)
    with h5py.File(trace / "step-00000050.nc", "a") as inside:
        for i in range(8):
            inside.create_dataset(f"bomb{i}", (2**24,), np.float64, chunks=True, compression="gzip")
    with pytest.raises(AttnshiftError, match="memory"):
        attnshift.open_trace(trace)


DEEP = "[" * 100_000
SAYINGS = ["", "{", "[]", "3", "null", '"x"', DEEP, '{"a": NaN}', "9" * 5000, np.arange(3), h5py.Empty("f"), b"\xff"]


OF_A_STEP = ("recipe", "keys", "checkpoint_digest", "epoch", "dtype", "checkpoint")
OF_THE_INPUTS = ("recipe", "dropped", "notes", "token_budget", "known", "template", "grouping")


def opens_or_is_told(trace: Path, name: str) -> bool:
    try:
        attnshift.open_trace(trace)
        Store(trace).read_header(50)
    except AttnshiftError as error:
        return name not in error.problem
    return True


@pytest.mark.slow
@pytest.mark.parametrize("name", OF_A_STEP)
@pytest.mark.parametrize("value", SAYINGS, ids=range(len(SAYINGS)))
def test_an_attribute_of_a_step_that_says_nonsense(trace, name, value):
    with h5py.File(trace / "step-00000050.nc", "a") as file:
        file.attrs[name] = value
    is_text = isinstance(value, str) and name in ("checkpoint_digest", "dtype", "checkpoint")
    assert opens_or_is_told(trace, "step-00000050.nc") is is_text


@pytest.mark.slow
@pytest.mark.parametrize("name", OF_THE_INPUTS)
@pytest.mark.parametrize("value", SAYINGS, ids=range(len(SAYINGS)))
def test_an_attribute_of_the_inputs_that_says_nonsense(trace, name, value):
    with h5py.File(trace / "inputs.nc", "a") as file:
        file.attrs[name] = value
    if opens_or_is_told(trace, "inputs.nc"):
        is_text = isinstance(value, str) and name in ("known", "template", "grouping")
        assert is_text or (name, value) in (("dropped", "[]"), ("notes", "[]"))


@pytest.mark.parametrize("name", OF_A_STEP)
def test_attributes_that_a_step_lacks(command, trace, name, tmp_path):
    with h5py.File(trace / "step-00000050.nc", "a") as file:
        del file.attrs[name]
    for words in (("plot", trace, "margin", "-o", tmp_path / "x.json"), ("rescore", trace)):
        done = command(*words)
        assert done.code == 0 or is_one_block(done, "step-00000050.nc", f"its {name}"), done.err


def test_a_report_of_a_trace_that_states_nothing(command, trace, tmp_path):
    with h5py.File(trace / "inputs.nc", "a") as file:
        for name in OF_THE_INPUTS:
            file.attrs.pop(name, None)
    assert command("report", trace, "-o", tmp_path / "r.html").code == 0


@pytest.mark.parametrize("text", ["", "{", "[]", "3", DEEP, '{"x": 1}', '{"50": {}}', "9" * 5000, "\xff"])
def test_failures_that_are_none(command, trace, text, tmp_path):
    (trace / "failures.json").write_bytes(text.encode("latin-1"))
    done = command("report", trace, "-o", tmp_path / "r.html")
    assert done.code == 0 or is_one_block(done, "failures.json"), done.err


@pytest.mark.parametrize("large", ["3", "[]", DEEP, json.dumps({"x": {}}), json.dumps({"x": {"dims": 3}})])
def test_a_forged_summary_is_made_anew(command, trace, large, tmp_path):
    assert command("plot", trace, "margin", "-o", tmp_path / "x.json").code == 0
    with h5py.File(trace / "summary.nc", "a") as inside:
        inside.attrs["large"] = large
    done = command("plot", trace, "margin", "-o", tmp_path / "y.json")
    assert done.code == 0 or is_one_block(done, "summary.nc"), done.err


@pytest.mark.parametrize("name", ["step-٠٠٠٠٠٠٥٠.nc", "step-000000500000000000000000000000.nc", "step-00000007.nc"])
def test_names_of_steps(command, trace, name, tmp_path):
    shutil.copy(trace / "step-00000050.nc", trace / name)
    done = command("plot", trace, "margin", "-o", tmp_path / "x.json")
    assert done.code == 0 or is_one_block(done), done.err
    (trace / "step-00000009.nc").mkdir()
    assert is_one_block(command("plot", trace, "margin", "-o", tmp_path / "x.json"), "step-00000009.nc")
