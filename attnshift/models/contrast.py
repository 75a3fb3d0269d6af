"""Where two answers part: the row that predicts the first token in which they differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int8, Int32
from torch import Tensor

from attnshift.data.prompts import ItemTokens
from attnshift.data.roles import ANSWER
from attnshift.errors import AttnshiftError
from attnshift.models.forward import Target, target_logits


@dataclass(frozen=True)
class Contrast:
    """A prompt up to where two answers part, and the two tokens that part them."""

    ids: Int32[np.ndarray, "position"]
    """the prompt and the tokens that both answers begin with; its last row is the answer row"""
    roles: Int8[np.ndarray, "position"]
    context: int
    """the token of the context's answer"""
    parametric: int

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def row(self) -> int:
        """The position of the answer row."""
        return len(self.ids) - 1

    @property
    def target(self) -> Target:
        """As a target of one token, the context answer's."""
        return Target(np.append(self.ids, np.int32(self.context)), len(self.ids))


def first_difference(a: Int32[np.ndarray, "a"], b: Int32[np.ndarray, "b"]) -> int | None:
    """Position of the first token in which two answers differ; None where one begins with all of the other."""
    differs = np.flatnonzero(a[: len(b)] != b[: len(a)])
    return int(differs[0]) if len(differs) else None


def item_contrasts(tokens: Sequence[ItemTokens]) -> tuple[list[int], list[Contrast]]:
    """The contrasts of items, with the positions of those that have one.

    Raises AttnshiftError where no item has one.
    """
    found: dict[int, Contrast] = {}
    for i, one in enumerate(tokens):
        context, parametric = one.context_answer_ids, one.parametric_answer_ids
        at = first_difference(context, parametric)
        if at is not None:
            shared = context[:at]
            roles = np.append(one.prompt.roles, np.full(at, ANSWER, np.int8))
            ids = np.concatenate([one.prompt.ids, shared])
            found[i] = Contrast(ids, roles, int(context[at]), int(parametric[at]))
    if not found:
        raise AttnshiftError(
            f"in none of the {len(tokens)} items do the two answers part: one's tokens begin with all of the other's",
            expected="answers that differ in some token",
        )
    return list(found), list(found.values())


def answer_margins(
    model: Any, contrasts: Sequence[Contrast], extra: Mapping[str, Any] | None = None
) -> tuple[Float[Tensor, "contrast"], Float[Tensor, "contrast vocabulary"]]:
    """Logit of the context's token minus that of the parametric one, and all logits of the answer rows.

    ``extra`` goes to the model as keywords. Differences of log-probabilities are these differences of logits.
    """
    logits, _ = target_logits(model, [each.target for each in contrasts], extra)
    logits = logits if logits.dtype == torch.float64 else logits.float()
    place = torch.arange(len(contrasts), device=logits.device)
    context, parametric = (
        torch.tensor([getattr(each, name) for each in contrasts], device=logits.device)
        for name in ("context", "parametric")
    )
    return logits[place, context] - logits[place, parametric], logits
