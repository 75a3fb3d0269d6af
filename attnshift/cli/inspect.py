"""`attnshift inspect`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from attnshift.cli.app import DebugFlag, JsonFlag, app, show


@app.command()
def inspect(
    run: Annotated[Path, typer.Argument(help="A run directory, or a single checkpoint.")],
    base: Annotated[str | None, typer.Option(help="Step 0: a directory or a hub name.")] = None,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Say what is in a run directory; loads no weights."""
    from attnshift.checkpoints.run import find_run
    from attnshift.console.run import run_facts, run_text

    facts = run_facts(find_run(run, base=base, allow_download=base is not None))
    show(facts, run_text, as_json)
