"""`attnshift patch` and `attnshift graft`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from attnshift.cli.app import DebugFlag, JsonFlag, app, note, quiet, show
from attnshift.cli.choices import listed, load_data

Source = Annotated[str, typer.Option(help="What gives: a checkpoint's folder; with --run a step, start, peak or end.")]
Target = Annotated[str, typer.Option(help="What receives: likewise.")]
RunDirectory = Annotated[Path | None, typer.Option("--run", help="The run whose steps are named.")]
TraceDirectory = Annotated[Path | None, typer.Option("--trace", help="Where the peak is read. [default: RUN/trace]")]
Base = Annotated[str | None, typer.Option(help="Step 0, or the base of adapters: a directory or a hub name.")]
Conflicts = Annotated[list[Path] | None, typer.Option(help="Conflict items; may be repeated. [default: the run's]")]
Fields = Annotated[list[str] | None, typer.Option("--map", help="field=column, for other column names.")]
Limit = Annotated[int | None, typer.Option(min=1, help="At most so many items, and so many examples.")]
Seed = Annotated[int, typer.Option(help="For sampling.")]
Template = Annotated[str | None, typer.Option(help="plain, alpaca, chat or a Jinja file.")]
Tokenizer = Annotated[Path | None, typer.Option(help="Directory of another tokenizer.")]
MaxNewTokens = Annotated[int | None, typer.Option(min=1, help="Length of generations. [default: the run's, else 32]")]
TokenBudget = Annotated[int | None, typer.Option(min=1, help="Tokens in a batch. [default: what fits free memory]")]
Device = Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, auto. [default: a GPU if there is one]")]
Dtype = Annotated[str, typer.Option(help="auto, float32, bfloat16, float16, float64.")]


@app.command()
def patch(
    source: Source,
    target: Target,
    run: RunDirectory = None,
    trace: TraceDirectory = None,
    base: Base = None,
    conflicts: Conflicts = None,
    fields: Fields = None,
    parts: Annotated[
        str, typer.Option(help="Some of resid (resid_pre, resid_mid, resid_post), attn, mlp, z.")
    ] = "resid,attn,mlp,z",
    by: Annotated[str, typer.Option(help="Some of layer, role, head.")] = "layer,role",
    generate: Annotated[bool, typer.Option(help="Whether answers are generated as well.")] = True,
    limit: Limit = None,
    seed: Seed = 0,
    template: Template = None,
    tokenizer: Tokenizer = None,
    max_new_tokens: MaxNewTokens = None,
    token_budget: TokenBudget = None,
    device: Device = None,
    dtype: Dtype = "auto",
    out: Annotated[Path, typer.Option("-o", "--out", help="A .nc file or a folder.")] = Path("patch.nc"),
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Put activations of one checkpoint into another: where is what was lost?"""
    from attnshift.console.interventions import patch_facts, patch_text
    from attnshift.interventions.patch import patch as run_patch

    quiet(debug)
    items, _ = load_data(conflicts, None, fields)
    result = run_patch(
        source,
        target,
        run=run,
        trace=trace,
        base=base,
        items=items,
        parts=listed(parts),
        by=listed(by),
        generate=generate,
        out=out,
        say=note,
        **_options(limit, seed, template, tokenizer, max_new_tokens, token_budget, device, dtype),
    )
    show(patch_facts(result), patch_text, as_json)


@app.command()
def graft(
    source: Source,
    target: Target,
    run: RunDirectory = None,
    trace: TraceDirectory = None,
    base: Base = None,
    conflicts: Conflicts = None,
    ift: Annotated[list[Path] | None, typer.Option(help="Examples for the loss; may be repeated.")] = None,
    fields: Fields = None,
    parts: Annotated[
        str, typer.Option(help="q, k, v, o, mlp, norm, embed, unembed, …, or all; with layers: q,mlp:3,v:0-5+9.")
    ] = "all",
    by: Annotated[str, typer.Option(help="Grafted beside all together: each unit, part, layer.")] = "unit,part,layer",
    sets: Annotated[
        list[str] | None, typer.Option("--set", help="Parts to graft together, such as q,k:0-3; may be repeated.")
    ] = None,
    search: Annotated[bool, typer.Option("--search", help="Look for the smallest set that restores enough.")] = False,
    share: Annotated[float, typer.Option(help="How much is enough.")] = 0.8,
    criteria: Annotated[str, typer.Option(help="Of what.")] = "margin,counterfactual_accuracy",
    save: Annotated[Path | None, typer.Option(help="A new folder: the grafted model as a checkpoint.")] = None,
    limit: Limit = None,
    seed: Seed = 0,
    template: Template = None,
    tokenizer: Tokenizer = None,
    max_new_tokens: MaxNewTokens = None,
    token_budget: TokenBudget = None,
    device: Device = None,
    dtype: Dtype = "auto",
    out: Annotated[Path, typer.Option("-o", "--out", help="A .nc file or a folder.")] = Path("graft.nc"),
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Put weights of one checkpoint into another: which of them brought what was lost?"""
    from attnshift.console.interventions import graft_facts, graft_text
    from attnshift.interventions.graft import graft as run_graft

    quiet(debug)
    items, examples = load_data(conflicts, ift, fields)
    result = run_graft(
        source,
        target,
        run=run,
        trace=trace,
        base=base,
        items=items,
        examples=examples,
        parts=listed(parts),
        by=listed(by),
        sets=sets or (),
        search=search,
        share=share,
        criteria=listed(criteria),
        save=save,
        out=out,
        say=note,
        **_options(limit, seed, template, tokenizer, max_new_tokens, token_budget, device, dtype),
    )
    show(graft_facts(result), graft_text, as_json)


def _options(
    limit: int | None,
    seed: int,
    template: str | None,
    tokenizer: Path | None,
    max_new_tokens: int | None,
    token_budget: int | None,
    device: str | None,
    dtype: str,
) -> dict[str, Any]:
    """What both commands hand on as it is."""
    from attnshift.checkpoints.tokenizer import load_tokenizer

    return {
        "limit": limit,
        "seed": seed,
        "template": template,
        "tokenizer": None if tokenizer is None else load_tokenizer(tokenizer),
        "max_new_tokens": max_new_tokens,
        "token_budget": token_budget,
        "device": device,
        "dtype": dtype,
    }
