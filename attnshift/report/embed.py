"""Data and programs inside a page, so that neither breaks out nor reaches for the network."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from markupsafe import Markup

_HARMLESS: Final = str.maketrans({c: f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"})
"""Characters that could end a script element or a line of JavaScript; in JSON they occur inside strings alone."""


def as_json(value: Any) -> Markup:
    """A value as JSON for a ``<script type="application/json">``: compact, and without a way out of it."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return Markup(text.translate(_HARMLESS))  # noqa: S704  (what made it unsafe has just been taken out)


def rounded(value: Any, digits: int = 5) -> Any:
    """Plain data with its floats cut to so many significant digits: a page isn't where precision is kept."""
    if isinstance(value, float):
        return float(f"{value:.{digits}g}")
    if isinstance(value, Mapping):
        return {key: rounded(part, digits) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(part, digits) for part in value]
    return value


def content_policy(scripts: Sequence[str]) -> str:
    """A Content-Security-Policy under which these inline scripts run, by their hashes, and nothing else does.

    No connection, frame, form, font or remote image is allowed. Styles are, inline: plotly sets them as attributes
    and adds elements of its own. Images are from data alone, which saving a figure needs.
    """
    digests = (base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts)
    sources = " ".join(f"'sha256-{digest}'" for digest in digests)
    return (
        f"default-src 'none'; script-src {sources}; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )
