"""The command line: arguments to library calls, one to one."""

from __future__ import annotations

import json
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from attnshift.errors import AttnshiftError

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="See how finetuning shifts a language model between its context and its memory.",
)

_INTERRUPTED = 130

JsonFlag = Annotated[bool, typer.Option("--json", help="Print machine-readable JSON on stdout.")]
DebugFlag = Annotated[bool, typer.Option("--debug", help="Show tracebacks and library warnings.")]


@app.command()
def inspect(
    run: Annotated[Path, typer.Argument(help="A run directory, or a single checkpoint.")],
    base: Annotated[str | None, typer.Option(help="Step 0: a directory or a hub name.")] = None,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Say what is in a run directory; loads no weights."""
    from attnshift.checkpoints.run import find_run
    from attnshift.console import run_facts, run_text

    facts = run_facts(find_run(run, base=base, allow_download=base is not None))
    _show(facts, run_text, as_json)


@app.command()
def trace(
    ckpts: Annotated[Path, typer.Option(help="The run directory.")],
    conflicts: Annotated[list[Path] | None, typer.Option(help="Conflict items; may be repeated.")] = None,
    ift: Annotated[list[Path] | None, typer.Option(help="Instruction examples; may be repeated.")] = None,
    out: Annotated[Path | None, typer.Option(help="Directory of the trace. [default: RUN/trace]")] = None,
    measures: Annotated[str | None, typer.Option(help="Comma-separated names. [default: all]")] = None,
    steps: Annotated[str | None, typer.Option(help="Such as 0,100,500-2000. [default: all]")] = None,
    every: Annotated[int | None, typer.Option(min=1, help="Every N-th checkpoint, the first and the last.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many items, and so many examples.")] = None,
    base: Annotated[str | None, typer.Option(help="Step 0: a directory or a hub name.")] = None,
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
    seed: Annotated[int, typer.Option(help="For sampling under --limit.")] = 0,
    backend: Annotated[str, typer.Option(help="local.")] = "local",
    workers: Annotated[int, typer.Option(min=1, help="Processes; 1 so far.")] = 1,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show prompts, cells and costs; compute nothing.")] = False,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Measure every checkpoint of a run; run it again to resume."""
    if backend != "local" or workers != 1:
        raise AttnshiftError(
            f"--backend {backend} --workers {workers}: this version computes in one local process",
            expected="--backend local --workers 1",
        )
    from attnshift.checkpoints.tokenizer import load_tokenizer
    from attnshift.console import ProgressLine, failures_text, outcome_facts, outcome_text, preview_text
    from attnshift.models.series import open_series
    from attnshift.tracing.job import prepare
    from attnshift.tracing.preview import preview
    from attnshift.tracing.trace import run_job

    _quiet_libraries(debug)
    items, examples = _load_data(conflicts, ift, fields)
    series = open_series(ckpts, base=base)
    job = prepare(
        series,
        items=items,
        examples=examples,
        out=out,
        measures=None if measures is None else [name.strip() for name in measures.split(",") if name.strip()],
        steps=_steps(steps, every, series.steps),
        limit=limit,
        seed=seed,
        template=template,
        tokenizer=None if tokenizer is None else load_tokenizer(tokenizer),
        target_eos=eos,
        rows=rows,
        token_budget=token_budget,
        max_new_tokens=max_new_tokens,
        dtype=dtype,
        device=device,
    )
    if dry_run:
        _show(preview(job), preview_text, as_json)
        return
    for note in job.notes:
        _note(note)
    with ProgressLine() as line:
        outcome = run_job(job, line)
    facts = outcome_facts(job, outcome)
    _show(facts, outcome_text, as_json)
    if outcome.failed:
        _fail(failures_text(facts["failed"]), debug=False)
        raise typer.Exit(1)


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
    from attnshift.console import ProgressLine, demo_facts, demo_text
    from attnshift.demonstration import demo as show
    from attnshift.demonstration import demo_seeds

    _quiet_libraries(debug)
    if seeds is not None:
        shown = demo_seeds(out, read_seeds(seeds), arm, workers, say=_note)
        facts = {str(each): demo_facts(one) for each, one in shown.items()}
        _show(facts, lambda _: f"traces: {out}/seed-*/trace", as_json)
        return
    with ProgressLine() as line:
        one = show(out, seed, arm, say=_note, progress=line)
    _show(demo_facts(one), demo_text, as_json)


@app.command()
def plot(
    trace: Annotated[Path | None, typer.Argument(help="Directory of a trace.")] = None,
    figure: Annotated[str | None, typer.Argument(help="Name of a figure; see --list.")] = None,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="fig.html, .pdf, .svg, .png, .json or .csv.")] = None,
    list_: Annotated[bool, typer.Option("--list", help="List the figures.")] = False,
    log_steps: Annotated[bool, typer.Option("--log-steps", help="Steps on a logarithmic axis.")] = False,
    debug: DebugFlag = False,
) -> None:
    """Draw a figure of a trace."""
    from attnshift.figures.plot import list_figures
    from attnshift.figures.plot import plot as draw

    if list_:
        _print("\n".join(f"{name:12} {about}" for name, about in list_figures().items()))
        return
    if trace is None or figure is None:
        raise AttnshiftError("a trace and a figure are needed", expected="attnshift plot TRACE FIGURE -o fig.html")
    target = out or Path(f"{figure}.html")
    draw(trace, figure, target, log_steps=log_steps)
    _print(str(target))


