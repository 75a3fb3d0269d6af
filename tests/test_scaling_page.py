"""The page about scaling: what its program prints is what the page shows, and agrees with the house's own counts."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

PAGE = (Path(__file__).parents[1] / "docs" / "scaling.md").read_text(encoding="utf-8")


def blocks() -> tuple[str, str]:
    program, printed = re.findall(r"```(?:python)?\n(.*?)```", PAGE, re.DOTALL)
    return program, printed


def test_the_page_shows_what_its_program_prints():
    program, printed = blocks()
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        exec(program, {})
    assert said.getvalue() == printed


def test_its_sizes_are_those_of_the_estimate():
    from attnshift.measures.catalogue import choose_measures
    from attnshift.tracing.memory import Footprint, gradient_copies
    from attnshift.tracing.observe import needs_of

    found: dict = {}
    with contextlib.redirect_stdout(io.StringIO()):
        exec(blocks()[0], found)
    model = found["models"]["7B"]
    sizes = dict.fromkeys(("hidden", "projected", "cached", "inner", "vocabulary"), 1)
    footprint = Footprint(
        parameters=int(model["parameters"]),
        trained=int(model["parameters"]),
        width=2,
        layers=model["layers"],
        heads=model["heads"],
        quadratic=False,
        **sizes,
    )
    copies = gradient_copies(needs_of(choose_measures(None, False)), accumulated=True)
    assert sum(copies.values()) == 4
    assert f"weights {footprint.weights / 1e9:.1f} GB" in PAGE
    assert f"{sum(copies.values()) * footprint.gradient / 1e9:.0f} GB" in PAGE
