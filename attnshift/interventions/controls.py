"""What a patch has to get right by construction, checked in every run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from attnshift.errors import AttnshiftError
from attnshift.interventions.cells import ALL, Cell
from attnshift.interventions.sites import PARTS, Site


@dataclass
class Controls:
    """The largest deviation over all items, in nats; each would be 0 in exact arithmetic."""

    clean: float = 0.0
    """unpatched: the lens behind the last layer against the model's own margin, in source and target"""
    no_op: float = 0.0
    """the target's own activations put back, at every site and token"""
    full_stream: float = 0.0
    """the stream behind the last layer put in, read by the source's final norm and unembedding, against its margin"""
    full_writers: float = 0.0
    """the same with the embeddings and what every attention and MLP adds put in instead"""

    def see(self, name: str, deviations: np.ndarray) -> None:
        """Take the deviations of some items into account."""
        setattr(self, name, max(getattr(self, name), float(np.abs(deviations).max())))

    def require(self, margins: np.ndarray, dtypes: Sequence[torch.dtype]) -> None:
        """Raise AttnshiftError where one is more than rounding."""
        scale = max(1.0, float(np.abs(margins).max()))
        allowed = scale * max(_ROUNDING.get(dtype, 0.1) for dtype in dtypes)
        for name, value in asdict(self).items():
            if not value <= allowed:
                raise AttnshiftError(
                    f"the control {name} deviates by {value:.2g} nats: {_ABOUT[name]}",
                    expected=f"rounding alone, at most {allowed:.2g}",
                    remedy="leave patches out for this model, or report its family",
                )


# Nats per nat of margin, in the models' own type: what two orders of summing may differ by.
_ROUNDING: dict[Any, float] = {torch.float64: 1e-9, torch.float32: 1e-4}
_ABOUT = {
    "clean": "final norm and unembedding don't give the model's own answer",
    "no_op": "a model's own activations put back change its answer",
    "full_stream": "the source's last residual stream doesn't give the source's answer",
    "full_writers": "the source's embeddings, attentions and MLPs together don't give the source's answer",
}


def no_op_cells(layers: int, middle: bool) -> list[Cell]:
    """Every part by itself, in all layers at all tokens."""
    parts = [part for part in PARTS if middle or part != "resid_mid"]
    return [Cell(tuple(Site(part, layer) for layer in range(layers)), ALL) for part in parts]


def stream_cell(layers: int) -> Cell:
    """The stream behind the last layer."""
    return Cell((Site("resid_post", layers - 1),), ALL)


def writers_cell(layers: int) -> Cell:
    """All that writes to the stream: the embeddings, every attention, every MLP."""
    written = [Site(part, layer) for layer in range(layers) for part in ("attn", "mlp")]
    return Cell((Site("resid_pre", 0), *written), ALL)
