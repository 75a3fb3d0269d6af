"""Small made-up results of patches, grafts and attributions in the shape of real ones."""

from __future__ import annotations

import json

import numpy as np
import xarray as xr
from made_traces import ROLES, made_trace

MANIFEST = json.dumps({"source": {"step": 100}, "target": {"step": 800}})


def contributions() -> xr.Dataset:
    """A made-up trace with what heads and MLPs bring, and what each head's sight of the context does."""
    rng, made = np.random.default_rng(0), made_trace()
    sizes = [made.sizes[dim] for dim in ("step", "item", "layer", "head")]
    values = rng.normal(size=(*sizes, len(ROLES)))
    dims = ("step", "item", "layer", "head", "role")
    layers = ("step", "item", "layer")
    return made.assign(
        head_attribution=(dims, values),
        knockout_effect=(dims, values[::-1]),
        mlp_attribution=(layers, values[..., 0, 0]),
        lens_margin=(layers, values[..., 1, 0]),
        lookback_ratio=(dims[:4], values[..., 2], {"unit": "ratio"}),
        retrieval_score=(dims[:4], values[..., 3], {"unit": "share"}),
        external_context_score=(dims[:4], values[..., 4], {"unit": "cosine similarity"}),
        parametric_knowledge_score=(layers, values[..., 1, 5], {"unit": "nats"}),
    )


def patched() -> xr.Dataset:
    """As `attnshift patch` by layer and role."""
    rng = np.random.default_rng(1)
    return xr.Dataset(
        {
            "restoration": (("part", "layer", "role"), rng.uniform(-0.2, 1.1, (2, 3, 2))),
            "source_margin": ("item", np.full(5, 2.0)),
            "target_margin": ("item", np.full(5, -1.0)),
        },
        {"part": ["attn", "mlp"], "layer": [0, 1, 2], "role": ["context_answer", "all"]},
        {"kind": "patch", "manifest": MANIFEST},
    )


def grafted() -> xr.Dataset:
    """As `attnshift graft` by unit, part and layer, with a search."""
    rows = [("all", "", -1, ["0.q", "1.q", "embed"])]
    rows += [("unit", "q", 0, ["0.q"]), ("unit", "q", 1, ["1.q"]), ("unit", "embed", -1, ["embed"])]
    rows += [(kind, part, -1, ["x"]) for kind in ("part", "without_part") for part in ("q", "embed")]
    rows += [(kind, "", layer, ["x"]) for kind in ("layer", "first_layers", "last_layers") for layer in (0, 1)]
    rows += [("search", "", 1, ["1.q"]), ("search", "", 2, ["0.q", "1.q"]), ("found", "", -1, ["0.q"])]
    count, rng = len(rows), np.random.default_rng(2)
    shares = {
        f"restoration_{name}{bound}": ("graft", rng.uniform(0, 1, count) + shift)
        for name in ("margin", "counterfactual_accuracy")
        for bound, shift in (("_low", -1.0), ("", 0.0), ("_high", 1.0))
    }
    return xr.Dataset(
        {
            **shares,
            "loss_change": ("graft", rng.normal(size=count)),
            "source_margin": ("item", np.full(5, 2.0)),
            "target_margin": ("item", np.full(5, -1.0)),
        },
        {
            "graft": [f"g{i}" for i in range(count)],
            "kind": ("graft", np.array([row[0] for row in rows], object)),
            "part": ("graft", np.array([row[1] for row in rows], object)),
            "layer": ("graft", [row[2] for row in rows]),
            "units": ("graft", np.array([json.dumps(row[3]) for row in rows], object)),
        },
        {"kind": "graft", "manifest": MANIFEST},
    )
