"""The page in a browser: drawn, moved, filtered, printed, on a phone; it asks for nothing and runs nothing foreign."""

from __future__ import annotations

import shutil

import numpy as np
import plotly.graph_objects as go
import pytest
from made_page import reportable

from attnshift.figures.heatmaps import Heat, heat_maps
from attnshift.figures.plot import FIGURES, Kind
from attnshift.figures.series import Series, draw, panels, step_axis
from attnshift.figures.values import reads
from attnshift.report.page import write_report
from attnshift.stats.intervals import Interval

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
playwright = pytest.importorskip("playwright.sync_api")
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="no chromium or google-chrome on the PATH to open the page with")

QUIET = [f"--{switch}" for switch in ("no-sandbox", "disable-gpu", "disable-background-networking",
         "disable-component-update", "disable-sync", "no-first-run")]  # fmt: skip
PATIENCE = 60_000  # milliseconds; a busy machine is slow to draw

LEGENDS_IN_THE_WAY = """(() => {
  let found = 0;
  for (const plot of document.querySelectorAll('.plot')) {
    const layout = plot._fullLayout, size = layout._size, top = plot.getBoundingClientRect().top;
    const panels = Object.keys(layout).filter(key => /^yaxis\\d*$/.test(key)).map(key => layout[key].domain)
      .map(([low, high]) => [top + size.t + size.h * (1 - high), top + size.t + size.h * (1 - low)]);
    for (const legend of plot.querySelectorAll('g.legend, g.legend2, g.legend3')) {
      const {top: above, bottom: below} = legend.getBoundingClientRect();
      found += panels.filter(([high, low]) => above < low - 1 && below > high + 1).length;
    }
  }
  return found;
})()"""

ATTACKS = (
    "</script><script>window.ran=1</script>",
    "<img src=x onerror=window.ran=2>",
    "<svg onload=window.ran=3>",
    "<a href='javascript:window.ran=4'>x</a>",
    "\"onmouseover='window.ran=5'",
    "{{ 7*7 }}{% raw %}${window.ran=6}",
    "<!--<script>",
    "\u2028window.ran=7//",
)
EVIL = " ".join(ATTACKS)


@reads("attention_mass")
def heads(trace, log_steps=False) -> go.Figure:
    """Attention to the context by layer and head, at every step."""
    mass = trace.attention_mass.sel(role="context").mean("item").transpose("step", "layer", "head").values
    names = [str(i) for i in range(2)]
    heat = Heat(mass.astype(float), trace.step.values.tolist(), names, names, "layer", "head", "mass (probability)")
    return heat_maps(heat, "Heads", "of every layer")


@reads("margin")
def crowded(trace) -> go.Figure:
    """Panels whose legends have to wrap."""
    axis = step_axis(trace, log=False)
    figure = panels(axis, ["a (nats)", "b (nats)"], "Crowded", "two panels")
    values = Interval(trace.margin.mean("item").values, np.nan, np.nan)
    for row in (1, 2):
        draw(figure, axis, [Series(f"a curve with a long name {row}{i}", "neutral", values) for i in range(4)], row)
    return figure


@reads("margin")
def named_by_data(trace) -> go.Figure:
    """Curves, cells and titles called what the data says."""
    axis = step_axis(trace, log=False)
    figure = panels(axis, [EVIL], "Strata", EVIL)
    values = Interval(trace.margin.mean("item").values, np.nan, np.nan)
    draw(figure, axis, [Series(attack, "neutral", values, attack) for attack in ATTACKS])
    return figure


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield opened
        opened.close()


