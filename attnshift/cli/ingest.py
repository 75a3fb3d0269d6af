"""`attnshift ingest`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from attnshift.cli.app import DebugFlag, JsonFlag, app, show
from attnshift.cli.choices import read_pairs


@app.command()
def ingest(
    files: Annotated[list[Path], typer.Argument(help="json, jsonl or csv: a row per step and item.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Directory of the trace.")],
    conflicts: Annotated[
        list[Path] | None, typer.Option(help="What the items ask and answer, where the results don't say it.")
    ] = None,
    fields: Annotated[list[str] | None, typer.Option("--map", help="field=column, for other column names.")] = None,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Make a trace of results per checkpoint and item that were made elsewhere; no model is needed."""
    from attnshift.console.ingest import ingest_facts, ingest_text
    from attnshift.data.formats import load_items
    from attnshift.tracing.ingest import ingest as ingest_files

    items = [item for path in conflicts for item in load_items(path)] if conflicts else None
    trace = ingest_files(files, out, items=items, mapping=read_pairs("--map", fields or []))
    show(ingest_facts(out, trace), ingest_text, as_json)
