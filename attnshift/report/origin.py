"""How a trace was made: everything that somebody needs to make it again."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import xarray as xr

from attnshift.report.attributes import attribute


@dataclass(frozen=True)
class Origin:
    """How a trace was made."""

    command: str
    """`attnshift trace` with the settings of this trace, or `attnshift ingest` with its files"""
    facts: tuple[tuple[str, str], ...]
    checkpoints: tuple[tuple[str, ...], ...]
    """step, epoch, dtype, digest and folder (within the run, where it lies there) of each"""
    failed: tuple[tuple[str, str], ...]
    """step and error"""
    variables: tuple[tuple[str, ...], ...]
    """name, unit, key of the formula and meaning of what was measured"""
    template: str
    """its Jinja text"""
    notes: tuple[str, ...]


def origin_of(trace: xr.Dataset) -> Origin:
    """Read it off a trace; what it doesn't state is left out."""
    recipe = attribute(trace, "recipe", {})
    return Origin(
        command=_command(trace, recipe),
        facts=tuple(_facts(trace, recipe)),
        checkpoints=tuple(_checkpoints(trace)),
        failed=tuple((str(step), str(error)) for step, error in attribute(trace, "failed", {}).items()),
        variables=tuple(_variables(trace)),
        template=str(trace.attrs.get("template_source", "")),
        notes=tuple(map(str, attribute(trace, "notes", []))),
    )


def _command(trace: xr.Dataset, recipe: dict[str, str]) -> str:
    """The trace's settings as arguments; the data are told by their digests, for their files aren't in the trace."""
    if files := attribute(trace, "ingested_from", []):
        return shlex.join(["attnshift", "ingest", *map(str, files)])
    words = ["attnshift", "trace", "--ckpts", str(trace.attrs.get("run", "RUN"))]
    if "template" in trace.attrs:
        words += ["--template", str(trace.attrs["template"])]
    if str(trace.attrs.get("target_eos")) in ("True", "False"):
        words.append("--eos" if str(trace.attrs["target_eos"]) == "True" else "--no-eos")
    words += [word for name in ("rows", "max_new_tokens") if name in recipe
              for word in (f"--{name.replace('_', '-')}", recipe[name])]  # fmt: skip
    if recipe.get("dtype", "as stored") != "as stored":
        words += ["--dtype", recipe["dtype"]]
    if "token_budget" in trace.attrs:
        words += ["--token-budget", str(trace.attrs["token_budget"])]
    return shlex.join(words)


def _facts(trace: xr.Dataset, recipe: dict[str, str]) -> Iterator[tuple[str, str]]:
    attributes = trace.attrs
    for name in ("run", "attnshift_version", "torch", "transformers", "device", "threads", "token_budget"):
        if str(attributes.get(name, "")):
            yield name.replace("_", " ").removesuffix(" version"), str(attributes[name])
    if attributes.get("grouping"):
        yield "groups", str(attributes["grouping"])
    for name, value in recipe.items():
        digest = " (digest)" if name in ("items", "examples", "groups") else ""
        yield f"{name.replace('_', ' ')}{digest}", str(value)
    if "trained_parameters" in attributes:
        trained = attribute(trace, "trained_parameters", [])
        yield "trained parameters", f"{len(trained)}: {', '.join(map(str, trained[:4]))}{', …' * (len(trained) > 4)}"


def _checkpoints(trace: xr.Dataset) -> Iterator[tuple[str, ...]]:
    inside = f"{trace.attrs.get('run') or '.'}/"
    columns = [
        [str(value).removeprefix(inside) for value in np.atleast_1d(trace[name].values)] if name in trace.coords else []
        for name in ("dtype", "checkpoint_digest", "checkpoint")
    ]
    epochs = np.atleast_1d(trace["epoch"].values) if "epoch" in trace.coords else np.array([])
    for place, step in enumerate(trace["step"].values):
        epoch = f"{epochs[place]:.2f}" if len(epochs) and np.isfinite(epochs[place]) else ""
        yield f"{int(step):,}", epoch, *(column[place] if column else "" for column in columns)


def _variables(trace: xr.Dataset) -> Iterator[tuple[str, ...]]:
    for name, variable in trace.data_vars.items():
        if "step" in variable.dims and "key" in variable.attrs:
            yield str(name), *(str(variable.attrs.get(part, "")) for part in ("unit", "key", "measure"))
