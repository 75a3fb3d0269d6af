"""What a run holds beside its checkpoints: its data, template and manifest, and a record of how it was made."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from attnshift.atomic import atomic, sweep, write_text
from attnshift.checkpoints.jsonfile import read_object
from attnshift.checkpoints.manifest import FILE_NAME as MANIFEST
from attnshift.data.inputs import Dropped, sample
from attnshift.data.items import GROUPS, Example, Item
from attnshift.errors import AttnshiftError

RECORD: Final = "finetune.json"
TRAINING: Final = "train.jsonl"
MEASURED: Final = "ift.jsonl"
ITEMS: Final = "conflicts.jsonl"
LEFT_OUT: Final = "left_out.jsonl"
TEMPLATE: Final = "prompt.jinja"

MOST_MEASURED: Final = 250
"""of each group, and of what is held out: together no more than a trace takes without being asked for more"""


def is_ours(run: Path, recorded: Mapping[str, Any]) -> bool:
    """Whether a directory was begun with this record; False where there is nothing yet.

    Raises AttnshiftError for a directory that holds anything else.
    """
    sweep(run)
    if not run.exists() or (run.is_dir() and not any(run.iterdir())):
        return False
    found = read_object(run / RECORD) if (run / RECORD).is_file() else {}
    if found == recorded:
        return True
    other = [key.replace("_", " ") for key in recorded if found.get(key) != recorded[key]]
    holds = f"a finetuning with other {', '.join(other)}" if found else "something else"
    raise AttnshiftError(
        f"{str(run)!r} holds {holds}",
        expected="an empty directory, or the same finetuning to go on with",
        remedy="name another directory with --out, or delete this one",
    )


def write_run(
    run: Path,
    manifest: Mapping[str, Any],
    recorded: Mapping[str, Any],
    *,
    training: Sequence[Example],
    heldout: Sequence[Example],
    origins: Mapping[str, str],
    items: Sequence[Item],
    left_out: Sequence[Dropped],
) -> None:
    """Write the record first, so that a finetuning that ends right here can be gone on with; data, template, manifest.

    A trace measures some training examples of each group, the same in every arm that has them, and of the held-out
    ones. ``origins`` are those of examples that were made of others, by id. Raises AttnshiftError where nothing can be
    written.
    """
    try:
        run.mkdir(parents=True, exist_ok=True)
        write_json(run / RECORD, recorded)
        rows = [asdict(e) | ({"origin": origins[e.id]} if e.id in origins else {}) for e in training]
        _write_lines(run / TRAINING, rows)
        _write_lines(run / MEASURED, [asdict(e) for e in measured(training, heldout)])
        stated: dict[str, Any] = {**manifest, "ift": MEASURED}
        if items:
            _write_lines(run / ITEMS, [asdict(item) for item in items])
            stated["conflicts"] = ITEMS
        if left_out:
            _write_lines(run / LEFT_OUT, [asdict(each) for each in left_out])
        if Path(manifest["template"]).is_file():
            with atomic(run / TEMPLATE) as temporary:
                shutil.copyfile(manifest["template"], temporary)
            stated["template"] = TEMPLATE
        write_json(run / MANIFEST, stated)
    except OSError as error:
        raise unwritable(run, error) from error


def unwritable(run: Path, error: OSError) -> AttnshiftError:
    """What to say of a run that can't be written."""
    return AttnshiftError(
        f"the run can't be written to {str(run)!r}: {error.strerror or error}",
        remedy="make room and run the same command again, or name another directory with --out",
    )


def measured(training: Sequence[Example], heldout: Sequence[Example]) -> list[Example]:
    """What a trace measures: at most MOST_MEASURED of each group and of the held-out ones, chosen by their ids."""
    groups = [[example for example in training if example.group == group] for group in GROUPS]
    return [example for rows in (*groups, heldout) for example in sample(rows, MOST_MEASURED, 0)]


def write_json(path: Path, content: object) -> None:
    """Write plain data for people to read."""
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False))


def _write_lines(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
