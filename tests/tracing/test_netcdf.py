"""Our reader of netCDF files against xarray's."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import attnshift
from attnshift import AttnshiftError
from attnshift.tracing.netcdf import read_attributes, read_netcdf, write_netcdf


def by_xarray(path) -> xr.Dataset:
    with xr.open_dataset(path, engine="h5netcdf", mask_and_scale=False, decode_times=False) as opened:
        return opened.load()


@pytest.fixture
def dataset() -> xr.Dataset:
    rng = np.random.default_rng(0)
    return xr.Dataset(
        {
            "mass": (("item", "layer", "role"), rng.random((3, 2, 4)).astype(np.float32), {"unit": "probability"}),
            "ids": (("item", "position"), np.arange(15, dtype=np.int32).reshape(3, 5), {"flag_values": np.arange(3)}),
            "text": (("item",), np.array(["a", "", "ü ​𝄞"], object), {"unit": "text"}),
            "number": ((), np.float64(2.5), {"note": ""}),
            "nothing": (("example",), np.zeros(0)),
        },
        {
            "item": ["x", "y", "ü"],
            "layer": [0, 1],
            "role": ["bos", "context", "question", "pad"],
            "item_stratum": ("item", np.array(["s", "s", "t"], object)),
        },
        {"step": 3, "epoch": float("nan"), "recipe": '{"a": "1"}', "list": [1, 2]},
    )


def test_it_reads_what_xarray_reads(dataset, tmp_path):
    path = tmp_path / "cell.nc"
    write_netcdf(dataset, path)
    ours, theirs = read_netcdf(path), by_xarray(path)
    xr.testing.assert_identical(ours, theirs)
    assert {n: v.dtype for n, v in ours.variables.items()} == {n: v.dtype for n, v in theirs.variables.items()}
    assert set(ours.coords) == set(theirs.coords) == set(dataset.coords)
    for name in dataset.variables:
        np.testing.assert_array_equal(ours[name].values, dataset[name].values)
    assert read_attributes(path)["recipe"] == dataset.attrs["recipe"]


def test_a_real_trace_reads_alike(made, tmp_path):
    attnshift.trace(attnshift.open_series(made("llama")), out=tmp_path, limit=6, max_new_tokens=4, steps=[2])
    files = sorted(tmp_path.glob("*.nc"))
    assert len(files) == 3  # the inputs, the step, the summary
    for file in files:
        xr.testing.assert_identical(read_netcdf(file), by_xarray(file))


@pytest.mark.parametrize("content", [b"", b"garbage", b"\x89HDF\r\n\x1a\n" + b"\0" * 100])
def test_what_is_no_netcdf_file_is_named(content, tmp_path):
    path = tmp_path / "step-00000001.nc"
    path.write_bytes(content)
    for read in (read_netcdf, read_attributes):
        with pytest.raises(AttnshiftError, match=r"step-00000001\.nc can't be read"):
            read(path)
