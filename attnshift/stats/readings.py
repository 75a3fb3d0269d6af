"""Numbers per step that the verdict and the figures both read off a trace."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

import numpy as np
import xarray as xr
from jaxtyping import Float


def attention_by_roles(
    trace: xr.Dataset, roles: Mapping[str, Sequence[str]]
) -> dict[str, Float[np.ndarray, "step item"]]:
    """Attention mass (probability) summed over each set of roles, mean over layers and heads.

    Reads one step at a time: all steps together may not fit into memory.
    """
    found: dict[str, list[np.ndarray]] = {name: [] for name in roles}
    for index in range(trace.sizes["step"]):
        mass = trace["attention_mass"].isel(step=index).astype(np.float64).mean(("layer", "head"), skipna=False)
        mass = mass.transpose("item", "role").load()
        for name, chosen in roles.items():
            found[name].append(mass.sel(role=list(chosen)).values.sum(-1))
    return {name: np.stack(steps) for name, steps in found.items()}


def group_losses(trace: xr.Dataset) -> dict[str, Float[np.ndarray, "step"]]:
    """Mean loss of the training examples by group, in nats per answer token; groups without any are left out."""
    values = trace["loss"].transpose("step", "example").values.astype(np.float64)
    train = (trace["split"] == "train").values
    members = {str(g): train & (trace["group_of_example"] == g).values for g in trace["group"].values}
    return {group: values[:, chosen].mean(-1) for group, chosen in members.items() if chosen.any()}


def loss_parts(
    trace: xr.Dataset, means: Mapping[str, Float[np.ndarray, "step"]]
) -> dict[str, Float[np.ndarray, "step"]]:
    """Each group's part of the loss in percent of all that are given: its share times its mean loss."""
    weighted = {group: float(trace["group_share"].sel(group=group)) * mean for group, mean in means.items()}
    whole = sum(weighted.values())
    return {group: 100 * part / whole for group, part in weighted.items()}


def total_push(trace: xr.Dataset, name: str) -> Float[np.ndarray, "step"]:
    """Push of a step of training on all groups together: each group's push times its share of the training examples."""
    return np.asarray((trace[name] * trace["group_share"]).sum("group", skipna=False).values)


def learning_rates(rate: Callable[[int], float], steps: Sequence[int]) -> Float[np.ndarray, "interval"]:
    """Sum of the learning rates of the updates between each checkpoint and the next."""
    return np.array([sum(rate(step) for step in range(a + 1, b + 1)) for a, b in pairwise(steps)])


def margin_label_agreement(trace: xr.Dataset, margin: str = "margin") -> Float[np.ndarray, "step"]:
    """Share of the items labelled context or parametric whose margin (above 0, below 0) says the same; 0..1.

    Items labelled both or neither say nothing here; NaN where no item is left. What is generated and what is likelier
    of two given answers are different questions: where they part, a result rests on one of them.
    """
    labels = trace["answer_label"].transpose("step", "item").values
    values = trace[margin].transpose("step", "item").values
    one = np.isin(labels, ("context", "parametric")) & np.isfinite(values)
    same = np.where(labels == "context", values > 0, values < 0) & one
    with np.errstate(invalid="ignore"):
        return same.sum(-1) / one.sum(-1)
