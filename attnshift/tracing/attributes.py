"""What a file of ours says of itself: the forms of its attributes, whoever wrote them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np


def require_form(name: str, value: Any) -> None:
    """Raise ValueError for an attribute of a known name that holds something else than its readers expect."""
    form = _FORMS.get(name)
    try:
        fits = form is None or form(value)
    except (ValueError, TypeError, RecursionError):
        fits = False
    if not fits:
        shown = repr(value)
        raise ValueError(f"its attribute {name!r} is {shown if len(shown) <= 80 else shown[:79] + '…'}")


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value == value.encode().decode()  # halves of characters raise


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.integer | np.floating)


def _is_count(value: Any) -> bool:
    return isinstance(value, int | np.integer) and bool(value > 0)


def _json(check: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, str) and check(json.loads(value))


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _is_named_texts(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_is_text, value.values()))


def _is_reasons(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(each, dict) and _is_text(each.get("id")) and _is_text(each.get("reason")) for each in value
    )


def _is_about_arrays(value: Any) -> bool:
    return isinstance(value, dict) and all(
        _is_texts(each["dims"])
        and all(isinstance(size, int) and size >= 0 for size in each["shape"])
        and len(each["shape"]) == len(each["dims"])
        and np.dtype(each["dtype"]).kind in "fiubUO"
        and _is_object(each["attrs"])
        for each in value.values()
    )


_FORMS: dict[str, Callable[[Any], bool]] = {
    "recipe": _json(_is_named_texts),
    "keys": _json(_is_named_texts),
    "dropped": _json(_is_reasons),
    "notes": _json(_is_texts),
    "ingested_from": _json(_is_texts),
    "trained_parameters": _json(_is_texts),
    "manifest": _json(_is_object),
    "large": _json(_is_about_arrays),
    "token_budget": _is_count,
    "epoch": _is_number,
} | dict.fromkeys(
    (
        "checkpoint_digest", "checkpoint", "dtype", "run", "template", "template_source", "target_eos", "grouping",
        "known", "answer_spelling", "stamp", "kind", "unit", "measure", "key",
    ),
    _is_text,
)  # fmt: skip
