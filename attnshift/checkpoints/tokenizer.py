"""The tokenizer of a run: where it lies, and loading it."""

from __future__ import annotations

import hashlib
import os.path
from pathlib import Path
from typing import TYPE_CHECKING

from attnshift.checkpoints.run import Run
from attnshift.checkpoints.safepath import refuse_pipes
from attnshift.errors import AttnshiftError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_ALONE = ("tokenizer.json", "tokenizer.model")
_VOCABULARIES = ("vocab.json", "vocab.txt", "spiece.model", "sentencepiece.bpe.model")
_BESIDE = ("merges.txt", "added_tokens.json")


def tokenizer_dir(run: Run, option: str | None = None) -> Path:
    """Find the folder of a run's tokenizer.

    A folder named by `option` is taken; else the first of the last checkpoint (and the folder around it, inside the
    run), the run itself, `final/` and other folders with a checkpoint's weights, and the base that holds its files.

    Raises
    ------
    AttnshiftError
        Where none of them does.
    """
    if option is not None:
        folders = [Path(os.path.expanduser(option))]
    else:
        aliases = [run.path / name for name in run.aliases]
        last = run.checkpoints[-1].path
        around = [last.parent] if last.parent.is_relative_to(run.path) else []
        folders = [last, *around, run.path, run.path / "final", *aliases]
        folders += [run.base] if run.base else []
    for folder in folders:
        if _holds_tokenizer(folder):
            return folder.resolve()
    looked = ", ".join(dict.fromkeys(str(folder) for folder in folders))
    raise AttnshiftError(
        f"there is no tokenizer in {looked}",
        expected="tokenizer.json, tokenizer.model, or tokenizer_config.json with a vocabulary",
        remedy="name a folder with --tokenizer DIR, or copy the tokenizer's files into the run",
    )


def tokenizer_digest(folder: Path) -> str | None:
    """What identifies the vocabulary that lies in a folder; None where there is none that can be read."""
    digest, names = hashlib.blake2b(digest_size=16), (*_ALONE, *_VOCABULARIES, *_BESIDE)
    try:
        held = [name for name in names if (folder / name).is_file()]
        for name in held:
            digest.update(name.encode() + (folder / name).read_bytes())
    except OSError:
        return None
    return digest.hexdigest() if held else None


def load_tokenizer(directory: Path) -> PreTrainedTokenizerBase:
    """Load a tokenizer from disk; code that comes with it is never run.

    Raises
    ------
    AttnshiftError
        For files that can't be loaded, and a tokenizer that can't tell the characters of its tokens.
    """
    if not directory.is_dir():  # transformers would take it for a hub name
        raise AttnshiftError(f"there is no tokenizer in {str(directory)!r}", expected="a directory with its files")
    refuse_pipes(directory)
    from transformers import AutoTokenizer  # seconds to load

    try:
        tokenizer = AutoTokenizer.from_pretrained(str(directory), trust_remote_code=False, local_files_only=True)
    except Exception as error:  # the loaders raise whatever the file's parsers raise
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise AttnshiftError(
            f"the tokenizer in {directory} can't be loaded: {reason}",
            expected="the files of a fast tokenizer",
            remedy="copy the tokenizer's files again, or name another folder with --tokenizer DIR",
        ) from error
    require_fast(tokenizer, str(directory))
    return tokenizer


def require_fast(tokenizer: object, where: str) -> None:
    """Raise AttnshiftError for what isn't a tokenizer that tells the characters of its tokens."""
    if not getattr(tokenizer, "is_fast", False):
        raise AttnshiftError(
            f"the tokenizer in {where} ({type(tokenizer).__name__}) doesn't tell the characters of its tokens",
            expected="a fast tokenizer (tokenizer.json)",
            remedy="give one by --tokenizer DIR, or tokenizer=… in Python",
        )


def _holds_tokenizer(folder: Path) -> bool:
    if any((folder / name).is_file() for name in _ALONE):
        return True
    return (folder / "tokenizer_config.json").is_file() and any((folder / name).is_file() for name in _VOCABULARIES)