class Opened:
    """A page, and all that it asked for and said."""

    def __init__(self, browser, path, width=1280, **options) -> None:
        self.tab = browser.new_context(viewport={"width": width, "height": 900}, **options).new_page()
        self.tab.set_default_timeout(PATIENCE)
        self.requests: list[str] = []
        self.said: list[str] = []
        self.tab.on("request", lambda request: self.requests.append(request.url))
        self.tab.on("console", lambda message: self.said.append(message.text))
        self.tab.on("pageerror", lambda error: self.said.append(str(error)))
        self.tab.on("dialog", lambda dialog: (self.said.append(dialog.message), dialog.dismiss()))
        self.tab.goto(path.as_uri())
        self.tab.wait_for_function("document.documentElement.dataset.drawn === 'all'")

    def is_alone(self) -> bool:
        """Nothing asked for but the page itself, nothing said on the console."""
        return len(self.requests) == 1 and not self.said


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(FIGURES, "heads", Kind(heads))
        patch.setitem(FIGURES, "crowded", Kind(crowded))
        return write_report(reportable(), tmp_path_factory.mktemp("page") / "report.html", notes=["A caveat."])


@pytest.fixture(scope="module")
def opened(browser, path):
    return Opened(browser, path)


def test_every_figure_is_drawn(opened):
    figures = opened.tab.locator("figure[data-figure]")
    assert figures.count() >= 5
    for figure in figures.all():
        assert figure.locator("svg.main-svg").count() > 0
        marks = figure.locator(".scatterlayer .trace path.js-line, .heatmaplayer image, .barlayer path, .points path")
        assert marks.count() > 0, figure.get_attribute("id")
        assert figure.bounding_box()["height"] > 200
    assert opened.is_alone()


def test_hover_tells_the_number(opened):
    figure = opened.tab.locator("#figure-inversion")
    figure.scroll_into_view_if_needed()
    point = figure.locator(".scatterlayer .trace .points path").first.bounding_box()
    opened.tab.mouse.move(point["x"] + point["width"] / 2, point["y"] + point["height"] / 2)
    figure.locator(".hovertext").first.wait_for()
    assert "counterfactual accuracy" in figure.locator(".hovertext").first.text_content()
    assert opened.is_alone()


def test_the_slider_is_moved_by_keys_and_its_numbers_follow(opened):
    tab, figure = opened.tab, opened.tab.locator("#figure-heads")
    assert figure.locator("output").text_content() == "1,400"
    assert figure.locator(".slider-container").count() == 0  # plotly's own can't be reached by keys
    figure.locator("summary").click()
    table = figure.locator("details table")
    table.wait_for()
    last = table.locator("td").nth(3).text_content()
    assert "step 1,400" in table.locator("td").first.text_content()
    slider = figure.locator("input[type=range]")
    slider.focus()
    tab.keyboard.press("Home")
    tab.wait_for_function("document.querySelector('#figure-heads output').textContent === '0'")
    assert slider.get_attribute("aria-valuetext") == "step 0"
    tab.wait_for_function("document.querySelector('#figure-heads td').textContent === 'step 0'")
    assert table.locator("td").nth(3).text_content() != last
    visible = "document.querySelector('#figure-heads .plot').data.map(curve => curve.visible)"
    assert tab.evaluate(visible) == [True] + [False] * 7
    assert opened.is_alone()


def rows_of(figure) -> list[list[str]]:
    figure.locator("summary").click()
    figure.locator("details table").wait_for()
    return figure.locator("tbody tr").evaluate_all(
        "rows => rows.map(row => [...row.cells].map(cell => cell.textContent))"
    )


def test_the_numbers_drawn_have_bars_and_checkpoint_noise_and_no_empty_cells(opened):
    tab = opened.tab
    rows = rows_of(tab.locator("#figure-inversion"))
    assert [row[0] for row in rows[-16:]] == ["checkpoint noise (95 %)"] * 16
    assert [row[0] for row in rows[:-16]].count("checkpoint noise (95 %)") == 0
    rows += rows_of(tab.locator("#figure-heldout"))
    assert all(float(low) <= float(value) <= float(high) for *_, value, low, high in rows)
    labels = rows_of(tab.locator("#figure-labels"))
    assert len(labels) == 8 * 20  # a row per step and item, each with one label
    assert all(row[-1] for row in labels)
    assert opened.is_alone()


