"""`attnshift plot`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from attnshift.cli.app import DebugFlag, app, say
from attnshift.errors import AttnshiftError


@app.command()
def plot(
    trace: Annotated[Path | None, typer.Argument(help="Directory of a trace.")] = None,
    figure: Annotated[str | None, typer.Argument(help="Name of a figure; see --list.")] = None,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="fig.html, .pdf, .svg, .png, .json or .csv.")] = None,
    list_: Annotated[bool, typer.Option("--list", help="List the figures.")] = False,
    log_steps: Annotated[bool, typer.Option("--log-steps", help="Steps on a logarithmic axis.")] = False,
    debug: DebugFlag = False,
) -> None:
    """Draw a figure of a trace."""
    from attnshift.figures.plot import list_figures
    from attnshift.figures.plot import plot as draw

    if list_:
        say("\n".join(f"{name:12} {about}" for name, about in list_figures().items()))
        return
    if trace is None or figure is None:
        raise AttnshiftError("a trace and a figure are needed", expected="attnshift plot TRACE FIGURE -o fig.html")
    target = out or Path(f"{figure}.html")
    draw(trace, figure, target, log_steps=log_steps)
    say(str(target))
