"""What `attnshift compare` found."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from attnshift.console.units import plain

if TYPE_CHECKING:
    from attnshift.stats.compare import Comparison

_SHOWN = 12
"""groups that are printed; --json has all"""


def compare_facts(found: Comparison) -> dict[str, Any]:
    """A comparison as plain data; differences and counts that follow from the rest are written out."""
    facts: dict[str, Any] = plain(found)
    for told, change in zip(facts["changes"], found.changes, strict=True):
        told["change"] = change.change
        for of_run, run in zip(told["runs"], change.runs, strict=True):
            of_run["change"] = run.change
        for of_group, group in zip(told["contributions"], change.contributions, strict=True):
            of_group["change"] = group.change
        if change.flips is not None:
            told["flips"]["robust_to_memory"] = change.flips.robust_to_memory
            told["flips"]["robust_to_context"] = change.flips.robust_to_context
    for (_, told), (_, test) in zip(facts["falls"], found.falls, strict=True):
        told["reason"] = test.reason
    return facts


def compare_text(facts: Mapping[str, Any]) -> str:
    """A comparison as lines."""
    first, second = facts["names"]
    lines = [f"{facts['measure']} from {first} to {second}, in {facts['unit'] or 'its own unit'}"]
    for change in facts["changes"]:
        lines += ["", *_change_lines(change, facts)]
    lines += ["", *(_fall(name, test) for name, test in facts["falls"])]
    lines += ["", *(line for note in facts["notes"] for line in _wrapped(f"- {note}", "  "))]
    return "\n".join([*lines, *_wrapped(f"- {facts['assumptions']}", "  ")])


def _change_lines(change: Mapping[str, Any], facts: Mapping[str, Any]) -> list[str]:
    runs = change["runs"]
    steps = "" if len(runs) > 1 else " (steps {:,} and {:,})".format(*runs[0]["steps"])
    items = sum(run["items"] for run in runs)
    told = f"{len(runs)} runs, {items} items" if len(runs) > 1 else f"{items} items"
    lines = [
        f"{change['place']}{steps}: {_number(change['before'])} → {_number(change['after'])}, "
        f"{_signed(change['change'])}",
        f"  interval  {_interval(change)}, {told} in {facts['clusters']} clusters",
        f"  noise     {_noise(change['noise'])}",
        f"  tests     {_tests(change)}",
    ]
    if len(runs) > 1:
        lines += [f"  run       {_run(run)}" for run in runs]
    if change["flips"] is not None:
        lines.append(f"  flips     {_flips(change['flips'])}")
    groups = change["contributions"]
    lines.append(f"  parts     by {facts['by']}")
    lines += [f"  {'':9} {_group(group)}" for group in groups[:_SHOWN]]
    if len(groups) > _SHOWN:
        rest = sum(group["contribution"] for group in groups[_SHOWN:])
        lines.append(f"  {'':9} {_signed(rest)} from {len(groups) - _SHOWN} more: --json has them all")
    return lines


def _fall(name: str, test: Mapping[str, Any]) -> str:
    if test["reason"] is not None:
        return f"fall of {name} beyond checkpoint noise: {test['reason']}"
    told = f"fall of {name} beyond checkpoint noise: {_number(test['fall'])} from its peak, {_p(test['p_value'])}"
    return f"{told} (at least {_number(test['at_least'])}); {_p(test['p_correlated'])} if noise persists" + (
        ", as it may here" if test["suspicious"] else ""
    )


def _interval(change: Mapping[str, Any]) -> str:
    if change["low"] is None or change["high"] is None:
        return "none: nothing says how clusters vary"
    return f"{_signed(change['low'])} to {_signed(change['high'])} (95 %)"


def _noise(noise: float | None) -> str:
    if noise is None:
        return "too few checkpoints to tell how far they jump by chance"
    return f"±{_number(noise)} (95 %) by the choice of the checkpoint alone"


def _tests(change: Mapping[str, Any]) -> str:
    runs = change["runs"]
    flipped = f"{'whole runs' if len(runs) > 1 else 'whole clusters'} flipped: {_p(change['sign_flip'])}"
    if len(runs) > 1 or runs[0]["mcnemar"] is None:
        return flipped
    return f"{_mcnemar(runs[0])}; {flipped}"


def _mcnemar(run: Mapping[str, Any]) -> str:
    tested = run["mcnemar"]
    holm = f", {_p(run['holm'])} by Holm" if run["holm"] != tested["p_value"] else ""
    return f"McNemar: {tested['gained']} gained, {tested['lost']} lost, {_p(tested['p_value'])}{holm}"


def _run(run: Mapping[str, Any]) -> str:
    steps = "steps {:,} and {:,}".format(*run["steps"])
    tested = f"; {_mcnemar(run)}" if run["mcnemar"] is not None else ""
    values = f"{_number(run['before'])} → {_number(run['after'])}, {_signed(run['change'])}"
    return f"{run['run']} ({steps}): {values}{tested}"


def _flips(flips: Mapping[str, Any]) -> str:
    parts = [
        f"{len(flips[f'to_{side}'])} to {told} ({flips[f'robust_to_{side}']} lasting)"
        for side, told in (("memory", "memory"), ("context", "the context"))
    ]
    return f"{', '.join(parts)}, of {flips['items']}; lasting: ±{flips['window']} checkpoints agree"


def _group(group: Mapping[str, Any]) -> str:
    values = f"{_number(group['before'])} → {_number(group['after'])}"
    return f"{_signed(group['contribution'])} from {group['stratum'] or '(none)'}: {values}, {group['items']} items"


def _wrapped(text: str, indent: str) -> Sequence[str]:
    return textwrap.wrap(text, 100, subsequent_indent=indent)


def _number(value: float) -> str:
    return (f"{value:.1f}" if abs(value) >= 10 else f"{value:.3g}").replace("-", "−")


def _signed(value: float) -> str:
    return ("+" if value >= 0 else "−") + _number(abs(value))


def _p(p: float | None) -> str:
    from attnshift.stats.inversion import p_text

    return "no p" if p is None else p_text(p)
