"""The run manifest: what a run says about itself in `attnshift.json`."""

from __future__ import annotations

import math
import os.path
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from attnshift.checkpoints.jsonfile import read_object
from attnshift.checkpoints.safepath import inside
from attnshift.errors import AttnshiftError

FILE_NAME = "attnshift.json"

T = TypeVar("T")


@dataclass(frozen=True)
class Manifest:
    """What a run says about itself; every field is optional.

    Paths are absolute and, but for an absolute `base`, inside the run.
    """

    base: str | None = None
    """The model before the first step: a local folder or a hub name."""
    trained: tuple[str, ...] = ()
    """Patterns (fnmatch) of the names of the trained parameters."""
    template: str | None = None
    """The name of a prompt template, or the absolute path of a template file."""
    max_new_tokens: int | None = None
    """Tokens to generate per answer."""
    target_eos: bool | None = None
    """Whether the training loss counted the end-of-sequence token."""
    conflicts: tuple[Path, ...] = ()
    """Files of conflict items."""
    ift: tuple[Path, ...] = ()
    """Files of finetuning examples."""
    arm: str | None = None
    """The name of the data arm."""
    seed: int | None = None
    """The seed of the training."""
    shares: Mapping[str, float] = field(default_factory=dict)
    """Each group's part of the training examples."""
    learning_rate: Mapping[int, float] = field(default_factory=dict)
    """Step to learning rate per optimizer step."""


def read_manifest(run_dir: Path) -> Manifest:
    """Read `attnshift.json` of a run; a run without one has an empty manifest. Unknown keys are ignored.

    Raises AttnshiftError for a file that isn't a JSON object, a value of a wrong type and a path that leaves the run.
    """
    path = run_dir / FILE_NAME
    if not path.exists() and not path.is_symlink():
        return Manifest()
    content = read_object(path)

    def get(key: str, read: Callable[[object], T], expected: str) -> T | None:
        value = content.get(key)
        if value is None:
            return None
        try:
            return read(value)
        except (TypeError, ValueError, OverflowError) as error:
            raise AttnshiftError(f"{path}: {key!r} is {value!r}", expected=expected) from error

    def paths(key: str) -> tuple[Path, ...]:
        names = get(key, _strings, "a path inside the run, or a list of them")
        return tuple(_data(run_dir, name) for name in names or ())

    base = get("base", _string, "a folder or a hub name")
    template = get("template", _string, "a template's name, or a file inside the run")
    return Manifest(
        base=base and _base(run_dir, base),
        trained=get("trained", _strings, "a list of parameter name patterns") or (),
        template=template and _template(run_dir, template),
        max_new_tokens=get("max_new_tokens", _positive, "a whole number of at least 1"),
        target_eos=get("target_eos", _boolean, "true or false"),
        conflicts=paths("conflicts"),
        ift=paths("ift"),
        arm=get("arm", _string, "a name"),
        seed=get("seed", _integer, "a whole number"),
        shares=get("shares", _numbers, "an object of group to number") or {},
        learning_rate=get("learning_rate", _numbers_by_step, "an object of step to number") or {},
    )


def _base(run_dir: Path, value: str) -> str:
    """A hub name never holds `..` or begins with a dot, so whatever does is a path."""
    if Path(value).is_absolute():
        return value
    is_path = value.startswith(".") or ".." in Path(value).parts or os.path.exists(run_dir / value)
    return str(inside(run_dir, value)) if is_path else value


def _data(run_dir: Path, value: str) -> Path:
    """A file of data, or a saved dataset's folder and behind `#` the split: the folder is what must stay inside."""
    path = inside(run_dir, value)
    folder, mark, split = value.rpartition("#")
    if not mark or path.exists():
        return path
    place = inside(run_dir, folder)
    return place.with_name(f"{place.name}#{split}")


def _template(run_dir: Path, value: str) -> str:
    is_path = "/" in value or value.startswith(".") or os.path.isfile(run_dir / value)
    return str(inside(run_dir, value)) if is_path else value


def _string(value: object) -> str:
    if not isinstance(value, str) or not value or "\0" in value:
        raise TypeError
    return value


def _strings(value: object) -> tuple[str, ...]:
    return tuple(_string(each) for each in (value if isinstance(value, list) else [value]))


def _boolean(value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError
    return value


def _integer(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError
    return value


def _positive(value: object) -> int:
    if _integer(value) < 1:
        raise ValueError
    return _integer(value)


def _number(value: object) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise TypeError
    return float(value)


def _numbers(value: object) -> dict[str, float]:
    if not isinstance(value, dict):
        raise TypeError
    return {_string(key): _number(number) for key, number in value.items()}


def _numbers_by_step(value: object) -> dict[int, float]:
    return {int(key): number for key, number in _numbers(value).items()}
