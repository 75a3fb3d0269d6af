"""Which answer each layer leans to: the logit lens."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from attnshift.measures.measure import Measure, Need, Observation

_NEEDS: frozenset[Need] = frozenset({"answer_row"})


@dataclass(frozen=True)
class LensMargin(Measure):
    """Margin that the model would have if it stopped behind a layer: final norm and unembedding put right there.

    logit(context) - logit(parametric) of unembed(norm(residual behind the layer)) at the row that predicts the first
    token in which the answers differ. The norm takes its scale from that residual. Behind the last layer it is the
    model's own ``margin_first_token``; a model for which it isn't is refused. An early layer need not speak the
    unembedding's language: a lean of 0 there says nothing about what the layer knows.
    """

    name = "lens_margin"
    unit = "nats"
    dims = ("item", "layer")
    needs = _NEEDS

    def compute(self, seen: Observation) -> Float32[np.ndarray, "item layer"]:
        return seen.get("answer_row").lens


@dataclass(frozen=True)
class LensMarginFinalScale(Measure):
    """``lens_margin`` with the norm's scale taken from the last layer's residual: layers on one scale.

    The usual lens blows up the small residuals of early layers. By one scale the difference between two layers is what
    the layers between them write, as ``head_attribution`` and ``mlp_attribution`` tell it.
    """

    name = "lens_margin_final_scale"
    unit = "nats"
    dims = ("item", "layer")
    needs = _NEEDS

    def compute(self, seen: Observation) -> Float32[np.ndarray, "item layer"]:
        return seen.get("answer_row").lens_final_scale
