"""`attnshift demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from attnshift.cli.app import DebugFlag, JsonFlag, app, note, quiet, show
from attnshift.cli.choices import read_seeds


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Where run/, trace/ and report.html go.")] = Path("demo"),
    seed: Annotated[int, typer.Option(min=0, help="World, model and order of the data.")] = 0,
    arm: Annotated[str, typer.Option(help="Data arm; a wrong name lists them.")] = "full",
    seeds: Annotated[str | None, typer.Option(help="Several, such as 0-9; each in OUT/seed-N.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes that share the seeds.")] = 1,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Watch a tiny model learn to follow its context and then fall back on its memory; nothing to download."""
    from attnshift.console.demo import demo_facts, demo_text
    from attnshift.console.trace import ProgressLine
    from attnshift.demonstration import demo as make_demo
    from attnshift.demonstration import demo_seeds

    quiet(debug)
    if seeds is not None:
        shown = demo_seeds(out, read_seeds(seeds), arm, workers, say=note)
        facts = {str(each): demo_facts(one) for each, one in shown.items()}
        show(facts, lambda _: f"traces: {out}/seed-*/trace", as_json)
        return
    with ProgressLine() as line:
        one = make_demo(out, seed, arm, say=note, progress=line)
    show(demo_facts(one), demo_text, as_json)
