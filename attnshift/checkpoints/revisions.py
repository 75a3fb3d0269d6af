"""Revisions of a model on the hub as a run: their names state the steps."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from attnshift.checkpoints.layout import Layout
from attnshift.errors import AttnshiftError

_STEP = re.compile(
    r"(?:.*[-_./])?(?:global_?step|step|checkpoint|ckpt|iter)[-_]?0*(\d+)(k?)(?:[-_./].*)?", re.IGNORECASE | re.ASCII
)


def revision_step(name: str) -> int | None:
    """The step that a revision's name states: 1000 for `step1000`, 11931 for `stage2-ingredient1-step11931-tokens100B`.

    A k behind the number means thousands. None where it states none, as `main` does.
    """
    match = _STEP.fullmatch(name)
    return int(match[1]) * (1000 if match[2] else 1) if match else None


def layout_of_revisions(repo: str, folders: Mapping[str, Path]) -> Layout:
    """A model's revisions in the hub's cache as a run; the model's folder in the cache is the run's.

    Raises AttnshiftError where several state no step, and where two state the same or are the same commit.
    """
    named: dict[int, str] = {}
    for revision, step in ((revision, revision_step(revision)) for revision in folders):
        if step is not None:
            _refuse_second(repo, revision, step, named, folders)
            named[step] = revision
    if not named and len(folders) > 1:
        raise AttnshiftError(
            f"none of the revisions {', '.join(folders)} of {repo!r} states its step",
            expected="names such as step1000 or stage2-step11931, and main beside them",
            remedy="trace each of them by itself, with its own --out",
        )
    numbered = {step: folders[named[step]] for step in sorted(named)}
    stepless = [revision for revision in folders if revision not in named.values()]
    others = {folders[revision]: revision for revision in stepless if folders[revision] not in numbered.values()}
    notes = [
        f"revision {revision} is the commit of another one and is measured once"
        for revision in stepless
        if folders[revision] not in others
    ]
    first = next(iter(folders.values()))
    return Layout(
        root=first.parent.parent if numbered else first,
        numbered=numbered,
        unnumbered=tuple(others),
        notes=tuple(notes),
        revisions={numbered[step]: revision for step, revision in named.items()} | others,
    )


def _refuse_second(repo: str, revision: str, step: int, named: Mapping[int, str], folders: Mapping[str, Path]) -> None:
    """Raise where another revision is the same step or the same commit."""
    same = [other for other in named.values() if folders[other] == folders[revision]]
    if step in named or same:
        other, what = (named[step], f"both step {step}") if step in named else (same[0], "the same commit")
        raise AttnshiftError(
            f"revisions {other} and {revision} of {repo!r} are {what}",
            expected="one revision per step",
            remedy="name one of them with --revisions",
        )
