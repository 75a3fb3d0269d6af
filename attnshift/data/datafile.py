"""A file of examples that is written again in its own form: with more columns, fewer rows or more of them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from os import PathLike
from pathlib import Path
from typing import Any

from attnshift.atomic import write_text
from attnshift.data.augment import Counterfactual
from attnshift.data.formats import numbered_examples
from attnshift.data.instructions import unnested
from attnshift.data.items import Example
from attnshift.data.retelling import Retelling, texts_in
from attnshift.data.rows import Document, Row, csv_text, read_document
from attnshift.errors import AttnshiftError

_PROVENANCE = ("origin", "old_answer", "new_answer", "kind", "seed")
_FORMS = {"json": (".json",), "jsonl": (".jsonl", ".ndjson", ".json"), "csv": (".csv",), "table": (".jsonl", ".ndjson")}


@dataclass(frozen=True)
class DataFile:
    """A file of examples."""

    document: Document
    homes: dict[str, Row]
    """by id, the object of the file that an example was read from; a row that can't be used has none"""
    rows: dict[str, Row]
    """the same as rows that hold all fields: in SQuAD's nesting the question with its paragraph's context"""
    examples: tuple[Example, ...]
    mapping: Mapping[str, str]

    def elsewhere(self) -> list[str]:
        """What each example's row says beside its context, question and answer."""
        retelling = self._retelling()
        return [retelling.elsewhere(self.rows[example.id], example) for example in self.examples]

    def texts(self) -> list[str]:
        """Everything that each example's row says: further turns of a conversation, too."""
        return ["\n\n".join(texts_in(self.rows[example.id])) for example in self.examples]

    def check_name(self, out: Path) -> None:
        """Raise AttnshiftError where the name of a new file ends otherwise than this one's form does."""
        endings = _FORMS[self.document.kind]
        if out.suffix.lower() not in endings:
            raise AttnshiftError(
                f"{out} doesn't end as {self.document.path.name} does",
                expected=f"a name that ends in {' or '.join(endings)}: {_form(self.document)}",
                remedy=f"-o {out.with_suffix(self._ending())}",
            )

    def _ending(self) -> str:
        suffix, endings = self.document.path.suffix, _FORMS[self.document.kind]
        return suffix if suffix.lower() in endings else endings[0]

    def write(
        self,
        out: Path,
        *,
        columns: Mapping[str, Row] | None = None,
        dropped: Collection[str] = (),
        added: Sequence[Counterfactual] = (),
    ) -> Path:
        """Write it in its own form: every field that isn't named here is left as it is, and so is the order.

        Parameters
        ----------
        out
            The new file, of the same kind.
        columns
            By the id of an example, what is written into its row.
        dropped
            Ids of examples whose rows are left out.
        added
            Counterfactual examples. They come at the end, in rows that tell them as their origin's rows tell those,
            with ``id``, ``group``, ``stratum``, ``origin``, ``old_answer``, ``new_answer``, ``kind`` and ``seed``.

        Raises
        ------
        AttnshiftError
                The file's name ends otherwise, it can't be written, or a row can't tell another answer.
        """
        self.check_name(out)
        written = {key: self._named((columns or {}).get(key, {})) for key in self.homes}
        changes = {id(home): [{**home, **written[key]}] for key, home in self.homes.items()}
        changes |= {id(self.homes[key]): [] for key in dropped}
        more = self._told(added)
        if any(self.homes[each.origin] is not self.rows[each.origin] for each in added):
            more = [{"title": "counterfactual", "paragraphs": [_as_paragraph(row) for row in more]}]
        text = _WRITERS[self.document.kind](self.document, changes, more)
        return write_data(out, text)

    def _told(self, added: Sequence[Counterfactual]) -> list[Row]:
        retelling, by_id = self._retelling(), {example.id: example for example in self.examples}
        rows = []
        for each in added:
            told = retelling.told(self.rows[each.origin], by_id[each.origin], each.example)
            fields = {name: getattr(each.example, name) for name in ("id", "group", "stratum")}
            provenance = {name: getattr(each, name) for name in _PROVENANCE}
            rows.append({**told, **self._named(fields), **provenance})
        return rows

    def _named(self, fields: Row) -> Row:
        """Fields under the names of their columns."""
        return {self.mapping.get(name, name): value for name, value in fields.items()}

    def _retelling(self) -> Retelling:
        return Retelling(self.document.path, self.mapping)


