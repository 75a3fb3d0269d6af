"""How hard each group of examples pulls at the trained parameters, and whether they pull together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from attnshift.measures.measure import Measure, Need, Observation

_NEEDS: frozenset[Need] = frozenset({"group_gradient"})


@dataclass(frozen=True)
class GradientNorm(Measure):
    """Norm of the gradient of the group's mean loss with respect to the trained parameters.

    || grad_theta mean_i mean_t -log p(target token t of example i) ||_2 over the group's training examples.
    The norm of the mean gradient, not the mean of the examples' norms.
    """

    name = "gradient_norm"
    unit = "nats per unit of parameter"
    dims = ("group",)
    needs = _NEEDS

    def compute(self, seen: Observation) -> Float[np.ndarray, "group"]:
        product = seen.get("group_gradient").product
        return np.sqrt(np.einsum("ggp->g", product))


@dataclass(frozen=True)
class GradientNormByPart(Measure):
    """``gradient_norm`` of each part of the parameters; the squares sum to the whole squared."""

    name = "gradient_norm_by_part"
    unit = "nats per unit of parameter"
    dims = ("group", "part")
    needs = _NEEDS

    def compute(self, seen: Observation) -> Float[np.ndarray, "group part"]:
        return np.sqrt(np.einsum("ggp->gp", seen.get("group_gradient").product))


@dataclass(frozen=True)
class GradientCosine(Measure):
    """Cosine between the mean gradients of the critical and the non-critical group; NaN if one is missing or 0."""

    name = "gradient_cosine"
    unit = "1"
    dims = ()
    needs = _NEEDS | {"gradient_cross_product"}

    def compute(self, seen: Observation) -> Float[np.ndarray, ""]:
        gradients = seen.get("group_gradient")
        if not {"critical", "non_critical"} <= set(gradients.groups):
            return np.array(np.nan)
        a, b = (gradients.groups.index(group) for group in ("critical", "non_critical"))
        product = gradients.product.sum(-1)
        norms = np.sqrt(product[a, a] * product[b, b])
        return np.array(product[a, b] / norms if norms > 0 else np.nan)


@dataclass(frozen=True)
class ExampleGradientNorm(Measure):
    """Norm of the gradient of one training example's loss on the trained parameters; NaN for held-out examples.

    || grad_theta mean_t -log p(target token t of example i) ||_2.
    """

    name = "example_gradient_norm"
    unit = "nats per unit of parameter"
    dims = ("example",)
    needs = _NEEDS | {"example_gradient"}

    def compute(self, seen: Observation) -> Float[np.ndarray, "example"]:
        return seen.get("example_gradient").norm
