"""`python -m tools.images` (`make figures`): every image that the README shows, drawn again.

The organism's come from `demo/trace`, built first where it is missing; what attnshift costs comes from the stored
results of `python -m benchmarks`. The same numbers give the same files.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import plotly.graph_objects as go

import attnshift
from analyses.drawing import organism
from attnshift.figures.export import write_figure
from benchmarks import figure as costs
from benchmarks.__main__ import RESULTS
from benchmarks.rows import section_from_json

ROOT: Final = Path(__file__).parents[1]
MEASURED: Final = ROOT / "benchmarks" / "results"


def cost() -> go.Figure:
    """What attnshift costs, of the stored benchmarks."""
    found = json.loads((MEASURED / RESULTS).read_text(encoding="utf-8"))
    return costs.draw([row for content in found.values() for row in section_from_json(content).rows])


def of_organism(name: str, **options: bool) -> Callable[[], go.Figure]:
    """A figure of the organism's trace."""
    return lambda: attnshift.plot(organism(), name, **options)


IMAGES: Final[Mapping[Path, Callable[[], go.Figure]]] = {
    ROOT / "docs" / "images" / "inversion.svg": of_organism("inversion", log_steps=True),
    ROOT / "docs" / "images" / "attention.svg": of_organism("attention", log_steps=True),
    ROOT / "docs" / "images" / "labels.svg": of_organism("labels"),
    MEASURED / "ratios.svg": cost,
}
"""Where each is kept, and what draws it."""


def main() -> None:
    """Draw them all."""
    for path, drawn in IMAGES.items():
        path.parent.mkdir(exist_ok=True)
        print(write_figure(drawn(), path).relative_to(ROOT))


if __name__ == "__main__":
    main()