def test_items_are_filtered_paged_and_seen_at_any_checkpoint(opened):
    tab = opened.tab
    status, cards = tab.locator("#items .status"), tab.locator("#items article")
    assert status.text_content() == "Items 1 to 8 of 20"
    assert cards.count() == 8
    tab.get_by_role("button", name="Next").click()
    assert status.text_content() == "Items 9 to 16 of 20"
    tab.get_by_role("searchbox").fill("person 13 ")
    assert status.text_content() == "Items 1 to 1 of 1 chosen of 20"
    assert "Person 13 left Oslo for Lima." in cards.first.locator(".prompt").text_content()
    tab.get_by_role("searchbox").fill("nobody")
    assert status.text_content() == "No item is like that"
    tab.get_by_role("searchbox").fill("")
    tab.locator("select[name=stratum]").select_option("odd")
    assert status.text_content() == "Items 1 to 8 of 10 chosen of 20"
    tab.locator("select[name=stratum]").select_option("")
    turns = tab.locator("select[name=turn]")
    for value in turns.locator("option").evaluate_all("options => options.map(option => option.value)"):
        turns.select_option(value)
        count = int(turns.locator("option:checked").text_content().split("(")[1].rstrip(")"))
        told = status.text_content()
        assert told.split(" of ")[1].split()[0] == str(count) if count else told == "No item is like that"
    turns.select_option("")
    shade = "getComputedStyle(document.querySelector('#items .prompt .role.context')).getPropertyValue('--shade')"
    at_the_end = tab.evaluate(shade)
    cell = cards.first.locator(".strip .cell").nth(0)
    cell.click()
    assert cards.first.locator(".now").text_content().startswith("step 0:")
    assert tab.locator("#items output").text_content() == "step 0"
    assert tab.evaluate(shade) != at_the_end
    assert opened.is_alone()


@pytest.mark.slow
def test_everything_is_reached_by_keys_and_shows_it(browser, path):
    tab = Opened(browser, path).tab
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.textContent") == "Skip to the report"
    assert tab.evaluate("document.activeElement.getBoundingClientRect().left") >= 0
    wanted = tab.evaluate("document.querySelectorAll('input, select, button:not(:disabled), summary').length")
    reached, unseen = set(), []
    for _ in range(200):
        tab.keyboard.press("Tab")
        here = tab.evaluate(
            "(() => { const e = document.activeElement; const o = getComputedStyle(e);"
            " const all = [...document.querySelectorAll('input, select, button:not(:disabled), summary')];"
            " return [all.indexOf(e), o.outlineStyle !== 'none' && parseFloat(o.outlineWidth) > 0, e.tagName]; })()"
        )
        if here[2] == "BODY":
            break
        reached.add(here[0])
        if not here[1]:
            unseen.append(here[2])
    assert len(reached - {-1}) == wanted
    assert not unseen
    named = "e => e.labels?.length || e.textContent || e.ariaLabel"
    assert tab.evaluate(f"[...document.querySelectorAll('input, select, button')].every({named})")


@pytest.mark.parametrize("width", [375, pytest.param(768, marks=pytest.mark.slow)])
def test_nothing_is_wider_than_a_phone_or_tablet(browser, path, width):
    one = Opened(browser, path, width, has_touch=width < 500)
    assert one.tab.evaluate("document.documentElement.scrollWidth") == width
    wide = "[...document.querySelectorAll('.plot svg.main-svg')].map(svg => svg.getBoundingClientRect().right)"
    assert max(one.tab.evaluate(wide)) <= width
    assert one.tab.evaluate(LEGENDS_IN_THE_WAY) == 0
    assert one.is_alone()


