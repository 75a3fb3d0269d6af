"""Small made-up traces in the shape of real ones."""

from __future__ import annotations

import numpy as np
import xarray as xr

ROLES = ("bos", "template", "context", "context_answer", "parametric_answer", "question", "answer", "sink")


def made_trace(steps=(0, 10, 50, 100, 200, 400, 800, 1400), items=20, clusters=None, seed=0):
    """Rises, then falls: accuracies, attention, margins and gradient norms."""
    rng = np.random.default_rng(seed)
    time = np.linspace(0, 1, len(steps)) if len(steps) > 1 else np.zeros(1)
    lean = 0.3 + 1.6 * time * np.exp(-2.2 * time)
    luck = rng.random((len(steps), items))
    margin = 8 * (lean - 0.55)[:, None] + rng.normal(0, 2.5, (len(steps), items))
    weights = rng.gamma(4, 1, (len(steps), items, 2, 2, len(ROLES)))
    weights[..., 2] *= (1 + 5 * lean)[:, None, None, None]
    weights[..., ROLES.index("sink")] = 0
    group = np.repeat(["critical", "non_critical", "no_context"], (6, 9, 3))
    easy = np.select([group == "critical", group == "non_critical"], [5.0, 2.0], 1.0)
    loss = np.exp(-easy * time[:, None]) * easy * rng.uniform(0.5, 1.5, len(group))
    norms = np.stack([0.9 * np.exp(-3 * time) + 0.03, 0.25 * np.exp(-1.2 * time) + 0.02, 0.5 - 0.2 * time], -1)
    return xr.Dataset(
        {
            "counterfactual_accuracy": (("step", "item"), (luck < lean[:, None]).astype(float)),
            "parametric_accuracy": (("step", "item"), (luck > 0.25 + lean[:, None]).astype(float)),
            "attention_mass": (
                ("step", "item", "layer", "head", "role"),
                (weights / weights.sum(-1, keepdims=True)).astype(np.float32),
            ),
            "margin": (("step", "item"), margin),
            "gradient_norm": (("step", "group"), norms),
            "margin_push": (("step", "group"), np.stack([4 - 3 * time, 1 - 6 * time, 0 * time], -1)),
            "loss": (("step", "example"), loss),
            "exact_match": (("step", "example"), (loss < 1).astype(float)),
            "group_share": (("group",), np.array([0.4, 0.5, 0.1])),
        },
        {
            "step": list(steps),
            "item": [f"i{i}" for i in range(items)],
            "item_cluster": ("item", [f"q{i % (clusters or items)}" for i in range(items)]),
            "role": list(ROLES),
            "group": ["critical", "non_critical", "no_context"],
            "group_of_example": ("example", group),
            "split": ("example", np.where(np.arange(len(group)) % 3, "train", "heldout")),
        },
    )


def with_everything(made, gap=False, seed=1):
    """The same with all that figures read beside it; with a gap the last step but one lacks benchmarks and a cosine."""
    rng = np.random.default_rng(seed)
    steps, items, examples = (made.sizes[dim] for dim in ("step", "item", "example"))
    parts = ("embed", "0.q", "0.mlp", "1.q", "1.mlp", "unembed")
    lacking = (np.arange(steps) == steps - 2) & gap
    tasks = np.linspace((0.2, 0.3), (0.5, 0.45), steps)
    more = {
        "context_mass_excess": (("step", "item", "layer", "head"), rng.normal(0, 0.1, (steps, items, 2, 2))),
        "gradient_cosine": (("step",), np.where(lacking, np.nan, rng.uniform(-1, 1, steps))),
        "attention_push": (("step", "group"), rng.normal(0, 1, (steps, 3))),
        "gradient_norm_by_part": (("step", "group", "part"), rng.gamma(2, 1, (steps, 3, len(parts)))),
        "loss_closed_book": (("step", "example"), rng.gamma(3, 1, (steps, examples))),
        "benchmark": (("step", "task"), np.where(lacking[:, None], np.nan, tasks)),
    }
    return made.assign(more).assign_coords(part=list(parts), task=["arc", "squad"])


def saved_trace(trace, directory):
    """Write a made-up trace as `attnshift trace` would, so that it can be opened again."""
    from attnshift.tracing.netcdf import write_netcdf
    from attnshift.tracing.store import Store

    store = Store(directory)
    store.prepare()
    per_step = [name for name in trace.variables if "step" in trace[name].dims]
    store.write_inputs(trace.drop_vars(per_step))
    about = {"epoch": 0.0, "checkpoint": "made", "dtype": "float32", "recipe": "{}", "keys": "{}"}
    for index, step in enumerate(trace.step.values.tolist()):
        cell = trace[[name for name in per_step if name != "step"]].isel(step=index, drop=True)
        write_netcdf(cell.assign_attrs(about | {"checkpoint_digest": f"{step:032d}"}), store.file(step))
    return directory
