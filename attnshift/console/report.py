"""A report that has been written."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attnshift.console.units import bytes_text


def report_facts(path: Path) -> dict[str, Any]:
    """Where a report is and how large, as plain data."""
    return {"report": str(path), "bytes": path.stat().st_size}


def report_text(facts: Mapping[str, Any]) -> str:
    """The same as a line."""
    return f"{facts['report']}  ({bytes_text(facts['bytes'])}, one page, no network)"