@pytest.mark.slow
def test_on_paper_figures_stay_and_filters_go(browser, path, tmp_path):
    one = Opened(browser, path)
    one.tab.emulate_media(media="print")
    for gone in ("nav", "#items form", ".pager"):
        assert not one.tab.locator(gone).first.is_visible()
    assert all(plot.is_visible() for plot in one.tab.locator(".plot svg.main-svg").all()[:1])
    written = tmp_path / "report.pdf"
    one.tab.pdf(path=written)
    assert written.stat().st_size > 50_000


def test_nothing_that_came_from_data_runs_and_all_of_it_shows(browser, tmp_path, monkeypatch):
    monkeypatch.setitem(FIGURES, "strata", Kind(named_by_data))
    steps = (0, 10, 50, 100)
    trace = reportable(EVIL, steps=steps).assign_attrs(failed='{"7": "' + EVIL.replace('"', '\\"') + '"}')
    one = Opened(browser, write_report(trace, tmp_path / "r.html", EVIL, [EVIL]))
    tab = one.tab
    for point in tab.locator("#figure-strata .points path").all()[-4:]:
        point.hover(force=True)
    assert tab.locator("#figure-strata .hovertext").count()
    tab.locator("#items .cell").first.hover()
    tab.get_by_role("searchbox").fill("person 3")
    tab.evaluate("document.querySelectorAll('details').forEach(details => { details.open = true; })")
    assert tab.evaluate("window.ran") is None
    assert one.is_alone()
    shown = " ".join(tab.locator("body").inner_text().split())
    plain = " ".join(EVIL.split())
    assert shown.count(plain) > 10
    assert plain in " ".join(tab.locator("h1").inner_text().split())
    for place in (".prompt", "h3", ".tag", ".now"):
        assert plain in " ".join(tab.locator(f"#items article {place}").first.inner_text().split()), place
    links = "[...document.querySelectorAll('a')].map(a => a.href.baseVal ?? a.getAttribute('href') ?? '')"
    assert not [link for link in tab.evaluate(links) if "javascript" in link]
    assert tab.locator("main img, main iframe, main object").count() == 0


def test_the_policy_stops_what_would_get_in_all_the_same(browser, path):
    one = Opened(browser, path)
    one.tab.evaluate(
        "() => { const s = document.createElement('script'); s.textContent = 'window.ran = 1'; document.body.append(s);"
        " const i = document.createElement('img'); i.setAttribute('onerror', 'window.ran = 2');"
        " i.src = 'data:,x'; document.body.append(i); }"
    )
    refused = one.tab.evaluate("() => fetch('https://example.org/').then(() => false, () => true)")
    assert refused
    one.tab.wait_for_timeout(100)
    assert one.tab.evaluate("window.ran") is None
    assert not [url for url in one.requests if url.startswith("https")]
    assert any("Content Security Policy" in line for line in one.said)


@pytest.mark.slow
def test_300_items_at_20_checkpoints_are_fluid(browser, tmp_path):
    steps = tuple(range(0, 2000, 100))
    trace = reportable(items=300, steps=steps, filler=" They like tea." * 120)
    one = Opened(browser, write_report(trace, tmp_path / "r.html"))
    took = one.tab.evaluate(
        "() => { const at = document.querySelector('#items [name=at]'); const started = performance.now();"
        " for (let i = 0; i < 20; i++) { at.value = i; at.dispatchEvent(new Event('input', {bubbles: true})); }"
        " document.body.getBoundingClientRect(); return (performance.now() - started) / 20; }"
    )
    prompt = one.tab.locator("#items .prompt").first
    assert "Where does Person 0 live?" in prompt.inner_text()
    folded = len(prompt.inner_text())
    prompt.get_by_role("button").click()
    assert len(prompt.inner_text()) > folded + 1000
    one.tab.locator("#items .cell").first.click()
    assert len(one.tab.locator("#items .prompt").first.inner_text()) > folded + 1000  # stays as it was left
    assert took < 100  # milliseconds per move of the slider; a tenth of that on an idle machine
    assert one.is_alone()
    assert np.isfinite(took)
