"""The rows as a Markdown table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median

from benchmarks.rows import Clock, Goal, Row, Section

COLUMNS = (
    "comparison",
    "ours",
    "against",
    "CPU time",
    "wall time",
    "peak memory",
    "largest difference",
    "goal",
    "holds",
)

HEAD = """# What attnshift costs

Ours divided by the other, measured in turns in one process: the median of the pairs (lowest–highest). Costs that stand
for themselves carry a unit. Peak memory is beyond the loaded model. Below 1 is cheaper than what it is compared with.
"""


def markdown(sections: Mapping[str, Section], environments: Sequence[str]) -> str:
    """The table, its notes, and what it was measured on."""
    rows = [row for section in sections.values() for row in section.rows]
    notes = [note for section in sections.values() for note in section.notes]
    lines = [HEAD, _line(COLUMNS), _line(["---"] * len(COLUMNS)), *(_line(cells(row)) for row in rows), ""]
    lines += [f"- {note}" for note in notes] + ([""] if notes else [])
    return "\n".join([*lines, *environments, ""])


def cells(row: Row) -> list[str]:
    """A row's texts, column by column."""
    return [
        row.name,
        row.ours,
        ": ".join(filter(None, (row.against, row.note))) or "—",
        _time(row, "cpu"),
        _time(row, "wall"),
        _memory(row),
        "—" if row.difference is None else f"{row.difference:.1e}" if row.difference else "0",
        ", ".join(_goal(row, goal) for goal in row.goals) or "—",
        ", ".join(_held(row.holds(goal)) for goal in row.goals) or "—",
    ]


def seconds(value: float) -> str:
    """A duration with a unit in which it is readable."""
    return f"{value:.2f} s" if value >= 1 else f"{1000 * value:.3g} ms"


def _time(row: Row, clock: Clock) -> str:
    if row.against_costs:
        found = row.ratios(clock)
        return f"{median(found):.2f} ({min(found):.2f}–{max(found):.2f})"
    found = row.seconds(clock)
    return f"{seconds(median(found))} ({seconds(min(found))}–{seconds(max(found))})" if found else "—"


def _memory(row: Row) -> str:
    if row.ours_peak is None:
        return "—" if not row.against_costs else "n/a"
    ratio = "" if row.memory_ratio is None else f"{row.memory_ratio:.3g} "
    peaks = " to ".join(f"{peak / 2**20:.0f}" for peak in (row.ours_peak, row.against_peak) if peak is not None)
    return f"{ratio}({peaks} MiB)"


def _goal(row: Row, goal: Goal) -> str:
    if goal.of == "memory":
        return f"memory ≤ {goal.limit:.3g}"
    limit = f"{goal.limit:.3g}" if row.against_costs else seconds(goal.limit)
    return f"{'CPU' if row.clock == 'cpu' else 'wall'} ≤ {limit}"


def _held(holds: bool | None) -> str:
    return {True: "yes", False: "**no**", None: "n/a"}[holds]


def _line(texts: Sequence[str]) -> str:
    return "| " + " | ".join(text.replace("|", "\\|") for text in texts) + " |"
