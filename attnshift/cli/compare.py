"""`attnshift compare`."""

from __future__ import annotations

from typing import Annotated

import typer

from attnshift.cli.app import DebugFlag, JsonFlag, app, show


@app.command()
def compare(
    a: Annotated[
        str, typer.Argument(help="TRACE, TRACE@STEP (or @start, @peak, @end), NAME=TRACE,… or a folder of seeds.")
    ],
    b: Annotated[str, typer.Argument(help="The other side, of the same kind.")],
    measure: Annotated[str, typer.Option(help="A measure per step and item; answer_label counts the context's.")] = (
        "counterfactual_accuracy"
    ),
    by: Annotated[
        str, typer.Option(help="Where the change comes from: stratum, conflict_type, cluster, …")
    ] = "stratum",
    known: Annotated[bool, typer.Option("--known", help="Only items that the base knew.")] = False,
    window: Annotated[int, typer.Option(help="A flip lasts if so many checkpoints on either side agree.")] = 1,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Compare two runs, sets of runs by seed, or two checkpoints, item by item: is the difference real?"""
    from attnshift.console.compare import compare_facts, compare_text
    from attnshift.stats.compare import compare as compare_sides

    show(compare_facts(compare_sides(a, b, measure, by, known, window)), compare_text, as_json)
