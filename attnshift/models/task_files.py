"""Task files of lm-evaluation-harness that are one's own: read as data, never run as programs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from attnshift.errors import AttnshiftError

_REMEDY = "run the task with lm-eval itself and bring its scores: --benchmark-csv"


def refuse_programs(folder: Path) -> None:
    """Raise AttnshiftError where a task file in a folder is no plain data, or takes in a file from outside it.

    The harness reads all of them, imports what a ``!function`` names, and follows ``include`` anywhere.
    """
    for file in sorted(path for path in folder.rglob("*") if path.suffix in (".yaml", ".yml")):
        for each in _included(_content(file)):
            if (file.parent / each).suffix != ".yaml" or not (file.parent / each).resolve().is_relative_to(
                folder.resolve()
            ):
                raise AttnshiftError(f"{file} includes {each!r}", expected="a .yaml file below its folder")


def _content(file: Path) -> Any:
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # as the harness does, so that both read the same
    try:
        return yaml.load(file.read_bytes(), loader)  # noqa: S506  (it is one of the safe loaders)
    except yaml.constructor.ConstructorError as error:
        raise AttnshiftError(
            f"the benchmark task {str(file)!r} asks for code to be run: {error.problem}",
            expected="a task that is data alone, without !function or another tag",
            remedy=_REMEDY,
        ) from error
    except (yaml.YAMLError, OSError, ValueError, RecursionError) as error:
        raise AttnshiftError(
            f"{str(file)!r} can't be read: {error}", expected="a benchmark task's yaml file", remedy=_REMEDY
        ) from error


def _included(content: Any) -> list[str]:
    found = content.get("include", []) if isinstance(content, dict) else []
    return [str(each) for each in (found if isinstance(found, list) else [found])]


@contextmanager
def sandboxed() -> Iterator[None]:
    """Let the harness render in Jinja's immutable sandbox, and load no metric's program from elsewhere."""
    import evaluate
    from jinja2.sandbox import ImmutableSandboxedEnvironment
    from lm_eval import utils

    plain, load = utils.env, evaluate.load
    utils.env = ImmutableSandboxedEnvironment(undefined=plain.undefined, keep_trailing_newline=True)
    utils.env.filters.update(plain.filters)
    evaluate.load = _refuse_metric
    try:
        yield
    finally:
        utils.env, evaluate.load = plain, load


def _refuse_metric(name: str, *_: Any, **__: Any) -> None:
    raise AttnshiftError(
        f"the metric {name!r} is a program that would be fetched", expected="one of the harness's own", remedy=_REMEDY
    )
