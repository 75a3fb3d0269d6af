"""A diagnosis, as `attnshift doctor` tells it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from attnshift.console.units import plain

if TYPE_CHECKING:
    from attnshift.diagnosis.doctor import Diagnosis

SCHEMA = 1
"""Raised when a key of the JSON is renamed or goes away; new ones may come, and new names of checks."""

_WIDTH, _INDENT = 100, " " * 30


def doctor_facts(diagnosis: Diagnosis) -> dict[str, Any]:
    """A diagnosis as plain data."""
    return {
        "schema": SCHEMA,
        "status": diagnosis.status,
        "counts": dict(diagnosis.counts),
        "run": None if diagnosis.run is None else str(diagnosis.run),
        "environment": plain(diagnosis.environment),
        "folder": plain(diagnosis.folder),
        "tokens": plain(diagnosis.tokens),
        "data": [
            {
                "name": lint.name,
                "kind": lint.kind,
                "rows": lint.rows,
                "findings": [plain(finding) | {"share": finding.share} for finding in lint.findings],
            }
            for lint in diagnosis.data
        ],
    }


def doctor_text(facts: Mapping[str, Any]) -> str:
    """A diagnosis as lines of at most 100 characters, where the words allow it."""
    lines = []
    for section, title in (("environment", "machine"), ("folder", "run"), ("tokens", "tokenizer and template")):
        if facts[section]:
            lines.append(title if section != "folder" else f"run {facts['run']}")
            lines += [line for check in facts[section] for line in _check_lines(check)]
            lines.append("")
    for lint in facts["data"]:
        lines += [*_lint_lines(lint), ""]
    return "\n".join([*lines, *wrap(_summary(facts), _WIDTH)])


def _summary(facts: Mapping[str, Any]) -> str:
    """How many came to what, and the names of those that matter."""
    every = [check for section in ("environment", "folder", "tokens") for check in facts[section]]
    every += [finding for lint in facts["data"] for finding in lint["findings"]]
    parts = []
    for status, count in facts["counts"].items():
        names = dict.fromkeys(each["name"] for each in every if each["status"] == status)
        named = f" ({', '.join(names)})" if names and status in ("fail", "warn") else ""
        parts.append(f"{count} {status}{named}")
    return ", ".join(parts)


def _check_lines(check: Mapping[str, Any]) -> Iterator[str]:
    yield from _entry(check["status"], check["name"], check["seen"])
    if check["remedy"]:
        yield from _more("try", check["remedy"])


def _lint_lines(lint: Mapping[str, Any]) -> Iterator[str]:
    yield f"data {lint['name']}: {lint['rows']} {lint['kind']}"
    for finding in lint["findings"]:
        if finding["count"]:
            yield from _entry(finding["status"], finding["name"], _counted(finding))
            yield from _more("seen", finding["seen"])
            yield from _more("so", finding["effect"])
            yield from _more("try", finding["remedy"])
    absent = [f["name"] for f in lint["findings"] if not f["count"] and f["status"] != "skipped"]
    if absent:
        yield from _entry("ok", "not found", ", ".join(absent))
    skipped = [f for f in lint["findings"] if f["status"] == "skipped"]
    if skipped:
        yield from _entry("skipped", "not looked for", f"{', '.join(f['name'] for f in skipped)}: {skipped[0]['seen']}")


def _counted(finding: Mapping[str, Any]) -> str:
    more = ", …" if finding["count"] > len(finding["ids"]) else ""
    return f"{finding['count']} of {finding['of']} ({finding['share']:.1%}): {', '.join(finding['ids'])}{more}"


def _entry(status: str, name: str, text: str) -> Iterator[str]:
    head = f"  {status:7}  {name:18}"
    if len(head) >= len(_INDENT):  # a long name has a line of its own
        yield head
        head = ""
    first, *others = _wrapped(text)
    yield f"{head:{len(_INDENT)}}{first}"
    yield from (_INDENT + line for line in others)


def _more(label: str, text: str) -> Iterator[str]:
    first, *others = _wrapped(text, len(label) + 2)
    yield f"{_INDENT}{label}: {first}"
    yield from (_INDENT + "  " + line for line in others)


def _wrapped(text: str, less: int = 0) -> list[str]:
    """Lines that break at spaces alone: what is quoted stays as it is, and so does a long path."""
    width = _WIDTH - len(_INDENT) - less
    return wrap(" ".join(text.split()), width, break_long_words=False, break_on_hyphens=False) or [""]
