"""The theory's notebook runs, with widgets and without."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).parents[1] / "notebooks" / "theory.py"


def executed(monkeypatch, source: str):
    import jupytext
    import nbclient

    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(NOTEBOOK.parents[1]), os.environ.get("PYTHONPATH", "")]))
    notebook = jupytext.reads(source, fmt="py:percent")
    nbclient.NotebookClient(notebook, timeout=900, kernel_name="python3").execute()
    return notebook


def told(notebook) -> str:
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error"]
    return "".join(output.get("text", "") for output in outputs)


@pytest.mark.slow
@pytest.mark.parametrize("widgets", [True, False])
def test_the_notebook_runs(monkeypatch, widgets):
    source = NOTEBOOK.read_text(encoding="utf-8")
    if not widgets:
        source = source.replace("from ipywidgets import", "from no_such_widgets import")
    notebook = executed(monkeypatch, source)
    assert "reliance 0.250 -> 0.810 at step 18 -> 0.472" in told(notebook)
    kinds = {kind for cell in notebook.cells for output in cell.get("outputs", ()) for kind in output.get("data", ())}
    assert ("application/vnd.jupyter.widget-view+json" in kinds) == widgets
    assert "application/vnd.plotly.v1+json" in kinds
