"""`attnshift trace`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from attnshift.cli.app import DebugFlag, JsonFlag, app, note, quiet
from attnshift.cli.choices import chosen_steps, listed, load_data, read_pairs, refuse_beside, trace_places
from attnshift.cli.sweep import Ready, measure, preview_all, preview_downloads, show_all
from attnshift.cli.sweep import follow as follow_run


@app.command()
def trace(
    ckpts: Annotated[
        list[Path], typer.Option(help="The run directory; again for more. With --revisions a model's name on the hub.")
    ],
    conflicts: Annotated[list[Path] | None, typer.Option(help="Conflict items; may be repeated.")] = None,
    ift: Annotated[list[Path] | None, typer.Option(help="Instruction examples; may be repeated.")] = None,
    out: Annotated[Path | None, typer.Option(help="Directory of the trace. [default: RUN/trace]")] = None,
    measures: Annotated[str | None, typer.Option(help="Comma-separated names. [default: all]")] = None,
    controls: Annotated[
        bool, typer.Option("--controls", help="Also agreeing contexts, unknown entities and irrelevant contexts.")
    ] = False,
    benchmarks: Annotated[
        str | None, typer.Option(help="Tasks of lm-evaluation-harness, or task files: arc_easy,mine.yaml.")
    ] = None,
    benchmark_limit: Annotated[int | None, typer.Option(min=1, help="At most so many documents of each task.")] = None,
    benchmark_csv: Annotated[
        list[Path] | None, typer.Option(help="Scores made elsewhere: a column step, and one per task.")
    ] = None,
    steps: Annotated[str | None, typer.Option(help="Such as 0,100,500-2000. [default: all]")] = None,
    every: Annotated[int | None, typer.Option(min=1, help="Every N-th checkpoint, the first and the last.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many items, and so many examples.")] = None,
    base: Annotated[str | None, typer.Option(help="Step 0: a directory or a hub name.")] = None,
    revisions: Annotated[str | None, typer.Option(help="Of a model on the hub: step1000,step3000,main.")] = None,
    template: Annotated[str | None, typer.Option(help="plain, alpaca, chat or a Jinja file.")] = None,
    fields: Annotated[list[str] | None, typer.Option("--map", help="field=column, for other column names.")] = None,
    tokenizer: Annotated[Path | None, typer.Option(help="Directory of another tokenizer.")] = None,
    eos: Annotated[bool | None, typer.Option(help="Whether training targets end with EOS. [default: yes]")] = None,
    rows: Annotated[str, typer.Option(help="Attention of the last prompt token (last) or the answer's.")] = "last",
    device: Annotated[
        str | None, typer.Option(help="cpu, cuda, cuda:1, auto (over all GPUs). [default: a GPU if there is one]")
    ] = None,
    dtype: Annotated[str, typer.Option(help="auto, float32, bfloat16, float16, float64.")] = "auto",
    max_new_tokens: Annotated[int | None, typer.Option(min=1, help="Length of generations. [default: 32]")] = None,
    token_budget: Annotated[
        int | None,
        typer.Option(
            "--token-budget",
            "--batch-tokens",
            min=1,
            help="Tokens in a batch, padding included. [default: what fits free memory]",
        ),
    ] = None,
    gradients_on_cpu: Annotated[
        bool, typer.Option("--gradients-on-cpu", help="Hold gradients there, for models that fill a GPU.")
    ] = False,
    seed: Annotated[int, typer.Option(help="For sampling under --limit.")] = 0,
    backend: Annotated[str, typer.Option(help="local, ray or slurm.")] = "local",
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Checkpoints at once, here one per GPU or CPU share. [default: 1; ray, slurm: all]"),
    ] = None,
    cluster: Annotated[
        list[str] | None,
        typer.Option(help="gpus=1, cpus, memory (GB) per checkpoint; ray: address; slurm: time (minutes), partition…"),
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", help="Measure a run that is being written, until it ends.")
    ] = False,
    follow_for: Annotated[
        float, typer.Option("--follow-for", min=0, help="Minutes without a change that end --follow.")
    ] = 60,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show prompts, cells and costs; compute nothing.")] = False,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Measure every checkpoint of a run; run it again to resume."""
    from attnshift.checkpoints.tokenizer import load_tokenizer
    from attnshift.console.trace import outcome_facts
    from attnshift.models.harness import read_tasks
    from attnshift.models.series import open_series
    from attnshift.tracing.backends.choice import choose_backend
    from attnshift.tracing.job import prepare

    quiet(debug)
    places = trace_places(ckpts, out)
    refuse_beside(
        "--follow", follow, {"--dry-run": dry_run, "--steps": steps, "--every": every, "--revisions": revisions}
    )
    refuse_beside("a second --ckpts", len(places) > 1, {"--follow": follow, "--revisions": revisions})
    refuse_beside("a second --ckpts", len(places) > 1, {"--benchmark-csv": benchmark_csv})
    chosen = choose_backend(backend, workers, read_pairs("--cluster", cluster or [], "key=value"), device)
    items, examples = load_data(conflicts, ift, fields)
    tasks = read_tasks(listed(benchmarks))
    said: set[str] = set()
    if dry_run and preview_downloads(ckpts[0], listed(revisions), as_json):
        return

    def job_of(run: Path, ready: Ready | None = None) -> Any:
        series = open_series(run, base=base, revisions=listed(revisions), tell=note, ready=ready)
        return prepare(
            series,
            items=items,
            examples=examples,
            out=places[run],
            measures=None if measures is None else listed(measures),
            controls=controls,
            steps=chosen_steps(steps, every, series.steps),
            limit=limit,
            seed=seed,
            template=template,
            tokenizer=None if tokenizer is None else load_tokenizer(tokenizer),
            target_eos=eos,
            rows=rows,
            token_budget=token_budget,
            gradients_on_cpu=gradients_on_cpu,
            max_new_tokens=max_new_tokens,
            dtype=dtype,
            device=chosen.device,
            share=chosen.share,
        )

    def measured(job: Any) -> Any:
        return measure(job, chosen, tasks, benchmark_limit, benchmark_csv or [], said)

    if follow:
        run = ckpts[0]
        show_all([follow_run(run, places[run], partial(job_of, run), measured, follow_for)], as_json)
        return
    jobs = [job_of(run) for run in places]
    if dry_run:
        if backend != "local":
            note("device, memory and batches are this machine's, not the cluster's")
        preview_all(jobs, as_json)
    else:
        show_all([outcome_facts(job, measured(job)) for job in jobs], as_json)
