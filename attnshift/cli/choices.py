"""What options say: files, steps, seeds."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from attnshift.errors import AttnshiftError


def load_data(conflicts: list[Path] | None, ift: list[Path] | None, fields: list[str] | None) -> tuple[Any, Any]:
    """Items and examples from files; None for both where no file is named."""
    if not conflicts and not ift:
        if fields:
            raise AttnshiftError("--map is for the columns of a file", expected="--conflicts or --ift beside it")
        return None, None
    from attnshift.data.formats import load_examples, load_items, split_mapping

    for_items, for_examples = split_mapping(fields or [], with_items=bool(conflicts), with_examples=bool(ift))
    items = [item for path in conflicts or [] for item in load_items(path, for_items)]
    examples = [example for path in ift or [] for example in load_examples(path, for_examples)]
    return items, examples


def trace_places(ckpts: Sequence[Path], out: Path | None) -> dict[Path, Path | None]:
    """Every run and the folder of its trace; None for the one inside the run. Several share a folder by their names."""
    if len(ckpts) == 1:
        return {ckpts[0]: out}
    names = [run.resolve().name for run in ckpts]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None and (out is not None or len({run.resolve() for run in ckpts}) < len(ckpts)):
        raise AttnshiftError(
            f"--ckpts names two runs {twice!r}",
            expected="runs with names of their own: each trace lies in --out under its run's name",
            remedy="name each run once, and leave --out away where two have the same name: traces then lie in the runs",
        )
    return {run: out and out / name for run, name in zip(ckpts, names, strict=True)}


def refuse_beside(option: str, given: bool, others: Mapping[str, object]) -> None:
    """Raise AttnshiftError where an option is given beside another that it can't be combined with."""
    beside = [name for name, value in others.items() if given and value]
    if beside:
        raise AttnshiftError(
            f"{option} can't be combined with {beside[0]}",
            expected=f"{option} or {beside[0]}",
            remedy=f"leave one of them out: {option}, {beside[0]}",
        )


def example_mapping(fields: list[str] | None) -> dict[str, str]:
    """The mapping of a file of examples that ``--map`` gives."""
    from attnshift.data.formats import split_mapping

    return split_mapping(fields or [], with_items=False, with_examples=True)[1]


def chosen_steps(text: str | None, every: int | None, known: tuple[int, ...]) -> list[int] | None:
    """The steps that ``--steps`` and ``--every`` name; None for all."""
    chosen: list[int] | None = None
    if text is not None:
        chosen = []
        for first, last in _ranges("steps", text, "0,100,500-2000"):
            chosen += [first] if last is None else [s for s in known if first <= s <= last]
        if not chosen:
            raise AttnshiftError(f"--steps {text!r} names no step", expected=f"steps of {', '.join(map(str, known))}")
    if every is not None:
        among = [s for s in known if chosen is None or s in chosen]
        chosen = [s for i, s in enumerate(among) if i % every == 0 or i == len(among) - 1]
    return chosen


def listed(text: str | None) -> list[str]:
    """The names of a comma-separated list."""
    return [name.strip() for name in (text or "").split(",") if name.strip()]


def read_pairs(option: str, pairs: Sequence[str], form: str = "field=column") -> dict[str, str]:
    """``field=column`` pairs by their field."""
    found = {}
    for pair in pairs:
        field, equals, column = pair.partition("=")
        if not equals or not field or not column:
            raise AttnshiftError(f"{option} {pair!r} says nothing", expected=form)
        found[field] = column
    return found


def find_callable(option: str, name: str) -> Callable[..., Any]:
    """The callable that ``module:function`` names; modules of the working directory are found too."""
    module, colon, attribute = name.partition(":")
    expected = "module:function, such as my_judge:label with my_judge.py in the working directory"
    if not colon or not module or not attribute:
        raise AttnshiftError(f"{option} {name!r} names no function", expected=expected)
    sys.path.insert(0, str(Path.cwd()))
    try:
        found = getattr(importlib.import_module(module), attribute)
    except Exception as error:  # a module is somebody's program: whatever it raises is its fault
        raise AttnshiftError(
            f"{option} {name!r} can't be loaded: {type(error).__name__}: {error}", expected=expected
        ) from error
    finally:
        sys.path.pop(0)
    if not callable(found):
        raise AttnshiftError(f"{option} {name!r} is {found!r}, which can't be called", expected=expected)
    return found


def read_list(text: str) -> tuple[str, ...]:
    """Names separated by commas."""
    return tuple(filter(None, (piece.strip() for piece in text.split(","))))


def read_seeds(text: str) -> list[int]:
    """Seeds as ``--seeds`` names them: 3, or 0-9, or a list of both."""
    example = "0-9 or 0,3,5"
    chosen = {seed for first, last in _ranges("seeds", text, example) for seed in range(first, (last or first) + 1)}
    if not chosen:
        raise AttnshiftError(f"--seeds {text!r} names no seed", expected=f"such as {example}")
    return sorted(chosen)


def _ranges(option: str, text: str, example: str) -> Iterator[tuple[int, int | None]]:
    """First and last of each piece of a list such as 0,100,500-2000; a single number has no last."""
    for piece in filter(None, (p.strip() for p in text.split(","))):
        first, dash, last = piece.partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise AttnshiftError(f"--{option} {text!r} is not a list of {option}", expected=f"such as {example}")
        yield int(first), int(last) if dash else None
