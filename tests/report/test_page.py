"""The page: its numbers, and that nothing in it runs, loads or breaks out."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import numpy as np
import pytest
from made_traces import made_trace

from attnshift.errors import AttnshiftError
from attnshift.report.page import write_report
from attnshift.stats.verdict import verdict

EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&{{ 7*7 }}"


class Page(HTMLParser):
    """Tags and the text outside of scripts and styles."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.text = ""
        self._inside = ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._inside = tag if tag in ("script", "style") else ""

    def handle_endtag(self, tag):
        self._inside = ""

    def handle_data(self, data):
        if not self._inside:
            self.text += data


def reportable(text: str = "Ann fled Oslo ."):
    trace = made_trace()
    texts = {name: ("item", np.full(trace.sizes["item"], text, object)) for name in
             ("item_context", "item_question", "item_context_answer", "item_parametric_answer")}  # fmt: skip
    return trace.assign(texts).assign_attrs(run=text, recipe='{"template": "t"}', grouping=text)


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("page") / "report.html"
    return write_report(reportable(), path, "A title", ["A caveat."]).read_text(encoding="utf-8")


def test_verdict_numbers_and_caveats_are_in_the_text(page):
    text = " ".join(Page(page).text.split())
    found = verdict(reportable())
    for sentence in (*found.sentences(), "A title", "A caveat.", "Ann fled Oslo ."):
        assert sentence in text
    assert f"{found.counterfactual.peak:.1f}" in text
    assert f"{found.gradient_ratio.end:,.2f}" in text
    assert text.index(found.sentences()[0]) < text.index("A caveat.")


def test_all_four_figures_are_drawn_and_plotly_is_there_once(page):
    assert [a["id"] for t, a in Page(page).tags if a.get("class") == "plotly-graph-div"] == [
        "inversion", "losses", "gradients", "margin",
    ]  # fmt: skip
    assert page.count("plotly.js v") == 1
    assert len(page) < 8_000_000


def test_it_asks_nothing_of_the_network(page):
    for tag, attributes in Page(page).tags:
        assert not {"src", "href", "srcset", "data", "action"} & set(attributes), tag
    styles = "".join(re.findall(r"<style>(.*?)</style>", page, re.DOTALL))
    assert "url(" not in styles
    assert "@import" not in styles


def test_what_comes_from_data_is_escaped(tmp_path):
    page = write_report(reportable(EVIL), tmp_path / "r.html", EVIL, [EVIL]).read_text(encoding="utf-8")
    parsed = Page(page)
    assert "alert(1)</script>" not in page
    assert not [a for _, a in parsed.tags if "onerror" in a]
    assert [t for t, _ in parsed.tags].count("img") == 0
    assert EVIL in parsed.text
    assert "49" not in re.findall(r"<h1>(.*?)</h1>", page)[0]


def test_a_figure_whose_measures_are_missing_is_left_out(tmp_path):
    trace = reportable().drop_vars(["margin", "loss", "group_share"])
    page = write_report(trace, tmp_path / "r.html").read_text(encoding="utf-8")
    assert [a["id"] for t, a in Page(page).tags if a.get("class") == "plotly-graph-div"] == ["inversion", "gradients"]


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(AttnshiftError, match="nowhere"):
        write_report(reportable(), tmp_path / "nowhere" / "r.html")
