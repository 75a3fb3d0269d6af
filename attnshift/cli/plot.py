"""`attnshift plot`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from attnshift.cli.app import DebugFlag, JsonFlag, app, show
from attnshift.errors import AttnshiftError


@app.command()
def plot(
    trace: Annotated[str | None, typer.Argument(help="Directory of a trace; NAME=DIR gives it a name.")] = None,
    figure: Annotated[str | None, typer.Argument(help="Name of a figure; see --list.")] = None,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="fig.html, .pdf, .svg, .png, .json or .csv.")] = None,
    list_: Annotated[bool, typer.Option("--list", help="List the figures, and what TRACE lacks for them.")] = False,
    with_: Annotated[
        list[str] | None, typer.Option("--with", help="NAME=DIR of another trace to overlay; again for more.")
    ] = None,
    width: Annotated[str, typer.Option(help="screen, or one or two columns of a paper.")] = "screen",
    log_steps: Annotated[bool, typer.Option("--log-steps", help="Steps on a logarithmic axis.")] = False,
    smooth: Annotated[int, typer.Option(help="Centred mean over so many checkpoints; raw points stay, faint.")] = 1,
    step: Annotated[int | None, typer.Option(help="The step that a map shows first.")] = None,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Draw a figure of a trace."""
    from attnshift.console.plot import figure_facts, figure_lines, named_trace, sources
    from attnshift.figures.plot import FIGURES
    from attnshift.figures.plot import plot as draw

    if list_:
        show(figure_facts(None if trace is None else named_trace(trace)[1]), figure_lines, as_json)
        return
    if figure is None and trace in FIGURES and FIGURES[trace].of == "nothing":
        trace, figure = None, trace
    if figure is None or (trace is None and FIGURES[figure].of != "nothing"):
        raise AttnshiftError("a trace and a figure are needed", expected="attnshift plot TRACE FIGURE -o fig.html")
    options = {"log_steps": log_steps or None, "smooth": None if smooth == 1 else smooth, "step": step}
    target = out or Path(f"{figure}.html")
    given = {name: value for name, value in options.items() if value is not None}
    draw(sources(figure, trace, with_ or []), figure, target, width, **given)
    show({"figure": figure, "file": str(target)}, lambda facts: facts["file"], as_json)
