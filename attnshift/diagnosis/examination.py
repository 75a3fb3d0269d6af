"""A run's folder, tokenizer, template and data, examined in this order: each needs what comes before."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from attnshift.checkpoints.jsonfile import read_object
from attnshift.checkpoints.manifest import Manifest
from attnshift.checkpoints.run import Run, find_run
from attnshift.checkpoints.tokenizer import load_tokenizer, tokenizer_dir
from attnshift.checkpoints.window import window_of
from attnshift.data.formats import Reading, read_examples, read_items
from attnshift.data.items import Example, Item
from attnshift.data.prompts import Encoder
from attnshift.data.shipped import CAPITALS, PROBES
from attnshift.diagnosis.check import Check, failed
from attnshift.diagnosis.folder import folder_checks
from attnshift.diagnosis.lint import Kind, Lint, lint_reading
from attnshift.diagnosis.tokens import TOKEN_CHECKS, subject_of, token_checks
from attnshift.diagnosis.vocabulary import same_chat_template, same_tokenizer
from attnshift.errors import AttnshiftError
from attnshift.tracing.job import encoder_of


@dataclass(frozen=True)
class DataFile:
    """A file of data that was read."""

    name: str
    kind: Kind
    reading: Reading[Any]


@dataclass(frozen=True)
class ModelOptions:
    """What a user says of a run's models, as for a trace."""

    base: str | None = None
    revisions: Sequence[str] = ()
    template: str | None = None
    tokenizer: str | PathLike[str] | None = None


@dataclass(frozen=True)
class Examination:
    """What was found in a run and its data."""

    run: Path
    folder: tuple[Check, ...]
    tokens: tuple[Check, ...]
    data: tuple[Lint, ...]


def examine_run(
    path: str | PathLike[str],
    files: Sequence[DataFile],
    options: ModelOptions,
    tell: Callable[[str], None] | None = None,
) -> Examination:
    """Every check of a run and of the files, or where there are none of the data that a trace would take."""
    problems: dict[str, AttnshiftError] = {}
    allow = options.base is not None
    run = find_run(str(path), options.base, allow, problems, options.revisions, tell)
    folder = folder_checks(run, problems)
    if not files:
        files, broken = _own_files(run)
        folder += broken
    encoder, tokens = _tokens(run, files, options)
    why_not = "the run's tokenizer or template can't be used"
    return Examination(run.path, tuple(folder), tuple(tokens), lints(files, encoder, why_not))


def examine_data(
    files: Sequence[DataFile], template: str | None, tokenizer: str | PathLike[str] | None
) -> tuple[Lint, ...]:
    """Files without a run, read through a tokenizer where one is named."""
    if tokenizer is None:
        return lints(files, None, "no run and no tokenizer was named")
    return lints(files, encoder_of(Manifest(), load_tokenizer(Path(tokenizer)), None, template), "")


def lints(files: Sequence[DataFile], encoder: Encoder | None, why_not: str) -> tuple[Lint, ...]:
    """What is wrong with each file; with examples also what they share with the items."""
    items = [item for file in files if file.kind == "items" for item in file.reading.datapoints.values()]
    return tuple(lint_reading(f.name, f.kind, f.reading, encoder, why_not, items) for f in files)


def _own_files(run: Run) -> tuple[list[DataFile], list[Check]]:
    """The data that a trace of the run would take; what can't be read is told."""
    named: list[tuple[Kind, Path]] = [("items", path) for path in run.manifest.conflicts if path.is_file()]
    named += [("examples", path) for path in run.manifest.ift if path.is_file()]
    if not run.manifest.conflicts and not run.manifest.ift:
        named = [("items", CAPITALS), ("examples", PROBES)]
    files, broken = [], []
    for kind, path in named:
        ships = " (ships with attnshift)" if path in (CAPITALS, PROBES) else ""
        try:
            reading: Reading[Any] = read_items(path) if kind == "items" else read_examples(path)
        except AttnshiftError as error:
            broken.append(failed("data", error))
        else:
            files.append(DataFile(path.name + ships, kind, reading))
    return files, broken


def _tokens(run: Run, files: Sequence[DataFile], options: ModelOptions) -> tuple[Encoder | None, list[Check]]:
    """What reads the run's data, if anything can, and the checks of it."""
    same = [same_tokenizer(run), same_chat_template(run)]
    try:
        folder = tokenizer_dir(run, None if options.tokenizer is None else str(options.tokenizer))
        loaded = load_tokenizer(folder)
    except AttnshiftError as error:
        if options.tokenizer is not None:
            raise
        return None, [failed("tokenizer", error), *same, *_skipped("no tokenizer")]
    about = Check("tokenizer", "ok", f"{type(loaded).__name__} of {len(loaded)} tokens in {folder}")
    homes = [*(c.path for c in run.checkpoints if c.kind == "full"), *([run.base] if run.base else [])]
    try:
        encoder = encoder_of(run.manifest, loaded, window_of(homes), options.template)
    except AttnshiftError as error:
        if options.template is not None:
            raise
        return None, [about, *same, failed("template", error), *_skipped("no template", but="template")]
    named = "--template" if options.template else "the manifest" if run.manifest.template else ""
    try:
        subject = subject_of(encoder, _samples(files), _config(homes), named)
    except AttnshiftError as error:
        return encoder, [about, *same, failed("template", error), *_skipped("nothing can be encoded", but="template")]
    return encoder, [about, *same, *token_checks(subject)]


def _skipped(why: str, but: str = "") -> list[Check]:
    return [Check(name, "skipped", why) for name in TOKEN_CHECKS if name != but]


def _samples(files: Sequence[DataFile]) -> list[Example]:
    """Some datapoints of each file, as examples."""
    samples: list[Example] = []
    for file in files:
        for row in list(file.reading.datapoints.values())[:5]:
            answer = row.context_answer if isinstance(row, Item) else row.answer
            samples.append(Example(id=row.id, context=row.context, question=row.question, answer=answer))
    return samples


def _config(folders: Sequence[Path]) -> dict[str, Any]:
    """The text model's configuration, and over it what generation is configured with."""
    config: dict[str, Any] = {}
    for folder in folders[:1]:
        for name in ("config.json", "generation_config.json"):
            try:
                stated = read_object(folder / name)
            except AttnshiftError:
                continue
            inner = stated.get("text_config")
            config |= {**stated, **(inner if isinstance(inner, dict) else {})}
    return config