def open_data(path: str | PathLike[str], mapping: Mapping[str, str] | None = None) -> DataFile:
    """Read a file of examples as `load_examples` does, and raises."""
    document = read_document(path)
    pairs = unnested(document.path, document.rows)
    found = numbered_examples(document.path, [row for row, _ in pairs], mapping)
    homes = {example.id: pairs[number - 1][1] for number, example in found.items()}
    rows = {example.id: pairs[number - 1][0] for number, example in found.items()}
    return DataFile(document, homes, rows, tuple(found.values()), dict(mapping or {}))


def _form(document: Document) -> str:
    return "a table is written as json lines" if document.kind == "table" else "the form stays as it is"


def write_data(out: Path, text: str) -> Path:
    """Write a data file, whole or not at all; raises AttnshiftError where that can't be."""
    try:
        write_text(out, text)
    except OSError as error:
        raise AttnshiftError(
            f"{str(out)!r} can't be written: {error.strerror or error}",
            remedy="make room, or name another file with -o",
        ) from error
    return out


def _as_paragraph(row: Row) -> Row:
    return {"context": row["context"], "qas": [{key: value for key, value in row.items() if key != "context"}]}


def _json(document: Document, changes: Mapping[int, list[Row]], more: list[Row]) -> str:
    whole = _rebuilt(document.whole, changes, document.rows, more)
    source = document.path.read_text(encoding="utf-8-sig")
    indent = re.match(r"\s*[\[{]\r?\n( *)", source)
    text = json.dumps(whole, ensure_ascii=False, indent=len(indent[1]) if indent else None)
    return text + "\n" * source.endswith("\n")


def _jsonl(document: Document, changes: Mapping[int, list[Row]], more: list[Row]) -> str:
    rows = _rebuilt(document.whole, changes, document.rows, more)
    # Tables hold dates and the like, which JSON has no form of.
    return "".join(json.dumps(row, ensure_ascii=False, default=str) + "\n" for row in rows)


def _rebuilt(node: Any, changes: Mapping[int, list[Row]], rows: list[Row], more: list[Row]) -> Any:
    """The value with what stands in the place of each row, and more of them at the end of the rows' own list."""
    if isinstance(node, dict):
        return {key: _rebuilt(value, changes, rows, more) for key, value in node.items()}
    if not isinstance(node, list):
        return node
    kept: list[Any] = []
    for each in node:
        kept += changes[id(each)] if id(each) in changes else [_rebuilt(each, changes, rows, more)]
    return kept + more if node is rows else kept


def _csv(document: Document, changes: Mapping[int, list[Row]], more: list[Row]) -> str:
    """Records as they are, with the new columns behind them."""
    header, *records = document.whole
    names = [name.strip() for name in header]
    known = [changes.get(id(row), [row]) for row in document.rows]
    everyone = [*chain.from_iterable(known), *more]
    new = list(dict.fromkeys(name for row in everyone for name in row if name not in names))
    lines = [[*header, *new]]
    for record, rows in zip(records, known, strict=True):
        filled = record + [""] * (len(header) - len(record))
        # A column without a name is nobody's, and stays.
        lines += [[r.get(n, v) if n else v for n, v in zip(names, filled, strict=True)] + _cells(r, new) for r in rows]
    lines += [_cells(row, names) + _cells(row, new) for row in more]
    return csv_text(lines, "\r\n" if b"\r\n" in document.path.read_bytes() else "\n")


def _cells(row: Row, names: Sequence[str]) -> list[Any]:
    return ["" if row.get(name) is None else row[name] for name in names]


_WRITERS: dict[str, Callable[[Document, Mapping[int, list[Row]], list[Row]], str]] = {
    "json": _json,
    "jsonl": _jsonl,
    "table": _jsonl,
    "csv": _csv,
}
