"""What the command line prints: facts of the library as lines of text."""

from __future__ import annotations

import sys
import textwrap
import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from attnshift.checkpoints.run import Run
    from attnshift.demonstration import Demo
    from attnshift.tracing.job import Job
    from attnshift.tracing.trace import Outcome, Progress


def run_facts(run: Run) -> dict[str, Any]:
    """A run as plain data."""
    from attnshift.checkpoints.tokenizer import tokenizer_dir
    from attnshift.errors import AttnshiftError

    try:
        tokenizer = str(tokenizer_dir(run))
    except AttnshiftError as error:
        tokenizer = f"none: {error.problem}"
    manifest = run.manifest
    return {
        "run": str(run.path),
        "base": None if run.base is None else str(run.base),
        "tokenizer": tokenizer,
        "checkpoints": [
            {
                "step": c.step,
                "epoch": c.epoch,
                "kind": c.kind,
                "path": str(c.path),
                "files": len(c.files),
                "bytes": sum(file.stat().st_size for file in c.files),
                "digest": run.fingerprints[c.step].digest,
            }
            for c in run.checkpoints
        ],
        "aliases": dict(run.aliases),
        "broken": {str(step): str(error) for step, error in run.broken.items()},
        "manifest": {
            "arm": manifest.arm,
            "seed": manifest.seed,
            "template": manifest.template,
            "max_new_tokens": manifest.max_new_tokens,
            "trained": list(manifest.trained),
            "conflicts": [str(path) for path in manifest.conflicts],
            "ift": [str(path) for path in manifest.ift],
        },
        "notes": list(run.notes),
    }


def run_text(facts: Mapping[str, Any]) -> str:
    """A run as lines."""
    lines = [
        f"run        {facts['run']}",
        f"base       {facts['base'] or 'none'}",
        f"tokenizer  {facts['tokenizer']}",
        "",
    ]
    lines.append(f"{'step':>8}  {'epoch':>6}  {'kind':8}{'size':>9}  folder")
    for c in facts["checkpoints"]:
        epoch = "" if c["epoch"] is None else f"{c['epoch']:.2f}"
        lines.append(f"{c['step']:>8}  {epoch:>6}  {c['kind']:8}{_bytes(c['bytes']):>9}  {c['path']}")
    lines += [f"{step:>8}  can't be read: {_indented(error)}" for step, error in facts["broken"].items()]
    lines += [f"alias      {name} = step {step}" for name, step in facts["aliases"].items()]
    stated = {key: value for key, value in facts["manifest"].items() if value not in (None, [])}
    lines += [f"manifest   {key}: {value}" for key, value in stated.items()]
    return "\n".join(lines + [f"note: {note}" for note in facts["notes"]])


def preview_text(facts: Mapping[str, Any]) -> str:
    """A dry run as lines."""
    todo = [step for step in facts["steps"] if step not in facts["done"]]
    lines = [
        f"run        {facts['run']}",
        f"trace      {facts['out']}",
        f"steps      {len(facts['steps'])}: {_shortened(facts['steps'])}",
        f"to do      {len(todo)}: {_shortened(todo)}",
        f"data       {facts['items']} conflict items, {facts['examples']} examples",
        f"measures   {', '.join(facts['measures'])}",
        f"template   {facts['template']['name']} ({facts['template']['digest']})",
    ]
    lines += [f"broken     step {step}: {_indented(error)}" for step, error in facts["broken"].items()]
    for name, shown in facts["prompts"].items():
        if isinstance(shown, dict):
            lines.append(f"{name}: {shown['text']!r}, token ids {shown['ids']}")
        else:
            lines += ["", f"{name} ({sum(run['tokens'] for run in shown)} tokens)"]
            lines += [f"  {run['role']:18} {run['tokens']:>4}  {run['text']!r}" for run in shown]
    lines += ["", f"left out   {len(facts['dropped'])} datapoints"]
    lines += [f"  {row['id']}: {row['reason']}" for row in facts["dropped"][:10]]
    lines += [
        f"device     {facts['device']}",
        *_memory_lines(facts),
        f"time       about {_seconds(facts['seconds_per_checkpoint'])} of matrix products per checkpoint",
        f"disk       at most {_bytes(facts['disk_bytes'])}",
    ]
    return "\n".join(lines + [f"note: {note}" for note in facts["notes"]])


