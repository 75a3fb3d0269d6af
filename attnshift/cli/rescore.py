"""`attnshift rescore`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from attnshift.cli.app import DebugFlag, JsonFlag, app, show
from attnshift.cli.choices import find_callable


@app.command()
def rescore(
    trace: Annotated[Path, typer.Argument(help="Directory of a trace.")],
    judge: Annotated[
        str | None,
        typer.Option(help="module:function, called with text, both answers and question."),
    ] = None,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Label a trace's generations again from their raw text, without a model, and say what moved."""
    from attnshift.console.rescore import rescore_facts, rescore_text
    from attnshift.tracing.rescore import rescore as rescore_trace

    done = rescore_trace(trace, None if judge is None else find_callable("--judge", judge))
    show(rescore_facts(done), rescore_text, as_json)
