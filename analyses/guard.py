"""Can re-weighting the groups' losses while training keep the reliance that finetuning builds and then loses?

`python -m analyses.guard --seeds 0-4 --out arms/` finetunes every seed's organism in full, by the paper's three
mitigations (critical examples alone, counterfactual augmentation by 1, 2 and 10 %, QK only) and with two guards, all by
the function behind `attnshift finetune` (what `analyses.arms` and `analyses.augmentation_dose` left in the same place
is taken), traces them on the same conflict items and prints each arm's mean and its paired difference to full
finetuning, with a 95 % interval over seeds (Student's t).

A guard (`attnshift.training.guard`) looks at a small conflict probe every 10 steps, whose subjects occur neither in
finetuning nor among the items that arms are compared on, and sets the weights of the critical and the non-critical
examples' losses until it looks again; weights have a mean of 1 over the training examples.

- *guard-fall*: reliance is the probe's mean probability of the context's answer among the two. The non-critical
  examples' weight falls linearly to 0 while reliance falls by 0.1 below its highest so far, and comes back with it.
- *guard-push*: a group whose push on the probe's mean margin is negative has the weight 0.
- *constant*: the mean weight that guard-fall gave the non-critical examples of the same seed, at every step: what is
  left of the guard without its timing.

The tolerance of 0.1 and the 10 steps were set before any of the compared seeds was trained, and not touched again.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr

import attnshift
from analyses.arms import interval, organism
from analyses.augmentation_dose import change
from attnshift.cli import read_seeds
from attnshift.data.items import Item
from attnshift.models.quiet import quiet_libraries
from attnshift.training.base import open_base
from attnshift.training.finetune import Read, prepare, read
from attnshift.training.finetune import run as train
from attnshift.training.guard import Fall, Guard, Push, Rule, Seen
from attnshift.training.plan import Plan

DECISIONS = "decisions.json"
LOWEST_PEAK = 10.0
"""percent: below it a share of the peak says nothing"""
PROBE_SUBJECTS = 10
"""of the fifty that conflict items are about"""

MEASURES = ("counterfactual_accuracy", "parametric_accuracy", "exact_match", "logprob_parametric_closed_book")


@dataclass(frozen=True)
class Constant(Rule):
    """The same weight for non-critical examples at every step."""

    constant: float

    def weight(self, group: str, seen: Seen) -> float:
        """The constant, or 1."""
        return self.constant if group == "non_critical" else 1.0


def split_items(items: Sequence[Item]) -> tuple[list[Item], list[Item]]:
    """The probe's items, and those that arms are compared on: of different subjects."""
    subjects = sorted({item.cluster for item in items})
    probed = set(np.random.default_rng(0).permutation(subjects)[:PROBE_SUBJECTS].tolist())
    return [i for i in items if i.cluster in probed], [i for i in items if i.cluster not in probed]


GUARDS: Mapping[str, Rule] = {"guard-fall": Fall(), "guard-push": Push()}
DOSED = dict(change(dose) for dose in (1, 2))
COMPARED = ("full", "critical", "augmented", *DOSED, "qk", *GUARDS, "constant")


def rule_of(arm: str, home: Path) -> Rule | None:
    """An arm's rule; None for the arms of `finetune`. The constant is the mean of what `Fall` decided on the seed."""
    if arm != "constant":
        return GUARDS.get(arm)
    decided = json.loads((home / "guard-fall" / DECISIONS).read_text(encoding="utf-8"))
    return Constant(float(np.mean([weights["non_critical"] for _, weights in decided])))


def finetuned(out: Path, seed: int, arms: Sequence[str]) -> dict[str, xr.Dataset]:
    """The traces of a seed's arms on the compared items, made where they aren't there."""
    home, world = out / f"seed-{seed}", organism(out, seed)
    items = attnshift.load_items(world.items)
    probe, compared = split_items(items)
    heldout = [e for e in attnshift.load_examples(world.data[1]) if e.split == "heldout"]
    examples: Read | None = None
    traces = {}
    for arm in arms:
        run = home / arm / "run"
        if not (run / f"checkpoint-{world.options['steps']}").exists():
            rule = rule_of(arm, home)
            guards = [] if rule is None else [Guard(probe, rule)]
            changes = DOSED.get(arm, {"arm": "full" if guards else arm})
            base, plan = open_base(world.base), Plan(seed=seed, **{**world.options, **changes})
            examples = examples or read(base, [*attnshift.load_examples(world.data[0]), *heldout], plan, print)
            train(prepare(base, examples, plan, items, print), run, guards, say=print)
            for guard in guards:
                decided = [(step, weights) for step, _, weights in guard.decisions]
                (home / arm / DECISIONS).write_text(json.dumps(decided), encoding="utf-8")
        series, place = attnshift.open_series(run), home / "compared" / arm
        traces[arm] = attnshift.trace(series, items=compared, examples=heldout, out=place, measures=MEASURES)
    return traces


@dataclass(frozen=True)
class Outcome:
    """What an arm comes to, in percent."""

    reliance: float
    """counterfactual accuracy at the end"""
    kept: float
    """the same as a share of its own highest checkpoint; NaN where that is below LOWEST_PEAK"""
    heldout: float
    """held-out examples answered exactly at the end"""
    recall: float
    """mean probability of the memorised answer without a context, at the end"""


def outcome(trace: xr.Dataset) -> Outcome:
    """Read one trace."""
    reliance = 100 * trace["counterfactual_accuracy"].mean("item").values
    return Outcome(
        float(reliance[-1]),
        float(100 * reliance[-1] / reliance.max()) if reliance.max() >= LOWEST_PEAK else float("nan"),
        float(100 * trace["exact_match"].isel(step=-1).mean()),
        float(100 * np.exp(trace["logprob_parametric_closed_book"].isel(step=-1)).mean()),
    )


def table(found: Mapping[str, Sequence[Outcome]]) -> list[str]:
    """Means, and differences to full finetuning on the same seed, as lines of a Markdown table."""
    names = tuple(Outcome.__annotations__)
    lines = ["| arm | " + " | ".join(f"{n} | less full's" for n in names) + " |", "|---" * 9 + "|"]
    for arm, outcomes in found.items():
        cells = []
        for name in names:
            mine = np.array([getattr(o, name) for o in outcomes])
            theirs = np.array([getattr(o, name) for o in found.get("full", ())])
            cells.append(f"{mine.mean():.0f}" if np.isfinite(mine).all() else "–")
            known = arm != "full" and len(theirs) == len(mine) and np.isfinite(mine - theirs).all()
            cells.append(interval(mine - theirs) if known else "")
        lines.append(f"| {arm} | " + " | ".join(cells) + " |")
    return lines


def main() -> None:
    """Train, trace, compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("arms"))
    parser.add_argument("--seeds", default="0-4")
    parser.add_argument("--arms", default=",".join(COMPARED))
    options = parser.parse_args()
    quiet_libraries()
    arms = options.arms.split(",")
    found: dict[str, list[Outcome]] = {arm: [] for arm in arms}
    for seed in read_seeds(options.seeds):
        for arm, trace in finetuned(options.out, seed, arms).items():
            found[arm].append(outcome(trace))
            print(f"{arm}, seed {seed}: {found[arm][-1]}", flush=True)
    print("\n".join(table(found)))


if __name__ == "__main__":
    main()
