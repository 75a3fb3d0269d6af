"""`attnshift overlap`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from attnshift.cli.app import DebugFlag, JsonFlag, app, show
from attnshift.cli.choices import example_mapping, read_list


@app.command()
def overlap(
    data: Annotated[Path, typer.Option(help="Instruction examples.")],
    conflicts: Annotated[list[Path], typer.Option(help="Conflict items; may be repeated.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The same file with fewer rows: of the same kind.")],
    names: Annotated[str, typer.Option(help="What no example may name.")] = "question,context_answer,parametric_answer",
    fields: Annotated[list[str] | None, typer.Option("--map", help="field=column of --data.")] = None,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Drop the training examples that name what the evaluation is about; OUT.dropped.jsonl says which and why."""
    from attnshift.console.training import overlap_text
    from attnshift.data.datafile import open_data
    from attnshift.data.formats import load_items
    from attnshift.data.overlap import remove_overlap, write_dropped

    file = open_data(data, example_mapping(fields))
    file.check_name(out)
    items = [item for path in conflicts for item in load_items(path)]
    found = remove_overlap(file.examples, items, read_list(names), file.texts())
    listed = write_dropped(out, found.dropped)
    file.write(out, dropped=[each.id for each in found.dropped])
    first = [{"id": each.id, "reason": each.reason} for each in found.dropped[:5]]
    facts = {"out": str(out), "list": str(listed), "kept": len(found.kept), "dropped": len(found.dropped)}
    show({**facts, "first": first}, overlap_text, as_json)
