"""Every notebook runs, and is kept as it came out beside its text."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from tiny_organism import TINY

FOLDER = Path(__file__).parents[1] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.py"))
PLOTLY = "application/vnd.plotly.v1+json"
each = pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda file: file.stem)


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """A demo small enough to be made in a second."""
    import attnshift
    from attnshift.organism import recipe

    out = tmp_path_factory.mktemp("demo") / "demo"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recipe, "ARMS", {"full": TINY})
        attnshift.demo(out)
    return out


@pytest.fixture
def executed(monkeypatch, demo, tmp_path):
    """``executed(source)`` runs a notebook's text, away from the repository, and gives its outputs."""
    import jupytext
    import nbclient

    def run(source: str) -> list:
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(FOLDER.parent), os.environ.get("PYTHONPATH", "")]))
        monkeypatch.setenv("ATTNSHIFT_DEMO", str(demo))
        notebook = jupytext.reads(source, fmt="py:percent")
        where = {"metadata": {"path": str(tmp_path)}}
        nbclient.NotebookClient(notebook, timeout=900, kernel_name="python3", resources=where).execute()
        return [output for cell in notebook.cells for output in cell.get("outputs", ())]

    return run


def kinds(outputs) -> set[str]:
    return {kind for output in outputs for kind in output.get("data", ())}


@pytest.mark.slow
@each
def test_it_runs(executed, notebook):
    outputs = executed(notebook.read_text(encoding="utf-8"))
    assert not [output for output in outputs if output.output_type == "error"]
    assert PLOTLY in kinds(outputs) or notebook.stem == "your_own_measure"


@pytest.mark.slow
@pytest.mark.parametrize("widgets", [True, False])
def test_the_theory_has_sliders_where_there_are_widgets(executed, widgets):
    source = (FOLDER / "theory.py").read_text(encoding="utf-8")
    if not widgets:
        source = source.replace("from ipywidgets import", "from no_such_widgets import")
    outputs = executed(source)
    assert "reliance 0.250 -> 0.810 at step 18 -> 0.472" in "".join(output.get("text", "") for output in outputs)
    assert ("application/vnd.jupyter.widget-view+json" in kinds(outputs)) == widgets


@each
def test_it_is_kept_as_it_came_out(notebook):
    import jupytext

    kept = notebook.with_suffix(".ipynb")
    found, text = jupytext.read(kept), jupytext.read(notebook)
    cells = [[(cell.cell_type, cell.source) for cell in one.cells] for one in (found, text)]
    assert cells[0] == cells[1], f"make notebooks: {kept.name} is not {notebook.name}"
    outputs = [output for cell in found.cells for output in cell.get("outputs", ())]
    drawn = sum(
        len(re.findall(r"^(?:attnshift\.plot|figures\.\w+|figure$|shown$)", c.source, re.M)) for c in text.cells
    )
    assert sum("image/svg+xml" in output.get("data", {}) for output in outputs) >= min(drawn, 1)
    assert kept.stat().st_size < 400_000
    shown = "\n".join(str(output.get("text", output.get("data"))) for output in outputs)
    assert not re.search(r"(?<![\w.])/(?:tmp|home|root|usr|var|opt|Users)/|\.\./\.\./", shown)
