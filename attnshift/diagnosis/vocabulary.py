"""Whether the checkpoints of a run share one tokenizer: a trace reads all of them through one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from attnshift.checkpoints.jsonfile import read_object
from attnshift.checkpoints.run import Run
from attnshift.diagnosis.check import Check, failed, some
from attnshift.errors import AttnshiftError

_FILES = ("tokenizer.json", "tokenizer.model", "spiece.model", "sentencepiece.bpe.model", "vocab.json", "vocab.txt")
_TEMPLATE = "chat_template.jinja"
_HOW = ("normalizer", "pre_tokenizer", "model")
"""parts of tokenizer.json that decide which tokens a text becomes; the rest decides what is put around them"""
_CIRCUMSTANCES = ("truncation", "padding", "version")
"""parts that a trainer leaves as it last used them"""


def same_tokenizer(run: Run) -> Check:
    """Whether every folder that holds a tokenizer holds the same one."""
    held = {path: name for folder, name in _folders(run).items() if (path := _tokenizer_file(folder))}
    if not held:
        return Check("same_tokenizer", "skipped", "no checkpoint holds a tokenizer")
    places: dict[str, list[str]] = {}
    files: dict[str, Path] = {}
    try:
        for path, name in held.items():
            digest = _digest(path)
            places.setdefault(digest, []).append(name)
            files.setdefault(digest, path)
        differing = _differences(list(files.values()))
    except AttnshiftError as error:
        return failed("same_tokenizer", error)
    told = " / ".join(some(names, 3) for names in places.values())
    if len(files) == 1:
        return Check("same_tokenizer", "ok", f"the same {next(iter(held)).name} in {told}")
    if not differing:
        return Check("same_tokenizer", "ok", f"the same but for truncation and padding: {told}")
    grave = any(each.startswith((*_HOW, "file")) for each in differing)
    seen = f"{told} differ in {'; '.join(differing)}; a trace reads them all with one"
    remedy = "a tokenizer for all with --tokenizer DIR, or a trace for each of the two"
    return Check("same_tokenizer", "fail" if grave else "warn", seen, remedy)


def same_chat_template(run: Run) -> Check:
    """Whether the tokenizers of a run have one chat template."""
    places: dict[str, list[str]] = {}
    for folder, name in _folders(run).items():
        if (folder / "tokenizer_config.json").is_file():
            places.setdefault(_chat_template(folder), []).append(name)
    if not places:
        return Check("same_chat_template", "skipped", "no checkpoint holds a tokenizer_config.json")
    told = " / ".join(
        f"{some(names, 3)}: {hashlib.blake2b(text.encode(), digest_size=6).hexdigest() if text else 'none'}"
        for text, names in places.items()
    )
    if len(places) == 1:
        return Check("same_chat_template", "ok", told)
    seen = f"different ones ({told}); the trace uses one for all"
    return Check("same_chat_template", "warn", seen, "name the one that training used with --template FILE")


def _folders(run: Run) -> dict[Path, str]:
    """Where a run's tokenizers may lie, and how these places are called."""
    places = {run.base: "base"} if run.base else {}
    places |= {c.path: c.name for c in run.checkpoints if c.path != run.base}
    places |= {run.path / name: name for name in run.aliases if name != "."}
    resolved = {folder.resolve(): f"{name}/" for folder, name in places.items()}
    return {run.path.resolve(): "the run itself", **resolved}


def _tokenizer_file(folder: Path) -> Path | None:
    return next((folder / name for name in _FILES if (folder / name).is_file()), None)


def _digest(path: Path) -> str:
    try:
        return hashlib.blake2b(path.read_bytes()).hexdigest()
    except OSError as error:
        raise AttnshiftError(f"{path} can't be read: {error.strerror}", remedy="check its permissions") from error


def _chat_template(folder: Path) -> str:
    """The chat template in a folder; empty without one, or where it can't be read."""
    if (folder / _TEMPLATE).is_file():  # a pipe would be waited for
        try:
            return (folder / _TEMPLATE).read_text(encoding="utf-8")
        except (OSError, ValueError):
            return ""
    try:
        stated = read_object(folder / "tokenizer_config.json").get("chat_template")
    except AttnshiftError:
        return ""
    return "" if stated is None else stated if isinstance(stated, str) else json.dumps(stated, sort_keys=True)


def _differences(paths: Sequence[Path]) -> list[str]:
    """In what tokenizer files differ; nothing where they only were used differently."""
    if len(paths) == 1:
        return []
    if any(path.name != "tokenizer.json" for path in paths):
        return [f"file {' and '.join(sorted({path.name for path in paths}))}"]
    first, *others = map(_content, paths)
    found: dict[str, None] = {}
    for other in others:
        for part in sorted((first.keys() | other.keys()) - {*_CIRCUMSTANCES}):
            if first.get(part) != other.get(part):
                found[_told(part, first.get(part), other.get(part))] = None
    return list(found)


def _content(path: Path) -> dict[str, Any]:
    """A tokenizer.json as the library writes it today: older versions wrote the same merges in another way."""
    from tokenizers import Tokenizer

    try:
        content: dict[str, Any] = json.loads(Tokenizer.from_file(str(path)).to_str())
    except Exception as error:  # the parser raises Exception and nothing nearer
        raise AttnshiftError(
            f"{path} can't be read: {error}", expected="a tokenizer.json", remedy="copy the checkpoint again"
        ) from error
    return content


def _told(part: str, mine: Any, theirs: Any) -> str:
    """One difference; of the vocabulary an example."""
    if part != "model" or not isinstance(mine, Mapping) or not isinstance(theirs, Mapping):
        return part
    ids, others = _ids(mine.get("vocab")), _ids(theirs.get("vocab"))
    moved = [token for token, number in ids.items() if others.get(token, number) != number]
    if moved:
        token = moved[0]
        return f"model: {len(moved)} tokens have other ids, such as {token!r} {ids[token]} / {others[token]}"
    if ids.keys() != others.keys():
        only = sorted(ids.keys() ^ others.keys())
        return f"model: {len(only)} tokens that not all have, such as {only[0]!r}"
    return f"model: {', '.join(sorted(key for key in mine.keys() | theirs.keys() if mine.get(key) != theirs.get(key)))}"


def _ids(vocabulary: Any) -> dict[str, Any]:
    """Token to id: a mapping, or (Unigram) pieces in the order of their ids."""
    if isinstance(vocabulary, Mapping):
        return dict(vocabulary)
    pieces = vocabulary if isinstance(vocabulary, list) else []
    return {str(piece[0]): number for number, piece in enumerate(pieces) if isinstance(piece, list) and piece}
