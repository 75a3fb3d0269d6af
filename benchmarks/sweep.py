"""A run of random checkpoints, and data to trace it on."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.bench import Bench
from benchmarks.models import QUICK, STANDARD
from benchmarks.rundir import word_tokenizer, write_run

ITEMS, EXAMPLES = 4, 4
CONTEXT_WORDS = 120
NEW_TOKENS = 8
TOKEN_BUDGET = 8192
MEASURES = (
    "attention_mass",
    "margin",
    "logprob_parametric_closed_book",
    "counterfactual_accuracy",
    "ift_attention_mass",
    "loss",
    "loss_closed_book",
    "gradient_norm",
    "gradient_norm_by_part",
)
TEMPLATE = "{% if context %}{{ context }} {% endif %}{{ question }} {{ answer }}"


def make_sweep(bench: Bench, checkpoints: int) -> tuple[Any, dict[str, Any]]:
    """A series of so many checkpoints, and how it is to be traced but for the place and the device."""
    import attnshift

    shape = QUICK if bench.quick else STANDARD
    words = [f"w{i}" for i in range(shape.vocabulary - 2)]
    run = write_run(bench.folder / "run", shape, checkpoints)
    word_tokenizer(words).save_pretrained(run)
    items, examples, template = _write_data(bench.folder, words, CONTEXT_WORDS // (10 if bench.quick else 1))
    return attnshift.open_series(run), {
        "items": attnshift.load_items(items),
        "examples": attnshift.load_examples(examples),
        "measures": MEASURES,
        "template": str(template),
        "max_new_tokens": NEW_TOKENS,
        "token_budget": TOKEN_BUDGET,
    }


def _write_data(folder: Path, words: Sequence[str], length: int) -> tuple[Path, Path, Path]:
    """Conflict items, examples of two groups, and a template without words of its own."""
    chosen = random.Random(0)

    def text(size: int) -> list[str]:
        return chosen.choices(words, k=size)

    items, examples = [], []
    for _ in range(ITEMS):
        answer, memory = chosen.sample(words, 2)
        context = [*text(_around(length, chosen)), answer]
        chosen.shuffle(context)
        items.append(_row(context, text(10), answer) | {"memory_answer": memory})
    for i in range(EXAMPLES):
        row = _row(text(_around(length, chosen)), text(10), " ".join(text(8)))
        examples.append(row | {"group": ("critical", "non_critical")[i % 2]})
    paths = folder / "items.json", folder / "examples.json", folder / "words.jinja"
    for path, content in zip(paths, (json.dumps(items), json.dumps(examples), TEMPLATE), strict=True):
        path.write_text(content, encoding="utf-8")
    return paths


def _around(length: int, chosen: random.Random) -> int:
    return int(length * chosen.uniform(0.8, 1.2))


def _row(context: Sequence[str], question: Sequence[str], answer: str) -> dict[str, str]:
    return {"context": " ".join(context), "question": " ".join(question), "answer": answer}
