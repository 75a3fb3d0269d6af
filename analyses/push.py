"""Does the push say where training goes next? Signs and ranks, over seeds of the organism.

`python -m analyses.push --seeds 0-7 --out organism/` builds and traces what isn't there yet, then prints a table. What
is predicted is the change of the mean margin, and of the mean context mass, from each checkpoint to the next. What
predicts it:

- *push*: the total push at the earlier checkpoint (each group's push times its share), times the sum of the learning
  rates up to the next one; plain, and preconditioned by the optimizer's second moments as Adam scales an update;
- *integrated*: the mean of the pushes at both ends instead, for which the later one has to be known: no forecast;
- *last change persists*: the change before it.

All are compared on the same intervals, from the second on. Intervals of confidence resample seeds.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import xarray as xr

import attnshift
from attnshift.cli import read_seeds
from attnshift.data.roles import CONTEXT_ROLES
from attnshift.models.quiet import quiet_libraries
from attnshift.organism.build import build_run
from attnshift.organism.recipe import find_arm
from attnshift.stats.readings import attention_by_roles, learning_rates, total_push

MEASURES = (
    "counterfactual_accuracy",
    "parametric_accuracy",
    "margin",
    "attention_mass",
    "loss",
    "gradient_norm",
    "attention_push",
    "margin_push",
    "attention_push_preconditioned",
    "margin_push_preconditioned",
    "example_attention_push",
    "example_margin_push",
    "example_gradient_norm",
)
RESAMPLES = 2000


def traced(out: Path, seed: int) -> xr.Dataset:
    """One seed's trace, made where it isn't there."""
    home = out / f"seed-{seed}"
    run = build_run(home / "run", find_arm("full"), seed, say=lambda line: print(f"seed {seed}: {line}", flush=True))
    return attnshift.trace(attnshift.open_series(run), out=home / "trace", measures=MEASURES)


def quantity(trace: xr.Dataset, name: str) -> np.ndarray:
    """What is pushed, at every step."""
    if name == "margin":
        return trace["margin"].mean("item").values
    return attention_by_roles(trace, {"context": CONTEXT_ROLES})["context"].mean(-1)


def predictions(trace: xr.Dataset, name: str) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The changes from the second interval on, and what each predictor says of them."""
    change = np.diff(quantity(trace, name))
    rates = learning_rates(find_arm("full").finetuning.rate, trace["step"].values.tolist())
    said = {"last change persists": change[:-1]}
    for kind in ("", "_preconditioned"):
        push = total_push(trace, f"{name}_push{kind}")
        label = "preconditioned push" if kind else "push"
        said[label] = (rates * push[:-1])[1:]
        said[f"{label}, integrated"] = (rates * (push[:-1] + push[1:]) / 2)[1:]
    return change[1:], said


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    """Rank correlation."""
    return float(np.corrcoef(a.argsort().argsort(), b.argsort().argsort())[0, 1])


def interval(values: np.ndarray, rng: np.random.Generator) -> str:
    """Mean over seeds with its 95 % bootstrap interval."""
    means = values[rng.integers(0, len(values), (RESAMPLES, len(values)))].mean(1)
    low, high = np.quantile(means, [0.025, 0.975])
    return f"{values.mean():.2f} ({low:.2f} to {high:.2f})"


def table(traces: dict[int, xr.Dataset]) -> list[str]:
    """Sign agreement and rank correlation of every predictor."""
    rng = np.random.default_rng(0)
    lines = ["| predicts | by | signs right | rank correlation | predicted / measured |", "|---|---|---|---|---|"]
    for name in ("margin", "attention"):
        pairs = [predictions(trace, name) for trace in traces.values()]
        for label in pairs[0][1]:
            signs = np.array([(np.sign(change) == np.sign(said[label])).mean() for change, said in pairs])
            ranks = np.array([spearman(change, said[label]) for change, said in pairs])
            sizes = np.array([np.abs(said[label]).sum() / np.abs(change).sum() for change, said in pairs])
            cells = (f"change of the mean {name}", label, interval(signs, rng), interval(ranks, rng))
            lines.append("| " + " | ".join(cells) + f" | {np.median(sizes):.3g} |")
    return lines


def negative(trace: xr.Dataset) -> str:
    """How often the total push on the margin is negative, before the peak of accuracy and from it on."""
    accuracy = trace["counterfactual_accuracy"].mean("item").values
    push, peak = total_push(trace, "margin_push"), int(accuracy.argmax())
    before, after = (push[1:peak] < 0).mean(), (push[peak:-1] < 0).mean()
    return (
        f"peak at step {int(trace.step[peak])}; total push negative at {before:.0%} before it, {after:.0%} from it on"
    )


def by_stratum(traces: dict[int, xr.Dataset]) -> list[str]:
    """Mean push on the margin, weighted by share, that each stratum brings before the peak and from the peak on."""
    lines = ["| stratum | before the peak | from the peak on |", "|---|---|---|"]
    rows: dict[str, list[list[float]]] = {}
    for trace in traces.values():
        peak = int(trace["counterfactual_accuracy"].mean("item").values.argmax())
        train = (trace["split"] == "train").values
        for group in trace["group"].values.tolist():
            members = train & (trace["group_of_example"] == group).values
            for stratum in sorted(set(trace["stratum"].values[members].tolist())):
                chosen = members & (trace["stratum"] == stratum).values
                push = trace["example_margin_push"].values[:, chosen].sum(1) / members.sum()
                push = push * float(trace["group_share"].sel(group=group))
                rows.setdefault(stratum, []).append([push[1:peak].mean(), push[peak:-1].mean()])
    for stratum, values in rows.items():
        before, after = np.array(values).T
        told = [f"{v.mean():+.2f} ({v.min():+.2f} to {v.max():+.2f})" for v in (before, after)]
        lines.append(f"| {stratum} | {told[0]} | {told[1]} |")
    return lines


def main() -> None:
    """Build, trace, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("organism"))
    parser.add_argument("--seeds", default="0-7")
    options = parser.parse_args()
    quiet_libraries()
    traces = {seed: traced(options.out, seed) for seed in read_seeds(options.seeds)}
    print("\n".join(table(traces)) + "\n")
    for seed, trace in traces.items():
        print(f"seed {seed}: {negative(trace)}")
    print("\n" + "\n".join(by_stratum(traces)))


if __name__ == "__main__":
    main()
