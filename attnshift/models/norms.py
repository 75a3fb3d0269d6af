"""Norms with their scale frozen at one vector: linear there, so that what enters them can be told apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from attnshift.errors import AttnshiftError


@dataclass(frozen=True)
class FrozenNorm:
    """norm(x) = multiplier * (x - mean(x) if centred) / scale + offset, with the scale of one x per row."""

    multiplier: Float[Tensor, "d"]
    offset: Float[Tensor, "d"] | None
    centred: bool
    scale: Float[Tensor, "*row 1"]

    def __call__(self, vectors: Float[Tensor, "*row d"]) -> Float[Tensor, "*row d"]:
        """The norm of vectors by the frozen scale, offset included."""
        centred = vectors - vectors.mean(-1, keepdim=True) if self.centred else vectors
        out = self.multiplier * centred / self.scale
        return out if self.offset is None else out + self.offset

    def pulled(self, direction: Float[Tensor, "*row d"]) -> Float[Tensor, "*row d"]:
        """The direction before the norm whose inner product with x is that of ``direction`` with norm(x) - offset."""
        back = direction * self.multiplier / self.scale
        return back - back.mean(-1, keepdim=True) if self.centred else back

    def constant(self, direction: Float[Tensor, "*row d"]) -> Float[Tensor, "*row"]:
        """What the offset brings along ``direction``."""
        return direction.new_zeros(direction.shape[:-1]) if self.offset is None else direction @ self.offset


def freeze(norm: nn.Module, vectors: Float[Tensor, "*row d"]) -> FrozenNorm:
    """A norm with its scale frozen at ``vectors``, in float32 at least.

    Layer norms and root-mean-square norms, whatever they call or add to their weight: the weight is read off what the
    norm does to a vector of ones. Raises AttnshiftError where the module isn't one of them.
    """
    own, x = _parameter_dtype(norm), precise(vectors)
    if isinstance(norm, nn.LayerNorm):
        weight = torch.ones_like(x[0]) if norm.weight is None else norm.weight.detach().to(x)
        scale = (x.var(-1, unbiased=False, keepdim=True) + norm.eps).sqrt()
        frozen = FrozenNorm(weight, None if norm.bias is None else norm.bias.detach().to(x), True, scale)
    else:
        eps = _epsilon(norm)
        ones = torch.ones(x.shape[-1], dtype=own, device=x.device)
        with torch.no_grad():
            weight = norm(ones).to(x) * (1 + eps) ** 0.5
        frozen = FrozenNorm(weight, None, False, (x.pow(2).mean(-1, keepdim=True) + eps).sqrt())
    with torch.no_grad():
        difference = (frozen(x) - precise(norm(vectors))).norm() / (frozen(x).norm() + 1e-12)
    if not difference <= tolerance(own):
        raise _not_a_norm(norm)
    return frozen


def tolerance(dtype: torch.dtype) -> float:
    """How far two ways of computing the same may be apart, relative to their size: rounding, with room."""
    return {torch.float64: 1e-6, torch.float32: 1e-3}.get(dtype, 5e-2)


def precise(tensor: Tensor) -> Tensor:
    """In float32 at least: sums of products in half precision would round small ones away."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def _parameter_dtype(norm: nn.Module) -> torch.dtype:
    return next((p.dtype for p in norm.parameters()), torch.float32)


def _epsilon(norm: Any) -> float:
    for name in ("variance_epsilon", "eps", "epsilon"):
        if isinstance(value := getattr(norm, name, None), float):
            return value
    raise _not_a_norm(norm)


def _not_a_norm(norm: nn.Module) -> AttnshiftError:
    return AttnshiftError(
        f"{type(norm).__name__} is neither a layer norm nor a root-mean-square norm",
        expected="a norm that is linear once its scale is fixed",
        remedy="leave attributions and lenses out for this model",
    )
