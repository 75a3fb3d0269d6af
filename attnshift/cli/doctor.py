"""`attnshift doctor`."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from attnshift.cli.app import DebugFlag, JsonFlag, app, note, quiet, show
from attnshift.cli.choices import listed
from attnshift.errors import AttnshiftError


@app.command()
def doctor(
    run: Annotated[Path | None, typer.Argument(help="A run directory. [default: the machine alone]")] = None,
    conflicts: Annotated[list[Path] | None, typer.Option(help="Conflict items; may be repeated.")] = None,
    ift: Annotated[list[Path] | None, typer.Option(help="Instruction examples; may be repeated.")] = None,
    template: Annotated[str | None, typer.Option(help="plain, alpaca, chat or a Jinja file.")] = None,
    base: Annotated[str | None, typer.Option(help="Step 0: a directory or a hub name.")] = None,
    revisions: Annotated[str | None, typer.Option(help="RUN is a hub name, of which these: step1000,step3000.")] = None,
    tokenizer: Annotated[Path | None, typer.Option(help="Directory of another tokenizer.")] = None,
    fields: Annotated[list[str] | None, typer.Option("--map", help="field=column, for other column names.")] = None,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Check the machine, a run and data before a number is trusted; loads no weights. Exit 1 where a check fails."""
    from attnshift.console.doctor import doctor_facts, doctor_text
    from attnshift.data.formats import split_mapping
    from attnshift.diagnosis.doctor import doctor as examine

    if fields and not conflicts and not ift:
        raise AttnshiftError("--map is for the columns of a file", expected="--conflicts or --ift beside it")
    with suppress(ImportError):  # which is for the doctor to tell
        quiet(debug)
    for_items, for_examples = split_mapping(fields or [], with_items=bool(conflicts), with_examples=bool(ift))
    diagnosis = examine(
        run,
        conflicts=conflicts or (),
        ift=ift or (),
        template=template,
        base=base,
        revisions=listed(revisions),
        tokenizer=tokenizer,
        item_mapping=for_items,
        example_mapping=for_examples,
        tell=note,
    )
    show(doctor_facts(diagnosis), doctor_text, as_json)
    if diagnosis.status == "fail":
        raise typer.Exit(1)
