"""`attnshift report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from attnshift.cli.app import DebugFlag, JsonFlag, app, show


@app.command()
def report(
    trace: Annotated[Path, typer.Argument(help="Directory of a trace.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The page.")] = Path("report.html"),
    title: Annotated[str | None, typer.Option(help="What the page is called.")] = None,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Write a trace's report: one page with the verdict, checks, figures and items; no network."""
    from attnshift.console.report import report_facts, report_text
    from attnshift.report.page import TITLE, write_report

    written = write_report(trace, out, TITLE if title is None else title)
    show(report_facts(written), report_text, as_json)
