"""The images that the README shows: all of them from `make figures`, small, and drawn of what they say."""

from __future__ import annotations

import re

import numpy as np

from tools.images import IMAGES, ROOT, main


def test_the_readme_shows_what_make_figures_draws():
    shown = re.findall(r"!\[.+?\]\((.+?)\)", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert shown
    assert {ROOT / place for place in shown} == set(IMAGES)
    for place in IMAGES:
        assert place.stat().st_size < 150_000
        assert place.read_bytes().startswith(b"<svg")


def test_each_is_drawn_of_the_organisms_trace(monkeypatch, tmp_path, capsys):
    from made_traces import made_trace, saved_trace, with_everything

    import attnshift
    from tools import images

    made = with_everything(made_trace())
    label = np.where(made["counterfactual_accuracy"] == 1, "context", "parametric")
    saved = saved_trace(made.assign(answer_label=(("step", "item"), label)), tmp_path / "trace")
    written = {}
    monkeypatch.setattr(images, "organism", lambda: saved)
    monkeypatch.setattr(images, "write_figure", lambda figure, path: written.setdefault(path, figure) and path)
    main()
    assert written.keys() == IMAGES.keys()
    inversion = attnshift.plot(saved, "inversion", log_steps=True)
    assert written[ROOT / "docs/images/inversion.svg"].to_json() == inversion.to_json()
    assert "benchmarks/results/ratios.svg" in capsys.readouterr().out