def _memory_lines(facts: Mapping[str, Any]) -> list[str]:
    """What takes memory, beside what is free, and how the data goes through the model."""
    free, parts = facts["free_bytes"], facts["memory"]
    held = ", ".join(f"{count} for {need}" for need, count in facts["gradient_copies"].items())
    details = {"weights": f"{facts['parameters']:,} parameters", "gradients": f"held at once: {held or 'none'}"}
    details |= {"activations": f"of a batch of {facts['token_budget']} tokens", "logits": "of its answer tokens"}
    lines = [f"memory     about {_bytes(facts['memory_bytes'])}; {_bytes(free)} free on {facts['device']}"]
    lines += [f"  {part:12} {_bytes(size):>9}  {details[part]}" for part, size in parts.items()]
    lines.append(f"batches    {facts['batches']} per checkpoint, at most {facts['token_budget']} tokens each")
    return lines + [f"group      {name}: gradient {how}" for name, how in facts["groups"].items()]


def outcome_facts(job: Job, outcome: Outcome) -> dict[str, Any]:
    """What a trace ended with, as plain data."""
    return {
        "trace": str(job.store.path),
        "computed": list(outcome.computed),
        "kept": list(outcome.kept),
        "failed": {str(step): error for step, error in outcome.failed.items()},
        "grouping": outcome.grouping,
    }


def outcome_text(facts: Mapping[str, Any]) -> str:
    """What a trace ended with, as lines."""
    lines = [facts["grouping"]] if facts["grouping"] else []
    lines.append(
        f"{len(facts['computed'])} checkpoints measured, {len(facts['kept'])} kept as they were, "
        f"{len(facts['failed'])} failed"
    )
    return "\n".join([*lines, f"trace: {facts['trace']}"])


def demo_facts(demo: Demo) -> dict[str, Any]:
    """A demo as plain data."""
    return {
        "verdict": demo.verdict.sentences(),
        "numbers": asdict(demo.verdict),
        "caveats": list(demo.caveats),
        "run": str(demo.run),
        "trace": str(demo.trace),
        "report": str(demo.report),
    }


def demo_text(facts: Mapping[str, Any]) -> str:
    """What a demo found and where its things are, as lines."""
    said = [textwrap.fill(sentence, 100) for sentence in facts["verdict"]]
    read = [textwrap.fill(f"- {note}", 100, subsequent_indent="  ") for note in facts["caveats"]]
    places = [f"{what:8}{facts[what]}" for what in ("run", "trace", "report")]
    return "\n".join([*said, "", "Read this with it:", *read, "", *places])


def failures_text(failed: Mapping[str, str]) -> str:
    """The steps that failed and why, as lines."""
    return "\n".join(f"step {step} failed: {_indented(error)}" for step, error in failed.items())


class ProgressLine:
    """Says on stderr what each checkpoint gave; a bar on a terminal, plain lines elsewhere."""

    def __enter__(self) -> ProgressLine:
        self._started = time.perf_counter()
        self._bar: Any = None
        if sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(unit="ckpt", file=sys.stderr)
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def __call__(self, progress: Progress) -> None:
        """Report one checkpoint."""
        left = (time.perf_counter() - self._started) / progress.done * (progress.total - progress.done)
        told = f"failed: {progress.error.splitlines()[0]}" if progress.error else _headline(progress.values)
        line = (
            f"ckpt {progress.done}/{progress.total} · step {progress.step} · {told} · "
            f"{_seconds(progress.seconds)} · {_seconds(left)} left"
        )
        if self._bar is None:
            print(line, file=sys.stderr, flush=True)  # noqa: T201  (this is the console)
        else:
            self._bar.write(line, file=sys.stderr)
            self._bar.total = progress.total
            self._bar.update(progress.done - self._bar.n)


def _headline(values: Mapping[str, np.ndarray]) -> str:
    """The most telling of the variables just measured, with the half-width of its 95 % interval."""
    for name, label in (("counterfactual_accuracy", "context"), ("margin", "margin"), ("loss", "loss")):
        if name in values and len(values[name]):
            here = values[name][np.isfinite(values[name])]
            return f"{label} {here.mean():.2f} ± {1.96 * here.std() / np.sqrt(len(here)):.2f}"
    return ", ".join(values)


def _shortened(steps: list[int]) -> str:
    return ", ".join(map(str, steps if len(steps) <= 12 else [*steps[:6], "…", *steps[-3:]]))


def _indented(text: str) -> str:
    return text.replace("\n", "\n    ")


def _bytes(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def _seconds(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
