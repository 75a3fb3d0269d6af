"""A model under control conditions."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float

from attnshift.data.inputs import Inputs
from attnshift.models.forward import Target, score_targets


def control_margins(model: Any, inputs: Inputs, token_budget: int) -> Float[np.ndarray, "item condition"]:
    """log p(context answer) - log p(parametric answer) under each condition, in nats; NaN where an item has none."""
    margins = np.full((len(inputs.items), len(inputs.controls)), np.nan)
    for column, control in enumerate(inputs.controls):
        there = [i for i, tokens in enumerate(control.tokens) if tokens is not None]
        prompts = [tokens for tokens in control.tokens if tokens is not None]
        if prompts:
            context, parametric = (
                score_targets(model, [Target.after(t.prompt, getattr(t, ids)) for t in prompts], token_budget)[0]
                for ids in ("context_answer_ids", "parametric_answer_ids")
            )
            margins[there, column] = np.nansum(context.logprob, -1) - np.nansum(parametric.logprob, -1)
    return margins
