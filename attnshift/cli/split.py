"""`attnshift split`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from attnshift.cli.app import DebugFlag, JsonFlag, app, quiet, show
from attnshift.cli.choices import example_mapping


@app.command()
def split(
    model: Annotated[str, typer.Option(help="Whose memory counts: a directory or a hub name; usually the base.")],
    data: Annotated[Path, typer.Option(help="Instruction examples.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The same file with groups: of the same kind.")],
    by: Annotated[str, typer.Option(help="quantile or threshold.")] = "quantile",
    fraction: Annotated[float, typer.Option(help="Part of the pool that is non-critical.")] = 0.25,
    threshold: Annotated[
        float | None, typer.Option(help="Nats below which an example is, with --by threshold.")
    ] = None,
    score: Annotated[str, typer.Option(help="A target's loss: mean over its tokens, or their sum.")] = "mean",
    pool: Annotated[str, typer.Option(help="The fraction is of examples with context, or of all.")] = "context",
    template: Annotated[str | None, typer.Option(help="plain, alpaca, chat or a Jinja file.")] = None,
    eos: Annotated[bool, typer.Option(help="Whether targets end with EOS, as in training.")] = True,
    fields: Annotated[list[str] | None, typer.Option("--map", help="field=column, for other column names.")] = None,
    device: Annotated[
        str | None, typer.Option(help="cpu, cuda, cuda:1, auto. [default: a GPU if there is one]")
    ] = None,
    dtype: Annotated[str, typer.Option(help="auto, float32, bfloat16, float16, float64.")] = "auto",
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Tell examples that need their context from those that memory would do for."""
    from attnshift.console.training import split_facts, split_text
    from attnshift.data.datafile import open_data
    from attnshift.data.groups import Rule
    from attnshift.training.split import split as make_split

    quiet(debug)
    rule = Rule(by, fraction, threshold, score, pool)  # type: ignore[arg-type]  # a wrong one is refused
    file = open_data(data, example_mapping(fields))
    file.check_name(out)
    found = make_split(model, file.examples, rule, template=template, target_eos=eos, dtype=dtype, device=device)
    file.write(out, columns=found.columns())
    show(split_facts(out, found), split_text, as_json)
