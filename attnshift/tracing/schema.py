"""What a trace looks like: inputs and measured values as labelled arrays."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float

from attnshift.data.batches import NO_TOKEN, pad
from attnshift.data.distractors import choose_distractors
from attnshift.data.inputs import Inputs
from attnshift.data.roles import KEY_ROLES, PAD, TOKEN_ROLES
from attnshift.measures.known import KnownMargin, StillKnown
from attnshift.measures.measure import Measure

FORMAT = 1
"""Version of the files' layout."""


def inputs_dataset(inputs: Inputs, attributes: Mapping[str, Any]) -> xr.Dataset:
    """Prompts, roles, texts and groups: all that a trace was fed with."""
    variables: dict[str, Any] = {}
    width = _width(inputs)
    if inputs.items:
        variables |= _item_variables(inputs, width)
    if inputs.examples:
        variables |= _example_variables(inputs, width)
    coordinates: dict[str, Any] = {"role": list(KEY_ROLES)}
    if inputs.items:
        coordinates |= {"item": [i.id for i in inputs.items]}
        for field in ("stratum", "cluster", "conflict_type"):
            coordinates[f"item_{field}"] = ("item", _texts([getattr(i, field) for i in inputs.items]))
    if inputs.examples:
        coordinates |= {
            "example": [e.id for e in inputs.examples],
            "group_of_example": ("example", _texts([e.group or "" for e in inputs.examples])),
            "stratum": ("example", _texts([e.stratum for e in inputs.examples])),
            "split": ("example", _texts([e.split for e in inputs.examples])),
            "group": list(inputs.groups),
        }
        shares = np.array([share for _, share in inputs.shares])
        variables["group_share"] = ("group", shares, _about("share", "the group's part of the training examples"))
    return xr.Dataset(variables, coordinates, {name: _plain(value) for name, value in attributes.items()})


def known_dataset(inputs: Inputs, margins: Float[np.ndarray, "item"], step: int) -> xr.Dataset:
    """Which items are known, by the margins of one checkpoint, and what they were compared with."""
    distractors = choose_distractors(inputs.items, [len(t.parametric_answer_ids) for t in inputs.item_tokens])
    key, where = KnownMargin().key, {"step": step}
    about = {
        "known_item": _about("0/1", StillKnown().meaning),
        "known_item_margin": _about("nats per token", KnownMargin().meaning),
        "known_distractors": _about(
            "position", f"items whose parametric answers it is compared with; {NO_TOKEN} = none"
        ),
    }
    return xr.Dataset(
        {
            "known_item": ("item", (margins > 0).astype(np.int8), about["known_item"] | {"key": key} | where),
            "known_item_margin": ("item", margins, about["known_item_margin"] | {"key": key} | where),
            "known_distractors": (("item", "distractor"), pad(distractors, NO_TOKEN, 1), about["known_distractors"]),
        }
    )


def control_dataset(inputs: Inputs) -> xr.Dataset:
    """The items under control conditions as they were fed, or why they could not be had."""
    controls = inputs.controls
    rows = [[None if t is None else t.prompt.ids for t in control.tokens] for control in controls]
    width = max((len(ids) for row in rows for ids in row if ids is not None), default=1)
    ids = np.stack([pad([() if each is None else each for each in row], NO_TOKEN, width) for row in rows], 1)
    dims = ("item", "condition")
    meaning = f"the prompt under a control condition as fed; {NO_TOKEN} = pad"
    variables: dict[str, Any] = {"control_token_ids": ((*dims, "control_position"), ids, _about("token id", meaning))}
    for field in ("context", "question"):
        texts = [[getattr(item, field) if item else "" for item in control.items] for control in controls]
        about = _about("text", f"the item's {field} under a control condition; empty where there is none")
        variables[f"control_{field}"] = (dims, np.stack([_texts(row) for row in texts], 1), about)
    reasons = np.stack([_texts(control.reasons) for control in controls], 1)
    variables["control_refused"] = (dims, reasons, _about("text", "why an item isn't under a control condition"))
    return xr.Dataset(variables, {"condition": [control.condition for control in controls]})


def cell_dataset(
    values: Mapping[str, np.ndarray], measures: Mapping[str, Measure], labels: Mapping[str, Sequence[Any]]
) -> xr.Dataset:
    """The measured variables of one checkpoint; ``labels`` names the coordinates of dims."""
    variables = {
        name: (
            measures[name].dims,
            _texts(value.ravel()).reshape(value.shape) if value.dtype == object else value,
            {"unit": measures[name].unit, "measure": measures[name].meaning, "key": measures[name].key},
        )
        for name, value in values.items()
    }
    used = {dim for name in values for dim in measures[name].dims}
    return xr.Dataset(variables, {dim: list(labels[dim]) for dim in used if dim in labels})


