"""`attnshift finetune`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from attnshift.cli.app import DebugFlag, JsonFlag, app, note, quiet, show
from attnshift.cli.choices import load_data, read_list

_RULE = "Where the data gives no groups: "


@app.command()
def finetune(
    base: Annotated[str, typer.Option(help="The model to start from: a directory or a hub name.")],
    data: Annotated[list[Path], typer.Option(help="Instruction examples; may be repeated.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The run's directory.")],
    arm: Annotated[
        str, typer.Option(help="full, context-only, critical, random-drop, no-overlap, augmented or qk.")
    ] = "full",
    conflicts: Annotated[
        list[Path] | None, typer.Option(help="Conflict items, for the run's traces and for --arm no-overlap.")
    ] = None,
    lora: Annotated[int | None, typer.Option(help="Rank of adapters. [default: the weights are trained]")] = None,
    lora_alpha: Annotated[float | None, typer.Option(help="Their alpha. [default: twice the rank]")] = None,
    steps: Annotated[int | None, typer.Option(help="Optimizer steps, in every arm. [default: by --epochs]")] = None,
    epochs: Annotated[float, typer.Option(help="Passes over the full arm's examples.")] = 1.0,
    lr: Annotated[float | None, typer.Option(help="At its highest. [default: 2e-5; 2e-4 with --lora]")] = None,
    warmup: Annotated[int | None, typer.Option(help="Steps. [default: 3 % of all]")] = None,
    weight_decay: Annotated[float, typer.Option(help="AdamW's, on matrices.")] = 0.0,
    beta2: Annotated[float, typer.Option(help="AdamW's.")] = 0.999,
    clip: Annotated[float, typer.Option(help="Norm that gradients are clipped to; 0 for never.")] = 1.0,
    batch_size: Annotated[int, typer.Option(help="Examples in the full arm's mean batch.")] = 16,
    micro_batches: Annotated[int, typer.Option(help="Pieces in which a batch goes through the model.")] = 1,
    seed: Annotated[int, typer.Option(help="Of the data's order, dropout, adapters, and what an arm draws.")] = 0,
    saves: Annotated[int, typer.Option(help="Checkpoints, evenly in log step.")] = 13,
    template: Annotated[str | None, typer.Option(help="plain, alpaca, chat or a Jinja file.")] = None,
    fields: Annotated[list[str] | None, typer.Option("--map", help="field=column, for other column names.")] = None,
    eos: Annotated[bool, typer.Option(help="Whether targets end with EOS.")] = True,
    max_length: Annotated[
        int | None, typer.Option(help="Tokens; longer examples are left out. [default: the window]")
    ] = None,
    max_new_tokens: Annotated[
        int | None, typer.Option(min=1, help="Length of generations in traces of the run. [default: 32]")
    ] = None,
    ratio: Annotated[float, typer.Option(help="Counterfactual part, for --arm augmented.")] = 0.1,
    overlap: Annotated[
        str | None, typer.Option(help="What no example may name: of question, context_answer, parametric_answer.")
    ] = None,
    by: Annotated[str, typer.Option(help=_RULE + "quantile or threshold.")] = "quantile",
    fraction: Annotated[float, typer.Option(help=_RULE + "the part that is non-critical.")] = 0.25,
    threshold: Annotated[float | None, typer.Option(help=_RULE + "nats below which it is.")] = None,
    score: Annotated[str, typer.Option(help=_RULE + "mean over the target's tokens, or sum.")] = "mean",
    pool: Annotated[str, typer.Option(help=_RULE + "the fraction is of those with context, or of all.")] = "context",
    device: Annotated[
        str | None, typer.Option(help="cpu, cuda, cuda:1, auto. [default: a GPU if there is one]")
    ] = None,
    dtype: Annotated[str, typer.Option(help="Of the weights: auto, float32, bfloat16, float16, float64.")] = "auto",
    bf16: Annotated[bool, typer.Option("--bf16", help="Compute in bfloat16 beside float32 weights.")] = False,
    checkpointing: Annotated[
        bool, typer.Option("--checkpointing", help="Compute activations again in the backward, to save memory.")
    ] = False,
    report_to: Annotated[list[str] | None, typer.Option(help="tensorboard, wandb, …; may be repeated.")] = None,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Finetune a model in one of the arms; run it again to go on. `attnshift trace` reads the run as it is."""
    from attnshift.console.progress import ProgressCallback
    from attnshift.console.training import run_text
    from attnshift.data.groups import Rule
    from attnshift.data.overlap import SOURCES
    from attnshift.training.finetune import finetune as run_finetune

    quiet(debug)
    items, examples = load_data(conflicts, data, fields)
    run = run_finetune(
        base,
        examples,
        out,
        items=items,
        device=device,
        callbacks=[ProgressCallback()],
        report_to=report_to or (),
        say=note,
        arm=arm,
        lora=lora,
        lora_alpha=lora_alpha,
        steps=steps,
        epochs=epochs,
        learning_rate=lr,
        warmup=warmup,
        weight_decay=weight_decay,
        betas=(0.9, beta2),
        most_norm=clip,
        batch_size=batch_size,
        micro_batches=micro_batches,
        seed=seed,
        saves=saves,
        template=template,
        target_eos=eos,
        max_length=max_length,
        max_new_tokens=max_new_tokens,
        ratio=ratio,
        overlap=SOURCES if overlap is None else read_list(overlap),
        split=Rule(by, fraction, threshold, score, pool),  # type: ignore[arg-type]  # a wrong one is refused
        dtype=dtype,
        bf16=bf16,
        checkpointing=checkpointing,
    )
    show({"run": str(run), "arm": arm, "seed": seed}, run_text, as_json)
