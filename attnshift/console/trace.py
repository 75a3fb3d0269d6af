"""A trace before, while and after it is made."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from attnshift.console.units import bytes_text, indented, seconds_text, shortened, visible

if TYPE_CHECKING:
    from attnshift.tracing.follow import Followed
    from attnshift.tracing.job import Job
    from attnshift.tracing.trace import Outcome, Progress


def preview_text(facts: Mapping[str, Any]) -> str:
    """A dry run as lines."""
    todo = [step for step in facts["steps"] if step not in facts["done"]]
    lines = [
        f"run        {facts['run']}",
        f"trace      {facts['out']}",
        f"steps      {len(facts['steps'])}: {shortened(facts['steps'])}",
        f"to do      {len(todo)}: {shortened(todo)}",
        f"data       {facts['items']} conflict items, {facts['examples']} examples",
        f"measures   {', '.join(facts['measures'])}",
        f"template   {facts['template']['name']} ({facts['template']['digest']})",
    ]
    lines += [f"broken     step {step}: {indented(error)}" for step, error in facts["broken"].items()]
    for name, shown in facts["prompts"].items():
        if isinstance(shown, dict):
            lines.append(f"{name}: {shown['text']!r}, tokens {shown['tokens']}, ids {shown['ids']}")
        else:
            lines += ["", f"{name} ({sum(run['tokens'] for run in shown)} tokens)"]
            lines += [f"  {run['role']:18} {run['tokens']:>4}  {run['text']!r}" for run in shown]
    lines += ["", f"left out   {len(facts['dropped'])} datapoints"]
    lines += [f"  {row['id']}: {row['reason']}" for row in facts["dropped"][:10]]
    lines += [
        f"device     {facts['device']}",
        *_memory_lines(facts),
        f"time       about {seconds_text(facts['seconds_per_checkpoint'])} of matrix products per checkpoint",
        f"disk       at most {bytes_text(facts['disk_bytes'])}",
    ]
    return "\n".join(lines + [f"note: {note}" for note in facts["notes"]])


def _memory_lines(facts: Mapping[str, Any]) -> list[str]:
    """What takes memory, beside what is free, and how the data goes through the model."""
    free, parts = facts["free_bytes"], facts["memory"]
    held = ", ".join(f"{count} for {need}" for need, count in facts["gradient_copies"].items())
    where = " on the CPU" if facts["gradients_elsewhere"] else ""
    details = {"weights": f"{facts['parameters']:,} parameters", "gradients": f"held at once{where}: {held or 'none'}"}
    details |= {"activations": f"of a batch of {facts['token_budget']} tokens", "logits": "of its answer tokens"}
    lines = [f"memory     about {bytes_text(facts['memory_bytes'])}; {bytes_text(free)} free on {facts['device']}"]
    lines += [f"  {part:12} {bytes_text(size):>9}  {details[part]}" for part, size in parts.items()]
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
        "known": outcome.known,
        "spelling": outcome.spelling,
        "margin_label_agreement": _agreement(job),
    }


def _agreement(job: Job) -> dict[str, float]:
    """Share of the items with one answer whose margin says the same as their label, at the first and the last step."""
    import xarray as xr

    from attnshift.stats.readings import margin_label_agreement

    steps, names = job.store.steps(), ("answer_label", "margin")
    shares: dict[str, float] = {}
    for step in dict.fromkeys((*steps[:1], *steps[-1:])):
        held = job.store.read_variables(step, names)
        if len(held) == len(names):
            share = float(margin_label_agreement(xr.Dataset(held).expand_dims("step"))[0])
            shares |= {str(step): share} if np.isfinite(share) else {}
    return shares


def outcome_text(facts: Mapping[str, Any]) -> str:
    """What a trace ended with, as lines."""
    lines = [facts[key] for key in ("grouping", "known") if facts[key]]
    if facts["spelling"]:
        lines.append(f"answers are scored {facts['spelling']}")
    if shares := facts["margin_label_agreement"]:
        said = ", ".join(f"{100 * share:.0f} % at step {step}" for step, share in shares.items())
        lines.append(f"margin and label agree, of the items with one answer: {said}")
    lines.append(
        f"{len(facts['computed'])} checkpoints measured, {len(facts['kept'])} kept as they were, "
        f"{len(facts['failed'])} failed"
    )
    if facts.get("deleted"):
        lines.append(f"deleted before they were measured: steps {', '.join(map(str, facts['deleted']))}")
    return "\n".join([*lines, f"trace: {facts['trace']}"])


def followed_facts(ended: Followed) -> dict[str, Any]:
    """What following a run ended with, as plain data."""
    about = {"over": ended.over, "deleted": list(ended.deleted)}
    return {**outcome_facts(ended.job, ended.outcome), **about}


def sweep_facts(traced: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The facts of one run as they are; of several as a list."""
    return traced[0] if len(traced) == 1 else {"traces": list(traced)}


def sweep_text(facts: Mapping[str, Any], one: Callable[[Mapping[str, Any]], str]) -> str:
    """The facts of one run or of several as lines, each as ``one`` tells it."""
    if "traces" not in facts:
        return one(facts)
    return "\n\n".join(one(each) for each in facts["traces"])


def together_text(facts: Mapping[str, Any]) -> str:
    """What traces ended with, as lines; of several also how they are opened side by side."""
    text = sweep_text(facts, outcome_text)
    if "traces" not in facts:
        return text
    named = ", ".join(f"{name!r}: {each['trace']!r}" for name, each in _named(facts["traces"]).items())
    return f"{text}\n\nside by side: attnshift.open_traces({{{named}}})"


def _named(traced: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Traces by the first name of theirs that tells them apart."""
    paths = [Path(each["trace"]) for each in traced]
    names = [path.parent.name if path.name == "trace" else path.name for path in paths]
    distinct = names if len(set(names)) == len(names) else [str(path) for path in paths]
    return dict(zip(distinct, traced, strict=True))


def failures_text(failed: Mapping[str, str]) -> str:
    """The steps that failed and why, as lines."""
    return "\n".join(f"step {step} failed: {indented(error)}" for step, error in failed.items())


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
        line = visible(
            f"ckpt {progress.done}/{progress.total} · step {progress.step} · {told} · "
            f"{seconds_text(progress.seconds)} · {seconds_text(left)} left"
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
    return ", ".join(values) or "another command measured it meanwhile"
