"""`attnshift inspect`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from attnshift.cli.app import DebugFlag, JsonFlag, app, show
from attnshift.cli.choices import listed
from attnshift.cli.sweep import preview_downloads


@app.command()
def inspect(
    run: Annotated[Path, typer.Argument(help="A run directory, or a single checkpoint.")],
    base: Annotated[str | None, typer.Option(help="Step 0: a directory or a hub name.")] = None,
    revisions: Annotated[str | None, typer.Option(help="RUN is a hub name, of which these: step1000,step3000.")] = None,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Say what is in a run directory; loads no weights, fetches no revisions."""
    from attnshift.checkpoints.run import find_run
    from attnshift.console.run import run_facts, run_text

    if preview_downloads(run, listed(revisions), as_json):
        return
    found = find_run(run, base, allow_download=base is not None, revisions=listed(revisions))
    facts = run_facts(found)
    show(facts, run_text, as_json)
