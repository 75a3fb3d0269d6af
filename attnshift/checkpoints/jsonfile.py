"""JSON objects on disk, read without trusting them."""

from __future__ import annotations

import json
from pathlib import Path

from attnshift.errors import AttnshiftError


def read_object(path: Path, error: type[AttnshiftError] = AttnshiftError) -> dict[str, object]:
    """Read a file that holds one JSON object.

    Raises
    ------
    AttnshiftError
        Of the class `error`: for a file that can't be read, isn't JSON or holds something else.
    """
    try:
        if path.exists() and not path.is_file():  # a pipe would be waited for, a device never ends
            raise OSError("it is no file")
        value = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as cause:
        raise error(f"{path} can't be read: {cause}", expected="one JSON object") from cause
    if not isinstance(value, dict):
        raise error(f"{path} holds a JSON {type(value).__name__}", expected="one JSON object")
    return value
