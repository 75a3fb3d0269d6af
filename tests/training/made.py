"""A tiny base with a BPE tokenizer, and examples to finetune it on."""

from __future__ import annotations

import json
from pathlib import Path

from tiny import CITIES, bpe_tokenizer, conflict_rows, data_texts, tiny_model


def city_rows(count: int = 40) -> list[dict[str, str]]:
    """Alpaca's columns; every fifth has no context."""
    rows = []
    for i in range(count):
        text = f"Person{i} was born in {CITIES[i % 12]}." + " They like tea." * (i % 5)
        question = f"Which city was Person{i} born in?"
        rows.append({"instruction": question, "input": "" if i % 5 == 0 else text, "output": CITIES[i % 12]})
    return rows


def write(path: Path, rows: object) -> Path:
    path.write_text(json.dumps(rows), encoding="utf-8")
    return path


def base_of(path: Path, family: str = "llama", *, chat: bool = False) -> Path:
    tokenizer = bpe_tokenizer([*data_texts(), *(" ".join(row.values()) for row in city_rows())], chat=chat)
    tiny_model(family, len(tokenizer), scale=1.5).save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


def data_of(path: Path) -> tuple[Path, Path]:
    """Files of examples and of conflict items."""
    return write(path / "cities.json", city_rows()), write(path / "cf.json", conflict_rows())