def main() -> None:
    """Run the command line; errors become one short block on stderr and an exit code."""
    debug = "--debug" in sys.argv
    warnings.showwarning = _show_warning
    try:
        code = app(prog_name="attnshift", standalone_mode=False)
    except AttnshiftError as error:
        _fail(f"error: {error}", debug)
        code = 2
    except (KeyboardInterrupt, typer.Abort):
        code = _INTERRUPTED
    except Exception as error:
        if callable(show := getattr(error, "show", None)):  # click's own: a wrong option, say
            show()
            code = int(getattr(error, "exit_code", 2))
        elif _came_of_interrupt(error):
            code = _INTERRUPTED
        else:
            _fail(f"error: {type(error).__name__}: {error}\n  this is a bug in attnshift: --debug shows where", debug)
            code = 1
    if code == _INTERRUPTED:  # typer turns Ctrl-C into this code without a word
        _fail("interrupted; what was computed is kept, and the same command goes on from there", debug=False)
    sys.exit(code)


def _came_of_interrupt(error: BaseException | None) -> bool:
    """Whether an error was raised while a Ctrl-C was on its way out: some library's clean-up stumbled over it."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None


def _load_data(conflicts: list[Path] | None, ift: list[Path] | None, fields: list[str] | None) -> tuple[Any, Any]:
    """Items and examples from files; None for both where no file is named."""
    if not conflicts and not ift:
        if fields:
            raise AttnshiftError("--map is for the columns of a file", expected="--conflicts or --ift beside it")
        return None, None
    from attnshift.data.formats import load_examples, load_items, split_mapping

    for_items, for_examples = split_mapping(fields or [], with_items=bool(conflicts), with_examples=bool(ift))
    items = [item for path in conflicts or [] for item in load_items(path, for_items)]
    examples = [example for path in ift or [] for example in load_examples(path, for_examples)]
    return items, examples


def _steps(text: str | None, every: int | None, known: tuple[int, ...]) -> list[int] | None:
    """The steps that ``--steps`` and ``--every`` name; None for all."""
    chosen: list[int] | None = None
    if text is not None:
        chosen = []
        for first, last in _ranges("steps", text, "0,100,500-2000"):
            chosen += [first] if last is None else [s for s in known if first <= s <= last]
        if not chosen:
            raise AttnshiftError(f"--steps {text!r} names no step", expected=f"steps of {', '.join(map(str, known))}")
    if every is not None:
        among = [s for s in known if chosen is None or s in chosen]
        chosen = [s for i, s in enumerate(among) if i % every == 0 or i == len(among) - 1]
    return chosen


def read_seeds(text: str) -> list[int]:
    """Seeds as ``--seeds`` names them: 3, or 0-9, or a list of both."""
    example = "0-9 or 0,3,5"
    chosen = {seed for first, last in _ranges("seeds", text, example) for seed in range(first, (last or first) + 1)}
    if not chosen:
        raise AttnshiftError(f"--seeds {text!r} names no seed", expected=f"such as {example}")
    return sorted(chosen)


def _ranges(option: str, text: str, example: str) -> Iterator[tuple[int, int | None]]:
    """First and last of each piece of a list such as 0,100,500-2000; a single number has no last."""
    for piece in filter(None, (p.strip() for p in text.split(","))):
        first, dash, last = piece.partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise AttnshiftError(f"--{option} {text!r} is not a list of {option}", expected=f"such as {example}")
        yield int(first), int(last) if dash else None


def _quiet_libraries(debug: bool) -> None:
    if not debug:
        from attnshift.models.quiet import quiet_libraries

        quiet_libraries()


def _show_warning(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    """Our own warnings are notes for the user; those of libraries are for --debug."""
    if category is UserWarning or "--debug" in sys.argv:
        _note(str(message))


def _show(facts: dict[str, Any], text: Callable[[dict[str, Any]], str], as_json: bool) -> None:
    _print(json.dumps(facts, indent=1, ensure_ascii=False) if as_json else text(facts))


def _print(text: str) -> None:
    typer.echo(text)


def _note(text: str) -> None:
    typer.echo(f"note: {text}", err=True)


def _fail(text: str, debug: bool) -> None:
    if debug:
        traceback.print_exc()
    typer.echo(text, err=True)
