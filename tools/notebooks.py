"""`python -m tools.notebooks [NAME ...]` (`make notebooks`): run the notebooks, keep each beside its text as it ran.

Figures are kept as svg images, so that they are seen wherever a notebook is read without being run. What a machine or a
moment adds is left out: absolute paths, free memory, chatter on stderr.
"""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import jupytext
import nbformat
import plotly.graph_objects as go
from nbclient import NotebookClient

from attnshift.figures.export import write_figure

FOLDER: Final = Path(__file__).parents[1] / "notebooks"

_PLOTLY: Final = "application/vnd.plotly.v1+json"
# Where nobody can move a slider one setting is drawn, as a notebook does where there are no widgets.
_BEFORE: Final = "import sys\nsys.modules['ipywidgets'] = None"
_OF_THE_MACHINE: Final = (
    (re.compile(re.escape(str(FOLDER.parent))), ".."),
    (re.compile(rf"{re.escape(tempfile.gettempdir())}/\w+/"), ""),
    (re.compile(r"; [\d.]+ .?B free on \w+"), ""),
    (re.compile(r"'train_(?:runtime|samples_per_second|steps_per_second)': '?[\d.]+'?, "), ""),
    (re.compile(r"\nAttributes.*", re.DOTALL), ""),
)


def run(source: Path) -> Path:
    """Run a notebook and write its ``.ipynb``."""
    notebook = jupytext.read(source)
    notebook.cells.insert(0, nbformat.v4.new_code_cell(_BEFORE))
    NotebookClient(
        notebook, timeout=900, coalesce_streams=True, resources={"metadata": {"path": str(FOLDER)}}
    ).execute()
    del notebook.cells[0]
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number}"
        cell.metadata = {}
        if cell.cell_type == "code":
            cell.execution_count = None
            cell.outputs = [kept for output in cell.outputs if (kept := _kept(output))]
    notebook.metadata["language_info"] = {"name": "python"}
    target = source.with_suffix(".ipynb")
    jupytext.write(notebook, target)
    return target


def _kept(output: Any) -> Any:
    """An output as it is kept; None for chatter."""
    if output.output_type == "stream":
        return None if output.name == "stderr" else nbformat.v4.new_output("stream", text=_anywhere(output.text))
    data: dict[str, str] = {}
    if _PLOTLY in output.data:
        data = {"image/svg+xml": _svg(go.Figure(output.data[_PLOTLY]["data"], output.data[_PLOTLY]["layout"]))}
    else:
        data = {kind: _anywhere(output.data[kind]) for kind in ("text/html", "text/plain") if kind in output.data}
        if data["text/plain"].startswith("<xarray"):  # its page is of little use without its style
            data.pop("text/html", None)
    return nbformat.v4.new_output("display_data", data)


def _svg(figure: go.Figure) -> str:
    with tempfile.TemporaryDirectory() as folder:
        return write_figure(figure, Path(folder) / "figure.svg").read_text(encoding="utf-8")


def _anywhere(text: str) -> str:
    for pattern, instead in _OF_THE_MACHINE:
        text = pattern.sub(instead, text)
    return text


def main(names: Sequence[str]) -> None:
    """Run those named, or all."""
    for source in sorted(FOLDER.glob("*.py")):
        if not names or source.stem in names:
            print(run(source).relative_to(FOLDER.parent), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
