"""Files of figures: the numbers drawn, a page without a network, images where a browser is found."""

import csv
import json
import re
import shutil
import sys
import zlib

import numpy as np
import plotly.graph_objects as go
import pytest
from made_traces import made_trace

from attnshift.errors import AttnshiftError
from attnshift.figures.export import COLUMNS, _still, write_figure
from attnshift.figures.heatmaps import Heat, heat_maps
from attnshift.figures.plot import plot

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
needs_chromium = pytest.mark.skipif(not CHROMIUM, reason="no chromium or google-chrome on the PATH to draw images with")


@pytest.fixture(scope="module")
def figure() -> go.Figure:
    return plot(made_trace(), "inversion")


def rows(path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_page_asks_nothing_of_the_network(figure, tmp_path):
    page = write_figure(figure, tmp_path / "figure.html").read_text(encoding="utf-8")
    tags = re.findall(r"<(?:script|link|img|iframe|base)\b[^>]*>", page)
    assert tags
    assert not [tag for tag in tags if "src" in tag or "href" in tag]
    assert "cdn.plot.ly/plotly" not in page
    assert "mathjax.js" not in page.lower()
    assert "counterfactual accuracy" in page


def test_json_is_plotlys(figure, tmp_path):
    written = json.loads(write_figure(figure, tmp_path / "figure.json").read_text(encoding="utf-8"))
    assert written == json.loads(figure.to_json())
    assert go.Figure(written) == figure


@pytest.mark.parametrize("log_steps", [False, True])
def test_csv_holds_the_numbers_drawn_in_data_units(tmp_path, log_steps):
    path = tmp_path / "figure.csv"
    trace = made_trace()
    figure = plot(trace, "inversion", path, log_steps=log_steps)
    found = rows(path)
    assert tuple(found[0]) == COLUMNS
    lines = [curve for curve in figure.data if curve.meta == "line"]
    noise = [row for row in found if row["series"] == "checkpoint noise (95 %)"]
    assert [row["axis"] for row in noise] == ["accuracy (% of items)"] * 8 + ["attention mass (probability)"] * 8
    assert len(found) - len(noise) == sum(len(line.x) for line in lines)
    for line, half in zip((lines[0], lines[2]), (noise[:8], noise[8:]), strict=True):
        assert [int(row["x"]) for row in half] == trace["step"].values.tolist()
        assert [float(row["y"]) for row in half] == list(line.y)
        assert all(float(row["low"]) <= float(row["y"]) < float(row["high"]) for row in half)
    for line in lines:
        mine = [row for row in found if row["series"] == line.name]
        assert [int(row["x"]) for row in mine] == trace["step"].values.tolist()
        assert [float(row["y"]) for row in mine] == list(line.y)
        assert all(float(row["low"]) <= float(row["y"]) <= float(row["high"]) for row in mine)
    axes = {row["series"]: row["axis"] for row in found}
    assert axes["parametric accuracy"] == "accuracy (% of items)"
    assert axes["context mass"] == "attention mass (probability)"


def test_csv_leaves_missing_bounds_empty(tmp_path):
    plot(made_trace(), "gradients", tmp_path / "figure.csv")
    assert {(row["low"], row["high"]) for row in rows(tmp_path / "figure.csv")} == {("", "")}


def test_csv_has_the_ends_of_bars(tmp_path):
    figure = plot(made_trace(), "heldout", tmp_path / "figure.csv")
    path = figure.data[-1]
    mine = [row for row in rows(tmp_path / "figure.csv") if row["series"] == path.name]
    for row, y, up, down in zip(mine, path.y, path.error_y.array, path.error_y.arrayminus, strict=True):
        assert [float(row[name]) for name in ("low", "y", "high")] == pytest.approx([y - down, y, y + up])
    lying = go.Scatter(x=[1, 2], y=["a", "b"], name="mine", error_x={"array": [0.5, float("nan")]})
    write_figure(go.Figure(lying), tmp_path / "figure.csv")
    assert [(row["low"], row["high"]) for row in rows(tmp_path / "figure.csv")] == [("0.5", "1.5"), ("", "")]


def test_csv_of_labels_has_a_row_per_step_and_item(tmp_path):
    plot(made_trace(items=12), "labels", tmp_path / "figure.csv")
    found = rows(tmp_path / "figure.csv")
    assert len(found) == len({(row["x"], row["y"]) for row in found}) == 8 * 12
    assert {row["z"] for row in found} == {"1"}


def test_csv_of_anybodys_figure(tmp_path):
    write_figure(go.Figure(go.Scatter(x=[1, 2], y=[3, 4], name="mine")), tmp_path / "figure.csv")
    assert rows(tmp_path / "figure.csv")[1] == {
        "series": "mine", "axis": "", "x": "2", "y": "4", "low": "", "high": "", "z": "",
    }  # fmt: skip


def test_csv_of_maps_names_step_and_cell(tmp_path):
    values = np.array([[[1.0, np.nan]], [[3.0, 4.0]]])
    heat = Heat(values, [0, 1000], ["0"], ["a", "b"], "layer", "head", "what (unit)")
    write_figure(heat_maps(heat, "", ""), tmp_path / "figure.csv")
    found = [(row["series"], row["axis"], row["y"], row["x"], row["z"]) for row in rows(tmp_path / "figure.csv")]
    assert found == [
        ("step 0", "what (unit)", "0", "a", "1.0"),
        ("step 1,000", "what (unit)", "0", "a", "3.0"),
        ("step 1,000", "what (unit)", "0", "b", "4.0"),
    ]


def pixels_of(pdf: bytes) -> set[float]:
    """Points to a pixel, of everything in a pdf that is scaled: 72/96 where it isn't shrunk. Chromium draws at 0.24."""
    found = set()
    for stream in re.findall(rb"stream\r?\n(.*?)\r?\nendstream", pdf, re.DOTALL):
        text = zlib.decompressobj().decompress(stream) if stream.startswith(b"x") else b""
        found |= {round(0.24 * float(scale), 4) for scale in re.findall(rb"\n([\d.]+) 0 0 \1 ", text)}
    return found


@needs_chromium
@pytest.mark.parametrize(
    ("suffix", "start"),
    [
        ("pdf", b"%PDF"),
        pytest.param("png", b"\x89PNG", marks=pytest.mark.slow),
        pytest.param("svg", b"<svg", marks=pytest.mark.slow),
    ],
)
def test_images(figure, tmp_path, suffix, start):
    path = write_figure(figure, tmp_path / f"figure.{suffix}")
    assert path.read_bytes().startswith(start)
    assert suffix != "pdf" or 0.75 in pixels_of(path.read_bytes())
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_without_kaleido_the_remedy_is_named(figure, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "kaleido", None)
    with pytest.raises(AttnshiftError, match="kaleido isn't installed") as caught:
        write_figure(figure, tmp_path / "figure.pdf")
    assert "attnshift[figures]" in caught.value.remedy
    assert not list(tmp_path.iterdir())


def test_without_a_browser_the_remedy_is_named(figure, tmp_path, monkeypatch):
    pytest.importorskip("kaleido")
    monkeypatch.setenv("BROWSER_PATH", str(tmp_path / "no-browser"))
    with pytest.raises(AttnshiftError, match="Chromium") as caught:
        write_figure(figure, tmp_path / "figure.png")
    assert "plotly_get_chrome" in caught.value.remedy
    assert ".html" in caught.value.remedy
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["figure.gif", "figure", "html"])
def test_an_unknown_suffix_lists_the_known(figure, tmp_path, name):
    with pytest.raises(AttnshiftError, match="how to write") as caught:
        write_figure(figure, tmp_path / name)
    assert ".html, .json, .csv, .png, .pdf, .svg" in caught.value.expected