def storable(text: str) -> str:
    """A text as netCDF can hold it: NUL and lone surrogates become the replacement character."""
    return re.sub("[\x00\ud800-\udfff]", "\ufffd", text)


def _width(inputs: Inputs) -> int:
    rows = [len(t.prompt) for t in inputs.item_tokens] + [len(t.closed_book) for t in inputs.item_tokens]
    rows += [len(t.sequence) for t in inputs.example_tokens] + [len(t.closed_book) for t in inputs.example_tokens]
    return max(rows, default=0)


def _item_variables(inputs: Inputs, width: int) -> dict[str, Any]:
    tokens, items = inputs.item_tokens, inputs.items
    answer_width = max(max(len(t.context_answer_ids), len(t.parametric_answer_ids)) for t in tokens)
    roles = pad((t.prompt.roles for t in tokens), PAD, width, np.int8)
    variables: dict[str, Any] = {
        "token_ids": (("item", "position"), *_ids([t.prompt.ids for t in tokens], width, "the prompt as fed")),
        "token_role": (("item", "position"), roles, _roles_about()),
        "closed_book_token_ids": (
            ("item", "position"),
            *_ids([t.closed_book.ids for t in tokens], width, "the prompt without its context, as fed"),
        ),
        "role_present": (("item", "role"), _present(roles), _about("0/1", "whether the prompt has tokens of the role")),
    }
    for name in ("context_answer_ids", "parametric_answer_ids"):
        ids = _ids([getattr(t, name) for t in tokens], answer_width, "the scored tokens, without EOS")
        variables[name] = (("item", "answer_position"), *ids)
    shared = np.array([t.context_answer_ids[0] == t.parametric_answer_ids[0] for t in tokens])
    about = _about("0/1", "whether both answers begin with the same token")
    variables["shared_first_token"] = ("item", shared.astype(np.int8), about)
    for field in ("context", "question", "context_answer", "parametric_answer"):
        texts = _texts([getattr(item, field) for item in items])
        variables[f"item_{field}"] = ("item", texts, _about("text", f"the item's {field.replace('_', ' ')}"))
    for field in ("context_aliases", "parametric_aliases"):
        texts = _texts([json.dumps(getattr(item, field), ensure_ascii=False) for item in items])
        variables[f"item_{field}"] = ("item", texts, _about("text", f"a JSON list: the item's {field}"))
    return variables


def _example_variables(inputs: Inputs, width: int) -> dict[str, Any]:
    tokens, examples = inputs.example_tokens, inputs.examples
    roles = pad((t.sequence.roles for t in tokens), PAD, width, np.int8)
    variables: dict[str, Any] = {
        "ift_token_ids": (
            ("example", "position"),
            *_ids([t.sequence.ids for t in tokens], width, "prompt and target as fed; the loss is on role answer"),
        ),
        "ift_token_role": (("example", "position"), roles, _roles_about()),
        "ift_closed_book_token_ids": (
            ("example", "position"),
            *_ids([t.closed_book.ids for t in tokens], width, "the same without its context"),
        ),
        "ift_role_present": (
            ("example", "role"),
            _present(roles),
            _about("0/1", "whether the sequence has tokens of the role"),
        ),
    }
    for field in ("context", "question", "answer"):
        texts = _texts([getattr(example, field) for example in examples])
        variables[f"example_{field}"] = ("example", texts, _about("text", f"the example's {field}"))
    return variables


def _ids(rows: Sequence[np.ndarray], width: int, meaning: str) -> tuple[np.ndarray, dict[str, Any]]:
    return pad(rows, NO_TOKEN, width), _about("token id", f"{meaning}; {NO_TOKEN} = pad")


def _roles_about() -> dict[str, Any]:
    flags = {"flag_values": np.arange(len(TOKEN_ROLES), dtype=np.int8), "flag_meanings": " ".join(TOKEN_ROLES)}
    return _about("code", "what each token is for") | flags


def _present(roles: np.ndarray) -> np.ndarray:
    """By key role; the learned sink is no token."""
    return np.stack([(roles == code).any(-1) for code in range(PAD)] + [np.zeros(len(roles), bool)], -1)


def _about(unit: str, meaning: str) -> dict[str, Any]:
    return {"unit": unit, "measure": meaning, "key": f"input/{FORMAT}"}


def _texts(texts: Iterable[str]) -> np.ndarray:
    return np.array([storable(text) for text in texts], object)


def _plain(value: Any) -> Any:
    return value if isinstance(value, str | int | float) else json.dumps(value, ensure_ascii=False)
