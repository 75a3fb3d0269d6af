"""Figures as they stand in a column: nothing over anything else, nothing cut off, no letter too small to print."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import plotly
import pytest
import xarray as xr
from made_results import contributions, grafted, patched
from made_traces import made_trace, with_everything

from attnshift.figures.benchmark import _free_side
from attnshift.figures.export import _still
from attnshift.figures.fit import fit
from attnshift.figures.heatmaps import Heat, heat_maps, without_slider
from attnshift.figures.knockout import _free_sides
from attnshift.figures.phases import Mark
from attnshift.figures.plot import FIGURES, plot
from attnshift.figures.series import StepAxis, panels
from attnshift.figures.theme import SIZES
from attnshift.figures.ticks import padded

sys.path.insert(0, str(Path(__file__).parents[1] / "stats"))
from theory_traces import theory_trace

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
SMALLEST = 8  # pixels, 6 pt

LAID_OUT = """async (spec) => {
  const place = document.getElementById('place');
  await Plotly.newPlot(place, spec.data, spec.layout, { staticPlot: true });
  const layout = place._fullLayout, size = layout._size, at = place.getBoundingClientRect();
  const box = (node) => { const r = node.getBoundingClientRect();
    return { left: r.left - at.left, right: r.right - at.left, top: r.top - at.top, bottom: r.bottom - at.top } };
  const upright = (node) => { const turn = /rotate\\((-?[\\d.]+)/.exec(node.getAttribute('transform') || '');
    return !turn || Math.abs(turn[1]) % 90 === 0 };
  const texts = [...place.querySelectorAll('text')].filter((node) => node.textContent.trim() && upright(node))
    .map((node) => ({ text: node.textContent, size: parseFloat(getComputedStyle(node).fontSize), ...box(node) }));
  const axes = Object.keys(layout).filter((key) => /^yaxis\\d*$/.test(key));
  const panels = axes.map((key) => layout[key].domain).map(([low, high]) => ({
    left: size.l, right: size.l + size.w, top: size.t + size.h * (1 - high), bottom: size.t + size.h * (1 - low) }));
  const legends = [...place.querySelectorAll('g.legend, g.legend2, g.legend3')].map(box);
  return { texts, panels, legends, width: layout.width, height: layout.height };
}"""


def over(one: dict[str, float], other: dict[str, float], slack: tuple[float, float]) -> bool:
    """Whether two boxes cover each other by more than the slack, along x and y in pixels."""
    wide = min(one["right"], other["right"]) - max(one["left"], other["left"])
    tall = min(one["bottom"], other["bottom"]) - max(one["top"], other["top"])
    return wide > slack[0] and tall > slack[1]


@pytest.fixture(scope="module")
def trace() -> xr.Dataset:
    made = with_everything(made_trace(items=60))
    return made.assign_coords(epoch=("step", made["step"].values / 700))


@pytest.fixture(scope="module")
def page() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api")
    if not CHROMIUM:
        pytest.skip("no chromium or google-chrome on the PATH to lay figures out with")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        tab = browser.new_page()
        tab.set_default_timeout(60_000)
        tab.set_content("<div id='place'></div>")
        tab.add_script_tag(path=Path(plotly.__file__).parent / "package_data" / "plotly.min.js")
        yield tab
        browser.close()


def drawn_of(name: str, trace: xr.Dataset) -> Any:
    """Something that has the numbers for a figure."""
    if name == "forecast":
        return theory_trace(noise=0.2)
    if FIGURES[name].of == "trace":
        made = next((one for one in (trace, contributions()) if set(FIGURES[name].reads) <= set(one)), None)
        return made if made is not None else pytest.skip(f"no made-up trace has {', '.join(FIGURES[name].reads)}")
    arms = {"full": trace, "without the quarter that was known": made_trace(seed=2), "context only": made_trace(seed=3)}
    return {"nothing": None, "patch": patched(), "graft": grafted(), "traces": arms}[FIGURES[name].of]


@pytest.mark.slow
@pytest.mark.parametrize("width", ["one", "two"])
@pytest.mark.parametrize("name", FIGURES)
def test_nothing_covers_anything_and_nothing_is_cut_off(page, trace, name, width):
    log = {"log_steps": True} if "log_steps" in FIGURES[name].options else {}
    figure = plot(drawn_of(name, trace), name, width=width, **log)
    found = page.evaluate(LAID_OUT, json.loads(_still(figure).to_json()))
    assert found["texts"]
    assert found["width"] == SIZES[width].width
    texts = found["texts"]
    cut = [
        one["text"]
        for one in texts
        if one["left"] < -1
        or one["top"] < -1
        or one["right"] > found["width"] + 1
        or one["bottom"] > found["height"] + 1
    ]
    assert not cut
    assert [one["text"] for one in texts if one["size"] < SMALLEST] == []
    pairs = [(a["text"], b["text"]) for n, a in enumerate(texts) for b in texts[n + 1 :] if over(a, b, (1.5, 3))]
    assert not pairs
    assert not [legend for legend in found["legends"] for panel in found["panels"] if over(legend, panel, (1, 1))]


def test_words_beside_panels_are_left_out_where_they_would_take_a_columns_width(trace):
    wide, narrow = (plot(trace, "margin", width=width).layout for width in ("two", "one"))
    told = "".join(note.text for note in wide.annotations)
    assert "context preferred above" in told
    assert "context preferred above" not in "".join(note.text for note in narrow.annotations)
    assert narrow.margin.r < 0.1 * narrow.width
    assert "above 0 the context is preferred" in " ".join((FIGURES["margin"].draw.__doc__ or "").split())


def test_a_colour_bars_title_breaks_where_it_is_longer_than_the_bar():
    def title(unit: str, rows: int, width: str) -> str:
        heat = Heat(np.ones((1, rows, 2)), (), [str(row) for row in range(rows)], ["a", "b"], "layer", "head", unit)
        return fit(heat_maps(heat, "", ""), SIZES[width]).layout.coloraxis.colorbar.title.text

    assert title("share of the squared norm (%)", 2, "one") == "share of the<br>squared norm (%)"
    assert title("share of the squared norm (%)", 16, "screen") == "share of the squared norm (%)"
    assert title("margin (nats)", 2, "one") == "margin (nats)"
    assert title("averylongwordwithoutanyspacesinitatall", 2, "one") == "averylongwordwithoutanyspacesinitatall"


@pytest.mark.parametrize("width", ["screen", "two", "one"])
def test_without_its_slider_a_map_is_as_high_as_before_and_its_step_has_room(trace, width):
    moving = plot(trace, "attention_heads", width=width)
    still, printed = without_slider(moving), _still(moving)
    inner = {round(one.layout.height - one.layout.margin.t - one.layout.margin.b) for one in (moving, still, printed)}
    assert len(inner) == 1
    assert not still.layout.sliders
    assert still.layout.height < moving.layout.height
    assert printed.layout.margin.t >= 24


def marks(*placed: tuple[float, str]) -> dict[str, str]:
    axis = StepAxis(np.arange(0, 101, 10), False, marks=tuple(Mark(*one) for one in placed))
    return {note.text: note.xanchor for note in panels(axis, ["y"], "", "").layout.annotations}


def test_marks_close_to_each_other_have_their_names_on_either_side():
    assert marks((20, "peak"), (80, "epoch 1")) == {"peak": "left", "epoch 1": "left"}
    assert marks((50, "peak"), (53, "epoch 1")) == {"peak": "right", "epoch 1": "left"}
    assert marks((53, "epoch 1"), (50, "peak")) == {"peak": "right", "epoch 1": "left"}
    assert marks((50, "peak"), (50, "forecast from here")) == {"peak, forecast from here": "left"}
    assert marks() == {}


def test_a_label_stands_where_no_point_is():
    x, y = np.array([0.0, 0.05, 0.5, 0.95, 1.0]), np.full(5, 50.0)
    assert [_free_side(x, y, place) for place in (0, 4)] == ["left", "right"]
    assert [_free_side(x[::-1], y, place) for place in (0, 4)] == ["right", "left"]
    crowded = np.array([0.5, 0.45, 0.0, 1.0])
    assert _free_side(crowded, np.full(4, 50.0), 0) == "right"
    assert _free_side(1 - crowded, np.full(4, 50.0), 0) == "left"
    assert _free_side(crowded, np.array([50.0, 90.0, 50.0, 50.0]), 0) == "right"
    sides = _free_sides(np.array([-0.32, 0.0, 0.095, 0.045]), np.array([-5.3, 0.0, 0.16, 0.09]))
    assert sides == ["middle right", "middle left", "middle right", "top center"]


def test_padding_leaves_a_share_of_the_span_free():
    assert padded([1, 3, 2], 0.1) == pytest.approx([0.8, 3.2])
    assert padded([5], 0.1) == [4, 6]


def test_what_is_solid_and_what_is_dashed_is_named_once():
    figure = plot(theory_trace(noise=0.2), "forecast")
    named = [curve.name for curve in figure.data if curve.showlegend is not False]
    assert named == ["margin", "margin, fitted", "margin, forecast", "context mass", "critical", "non_critical"]
