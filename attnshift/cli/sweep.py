"""What `attnshift trace` does with the runs that it is given, once each is prepared."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import typer

from attnshift.cli.app import fail, note, show

Ready = Callable[[Path], bool]


def preview_all(jobs: Sequence[Any], as_json: bool) -> None:
    """Show what would be done for every run."""
    from attnshift.console.trace import preview_text, sweep_facts, sweep_text
    from attnshift.tracing.preview import preview

    show(sweep_facts([preview(job) for job in jobs]), partial(sweep_text, one=preview_text), as_json)


def preview_downloads(repo: Path, revisions: Sequence[str], as_json: bool) -> bool:
    """Show what has to be downloaded before more can be said; whether there is anything."""
    from attnshift.checkpoints.hub import plan_downloads
    from attnshift.console.run import downloads_facts, downloads_text

    downloads = plan_downloads(str(repo), revisions)
    if not any(download.files for download in downloads):
        return False
    show(downloads_facts(str(repo), downloads), downloads_text, as_json)
    return True


def measure(job: Any, backend: Any, tasks: Any, task_limit: int | None, scores: Sequence[Path], said: set[str]) -> Any:
    """Measure one run, and its benchmarks; a backend is opened for it alone, as it holds the run's model.

    Notes that were said aren't said again.
    """
    from attnshift.console.trace import ProgressLine
    from attnshift.tracing.benchmarks import read_benchmarks, run_benchmarks
    from attnshift.tracing.trace import run_job

    for line in dict.fromkeys(job.notes):
        if line not in said:
            note(line)
    said.update(job.notes)
    with backend:
        with ProgressLine() as progress:
            outcome = run_job(job, progress, backend)
        if tasks:
            run_benchmarks(job, tasks, task_limit, note, backend)
    for file in scores:
        named, unknown = read_benchmarks(job.store.path, file)
        note(f"benchmarks of {file}: {', '.join(named)}" + (f"; steps not traced: {unknown}" if unknown else ""))
    return outcome


def follow(
    run: Path, trace: Path | None, job_of: Callable[[Ready | None], Any], measured: Callable[[Any], Any], minutes: float
) -> dict[str, Any]:
    """Measure a run while it is written; what came of it."""
    from attnshift.checkpoints.growing import Growing
    from attnshift.console.trace import followed_facts
    from attnshift.tracing.follow import follow as follow_run

    return followed_facts(follow_run(Growing(run, trace or run / "trace"), job_of, measured, note, minutes=minutes))


def show_all(traced: Sequence[dict[str, Any]], as_json: bool) -> None:
    """Show what came of every run; exit code 1 where a checkpoint failed."""
    from attnshift.console.trace import failures_text, sweep_facts, together_text

    show(sweep_facts(traced), together_text, as_json)
    failed = [failures_text(facts["failed"]) for facts in traced if facts["failed"]]
    if failed:
        fail("\n".join(failed), debug=False)
        raise typer.Exit(1)