def test_a_place_that_cannot_be_written_is_named(figure, tmp_path):
    with pytest.raises(AttnshiftError, match="is no directory"):
        write_figure(figure, tmp_path / "nowhere" / "figure.json")
    (tmp_path / "taken.json").mkdir()
    with pytest.raises(AttnshiftError, match="can't be written"):
        write_figure(figure, tmp_path / "taken.json")
    assert [file.name for file in tmp_path.iterdir()] == ["taken.json"]


def test_a_failed_write_leaves_the_old_file(figure, tmp_path, monkeypatch):
    path = tmp_path / "figure.csv"
    path.write_text("old")
    monkeypatch.setattr("pathlib.Path.write_bytes", lambda *_: (_ for _ in ()).throw(OSError(28, "disk full")))
    with pytest.raises(AttnshiftError, match="disk full"):
        write_figure(figure, path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_on_paper_a_map_says_its_step_and_has_no_slider():
    values = np.arange(4.0).reshape(2, 1, 2)
    figure = heat_maps(Heat(values, [0, 1000], ["0"], ["a", "b"], "layer", "head", "what (unit)"), "", "")
    still = _still(figure)
    assert len(figure.layout.sliders) == 1
    assert not still.layout.sliders
    assert "step 1,000" in [note.text for note in still.layout.annotations]


@pytest.mark.slow
@needs_chromium
def test_an_svg_is_the_same_file_whenever_it_is_drawn(figure, tmp_path):
    first, again = (write_figure(figure, tmp_path / f"{name}.svg").read_bytes() for name in ("first", "again"))
    assert first == again
    ids = re.findall(rb'\bid="([^"]+)"', first)
    assert len(ids) == len(set(ids))
    used = re.findall(rb"url\('?#([^')]+)", first)
    assert used
    assert set(used) <= set(ids)
