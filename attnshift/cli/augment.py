"""`attnshift augment`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from attnshift.cli.app import DebugFlag, JsonFlag, app, show
from attnshift.cli.choices import example_mapping


@app.command()
def augment(
    data: Annotated[Path, typer.Option(help="Instruction examples.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The same file with more rows: of the same kind.")],
    ratio: Annotated[float, typer.Option(help="Part of the resulting training set that is counterfactual.")],
    seed: Annotated[int, typer.Option(help="Chooses examples and substitutes.")] = 0,
    answers: Annotated[
        list[str] | None, typer.Option(help="A further substitute, such as Lima or place: Lima; may be repeated.")
    ] = None,
    fields: Annotated[list[str] | None, typer.Option("--map", help="field=column, for other column names.")] = None,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Add counterfactual examples: another answer of the same type, in the passage and in the target."""
    from attnshift.console.training import augmentation_facts, augmentation_text
    from attnshift.data.augment import augment as make_augmentation
    from attnshift.data.datafile import open_data

    file = open_data(data, example_mapping(fields))
    file.check_name(out)
    made = make_augmentation(
        file.examples, ratio, seed=seed, answers=answers or (), elsewhere=file.elsewhere() if ratio else None
    )
    file.write(out, added=made.counterfactuals)
    show(augmentation_facts(out, made), augmentation_text, as_json)
