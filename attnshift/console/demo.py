"""What a demo found."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from attnshift.console.units import plain

if TYPE_CHECKING:
    from attnshift.demonstration import Demo


def demo_facts(demo: Demo) -> dict[str, Any]:
    """A demo as plain data."""
    return {
        "verdict": demo.verdict.sentences(),
        "numbers": plain(demo.verdict),
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
