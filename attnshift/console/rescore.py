"""What `attnshift rescore` changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from attnshift.console.units import shortened

if TYPE_CHECKING:
    from attnshift.scoring.agreement import Agreement
    from attnshift.tracing.rescore import Rescored

_SHOWN = 5
"""Moved texts that are printed; --json has all."""


def rescore_facts(done: Rescored) -> dict[str, Any]:
    """A rescoring as plain data."""
    from attnshift.scoring.labels import SCORER

    return {
        "trace": str(done.trace),
        "scorer": SCORER,
        "key": done.key,
        "keys_before": list(done.keys_before),
        "counts": {str(step): dict(counts) for step, counts in done.counts.items()},
        "relabelled": done.moves.count,
        "moves": _pairs(done.moves, "old", "new"),
        "moved": [vars(each) for each in done.moved],
        "refreshed": dict(done.refreshed),
        "written": list(done.written),
        "without_text": list(done.without_text),
        "judge": None if done.judged is None else _judge_facts(str(done.judge), done.judged),
    }


def rescore_text(facts: Mapping[str, Any]) -> str:
    """A rescoring as lines."""
    counts = facts["counts"]
    labels = list(next(iter(counts.values())))
    lines = [f"labels     {facts['key']} ({facts['scorer']}); before: {', '.join(facts['keys_before']) or 'none'}"]
    lines += ["", _row("step", labels)] + [_row(step, counts[step].values()) for step in counts]
    lines += ["", _moved_line(facts)]
    if facts["moved"]:
        lines += _table(facts["moves"], labels, "old", "new")
        lines += [
            f"  step {each['step']}, {each['item']}: {each['old']} -> {each['new']}: {each['text'][:80]!r}"
            for each in facts["moved"][:_SHOWN]
        ]
        if (more := len(facts["moved"]) - _SHOWN) > 0:
            lines.append(f"  and {more} more: --json has them all")
    lines += [f"{name} was by another formula in {n} steps and is made anew" for name, n in facts["refreshed"].items()]
    if facts["without_text"]:
        lines.append(f"steps without generations, left alone: {shortened(facts['without_text'])}")
    if judge := facts["judge"]:
        lines += [
            "",
            f"judge      {judge['name']}: the same label for {judge['percent']:.1f} % of {judge['texts']} texts, "
            f"Cohen's kappa {judge['kappa']:.2f}",
            *_table(judge["pairs"], labels, "rule", "judge"),
        ]
    return "\n".join([*lines, f"{len(facts['written'])} steps written", f"trace: {facts['trace']}"])


def _judge_facts(name: str, judged: Agreement) -> dict[str, Any]:
    pairs = _pairs(judged, "rule", "judge")
    return {"name": name, "texts": judged.count, "percent": judged.percent, "kappa": judged.kappa, "pairs": pairs}


def _pairs(found: Agreement, first: str, second: str) -> list[dict[str, Any]]:
    return [{first: a, second: b, "texts": n} for (a, b), n in sorted(found.pairs.items())]


def _moved_line(facts: Mapping[str, Any]) -> str:
    total, moved = facts["relabelled"], len(facts["moved"])
    if not total:
        return "no text had a label before"
    return f"moved      {moved} of {total} texts ({100 * moved / total:.1f} %)"


def _table(pairs: Sequence[Mapping[str, Any]], labels: Sequence[str], first: str, second: str) -> list[str]:
    """Counts by the first label (rows) and the second (columns)."""
    cells = {(pair[first], pair[second]): pair["texts"] for pair in pairs}
    rows = [_row(a, [cells.get((a, b), 0) for b in labels]) for a in labels]
    return [_row(f"{first} \\ {second}", labels), *rows]


def _row(name: object, values: Any) -> str:
    return f"  {name!s:>14}" + "".join(f"{value!s:>12}" for value in values)
