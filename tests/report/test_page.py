"""The page: what stands on it, in which order, and that nothing in it runs, loads or breaks out."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from made_page import reportable

from attnshift.errors import AttnshiftError
from attnshift.figures.plot import FIGURES
from attnshift.report.page import write_report
from attnshift.stats.verdict import verdict

EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&\u2028{{ 7*7 }}"


class Page(HTMLParser):
    """Tags, the text outside of scripts and styles, and what scripts hold."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.text = ""
        self.scripts: list[tuple[dict, str]] = []
        self._inside = ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._inside = tag if tag in ("script", "style") else ""
        if tag == "script":
            self.scripts.append((dict(attrs), ""))

    def handle_endtag(self, tag):
        self._inside = ""

    def handle_data(self, data):
        if not self._inside:
            self.text += data
        elif self._inside == "script":
            attributes, held = self.scripts.pop()
            self.scripts.append((attributes, held + data))

    def data(self, name: str):
        return next(json.loads(held) for attributes, held in self.scripts if attributes.get("id") == name)


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("page") / "report.html"
    return write_report(reportable(), path, "A title", ["A caveat."]).read_text(encoding="utf-8")


def test_the_verdict_comes_first_then_caveats_checks_figures_items_and_origin(page):
    text = " ".join(Page(page).text.split())
    found = verdict(reportable())
    for sentence in found.sentences():
        assert sentence in text
    assert f"{found.counterfactual.peak:.1f}" in text
    assert f"{found.gradient_ratio.end:,.2f}" in text
    order = ["A title", found.sentences()[0], "A caveat.", "What has to hold", "Context reliance over finetuning",
             "Each answer is labelled by"]  # fmt: skip
    places = [text.index(words, text.index("A title", 40)) for words in order]
    places.append(text.rindex("attnshift trace --ckpts"))  # earlier ones are remedies for figures that can't be drawn
    assert places == sorted(places)


def test_every_figure_that_the_trace_has_the_numbers_for_is_there(page):
    parsed = Page(page)
    drawn = [attributes["data-figure"] for tag, attributes in parsed.tags if tag == "figure"]
    assert drawn == list(parsed.data("figures-data"))
    assert {"inversion", "losses", "gradients", "margin"} <= set(drawn)
    assert set(drawn) <= {name for name, kind in FIGURES.items() if kind.of == "trace"}
    assert page.count("plotly.js v") == 1
    assert len(page) < 8_000_000


def test_an_answer_has_one_colour_in_the_figure_and_beside_the_items(page):
    drawn = {curve["name"]: curve for curve in Page(page).data("figures-data")["labels"]["data"] if "z" in curve}
    for label, letter in {"context": "c", "parametric": "p", "both": "b", "neither": "n"}.items():
        (colour,) = {colour for _, colour in drawn[label]["colorscale"]}
        assert f"--{label}:{colour};" in page
        assert f".cell.{letter} {{ background: var(--{label});" in page


def test_a_figure_whose_measures_are_missing_is_named_with_the_reason(tmp_path):
    trace = reportable().drop_vars(["margin", "loss", "group_share"])
    parsed = Page(write_report(trace, tmp_path / "r.html").read_text(encoding="utf-8"))
    assert {"inversion", "gradients"} <= set(parsed.data("figures-data"))
    assert not {"margin", "losses"} & set(parsed.data("figures-data"))
    text = " ".join(parsed.text.split())
    assert "the trace has no margin" in text
    assert "--measures margin" in text


def test_it_asks_nothing_of_the_network(page):
    for tag, attributes in Page(page).tags:
        assert not {"src", "srcset", "data", "action", "background", "poster"} & set(attributes), tag
        assert attributes.get("href", "#").startswith("#"), tag
    styles = "".join(re.findall(r"<style>(.*?)</style>", page, re.DOTALL))
    assert "url(" not in styles
    assert "@import" not in styles


def test_the_policy_allows_these_programs_alone(page):
    parsed = Page(page)
    policy = next(a["content"] for t, a in parsed.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe-eval" not in policy
    assert "unsafe-inline" not in policy.split("style-src")[0]
    programs = [held for attributes, held in parsed.scripts if attributes.get("type") != "application/json"]
    allowed = re.findall(r"'sha256-([^']+)'", policy)
    assert allowed == [base64.b64encode(hashlib.sha256(p.encode()).digest()).decode() for p in programs]
    before = [tag for tag, _ in parsed.tags[: [t for t, _ in parsed.tags].index("style")]]
    assert before == ["html", "head", "meta", "meta", "meta", "meta", "title"]


def test_what_comes_from_data_is_escaped(tmp_path):
    page = write_report(reportable(EVIL), tmp_path / "r.html", EVIL, [EVIL]).read_text(encoding="utf-8")
    clean = write_report(reportable(), tmp_path / "c.html", "t", ["n"]).read_text(encoding="utf-8")
    parsed = Page(page)
    assert [tag for tag, _ in parsed.tags] == [tag for tag, _ in Page(clean).tags]  # no element more or less
    assert not [name for _, attributes in parsed.tags for name in attributes if name.startswith("on")]
    assert page.count("</script>") == clean.count("</script>")
    assert parsed.text.count(EVIL) >= 6
    assert "{{ 7*7 }}" in re.findall(r"<h1[^>]*>(.*?)</h1>", page, re.DOTALL)[0]
    assert "\u2028" not in "".join(held for _, held in parsed.scripts)
    shown = parsed.data("items-data")
    assert shown["items"][3]["id"] == f"i3{EVIL}"
    assert shown["strata"] == [f"even{EVIL}", f"odd{EVIL}"]
    assert EVIL in "".join(words for _, words in shown["items"][3]["p"])


def test_a_trace_without_items_has_figures_and_the_reason_for_no_verdict(tmp_path):
    trace = reportable()
    trace = trace.drop_dims(["item"])
    page = write_report(trace, tmp_path / "r.html", "a \udcff title").read_text(encoding="utf-8")
    assert "<title>a ? title</title>" in page  # half a character, as odd file names have, is replaced
    parsed = Page(page)
    text = " ".join(parsed.text.split())
    assert "No verdict from a trace with no counterfactual_accuracy, parametric_accuracy." in text
    assert parsed.data("items-data") is None
    assert "losses" in parsed.data("figures-data")
    assert "Items" not in [a.get("aria-labelledby") for _, a in parsed.tags]


def test_several_runs_are_refused(tmp_path):
    with pytest.raises(AttnshiftError, match="run") as caught:
        write_report(reportable().expand_dims(run=["a"]), tmp_path / "r.html")
    assert "trace.sel(run=NAME)" in caught.value.remedy


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(AttnshiftError, match="nowhere"):
        write_report(reportable(), tmp_path / "nowhere" / "r.html")


def test_300_items_at_20_checkpoints_stay_under_8_mb(tmp_path):
    steps = tuple(int(s) for s in np.unique(np.geomspace(1, 5000, 20).round()))
    steps = (0, *steps[-19:])
    assert len(steps) == 20
    path = write_report(reportable(items=300, steps=steps, filler=" They like tea." * 120), tmp_path / "r.html")
    shown = Page(path.read_text(encoding="utf-8")).data("items-data")
    assert len(shown["items"]) == 300
    assert path.stat().st_size < 8_000_000
