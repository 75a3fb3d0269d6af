"""Is a fact known? Its answer, closed book, against the answers of other items."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from attnshift.data.distractors import choose_distractors
from attnshift.data.inputs import Inputs
from attnshift.models.forward import Target, score_targets


def known_margins(model: Any, inputs: Inputs, token_budget: int) -> Float[np.ndarray, "item"]:
    """Log-probability per token of each parametric answer, closed book, less that of its best distractor; in nats."""
    tokens = inputs.item_tokens
    answers = [t.parametric_answer_ids for t in tokens]
    distractors = choose_distractors(inputs.items, list(map(len, answers)))
    asked = [(i, j) for i, others in enumerate(distractors) for j in (i, *others)]
    targets = [Target.after(tokens[i].closed_book, answers[j]) for i, j in asked]
    per_token = np.nanmean(_score_each_once(model, targets, token_budget), -1)
    margins = np.full(len(tokens), np.nan)
    rows = np.split(per_token, np.cumsum([1 + len(others) for others in distractors])[:-1])
    for i, row in enumerate(rows):
        if len(row) > 1:
            margins[i] = row[0] - row[1:].max()
    return margins


def _score_each_once(
    model: Any, targets: Sequence[Target], token_budget: int
) -> Float[np.ndarray, "target target_position"]:
    """Log-probabilities of the targets; what stands among them several times goes through the model once."""
    place: dict[tuple[bytes, int], int] = {}
    unique: list[Target] = []
    for target in targets:
        if (key := (target.ids.tobytes(), target.start)) not in place:
            place[key] = len(unique)
            unique.append(target)
    scores, _ = score_targets(model, unique, token_budget)
    return scores.logprob[[place[target.ids.tobytes(), target.start] for target in targets]]
