"""The organism's data arms against each other: what brings the fall, and what prevents it.

`python -m analyses.organism_arms --seeds 0-2 --out organism/` builds every arm on the same worlds (the arms that
start from the full arm's pretrained model take it over), traces accuracies and attention, prints a table and writes
`arms.html`: mean counterfactual and parametric accuracy over steps, one curve per arm.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import xarray as xr

import attnshift
from attnshift.cli import read_seeds
from attnshift.figures.arms import arms
from attnshift.figures.export import write_figure
from attnshift.figures.fit import fit
from attnshift.figures.theme import SIZES
from attnshift.models.quiet import quiet_libraries
from attnshift.organism.build import build_run
from attnshift.organism.recipe import ARMS
from attnshift.organism.words import VERBS
from attnshift.stats.verdict import verdict

MEASURES = ("counterfactual_accuracy", "parametric_accuracy", "attention_mass", "exact_match")


def home(out: Path, arm: str, seed: int) -> Path:
    """Where an arm's run and trace are; the full arm's are where `organism_seeds` puts them."""
    return out / f"seed-{seed}" / ("" if arm == "full" else arm)


def traced(out: Path, arm: str, seed: int) -> xr.Dataset:
    """The trace of one arm and seed, made where it isn't there."""
    recipe, place = ARMS[arm], home(out, arm, seed)
    full = home(out, "full", seed) / "run"
    base = full if arm != "full" and recipe.base == ARMS["full"].base else None
    run = build_run(
        place / "run", recipe, seed, base, say=lambda line: print(f"{arm}, seed {seed}: {line}", flush=True)
    )
    return attnshift.trace(attnshift.open_series(run), out=place / "trace", measures=MEASURES)


def rows(arm: str, traces: dict[int, xr.Dataset]) -> list[str]:
    """An arm as lines of a Markdown table, one per seed."""
    lines = []
    for seed, trace in traces.items():
        found = verdict(trace)
        cf, par = found.counterfactual, found.parametric
        held = f"{found.heldout.peak:.1f} → {found.heldout.end:.1f}" if found.heldout else ""
        mass = f"{found.highest_mass[1]:.2f} → {found.context_mass.end:.2f}" if found.context_mass else ""  # type: ignore[index]
        lines.append(
            f"| {arm} | {seed} | {cf.peak:.0f} ({found.steps[1]}) → {cf.end:.0f} | {found.fall:.0f} "
            f"| {par.peak:.0f} → {par.end:.0f} | {mass} | {held} |"
        )
    return lines


def by_relation(trace: xr.Dataset) -> str:
    """Counterfactual accuracy by the relation asked, at the last step."""
    last = trace["counterfactual_accuracy"].isel(step=-1)
    shares = {verb: float(last.values[(trace["item_stratum"] == verb).values].mean()) for verb in VERBS}
    return ", ".join(f"{verb} {100 * share:.0f} %" for verb, share in shares.items())


def main() -> None:
    """Build, trace, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("organism"))
    parser.add_argument("--seeds", default="0-2")
    parser.add_argument("--arms", default=",".join(ARMS))
    options = parser.parse_args()
    quiet_libraries()
    seeds = read_seeds(options.seeds)
    everything: dict[str, dict[int, xr.Dataset]] = {}
    for arm in options.arms.split(","):
        everything[arm] = {seed: traced(options.out, arm, seed) for seed in seeds}
        print("\n".join(rows(arm, everything[arm])), flush=True)
    for arm in ("full", "augmented"):
        for seed, trace in everything.get(arm, {}).items():
            print(f"{arm}, seed {seed}, counterfactual accuracy at the end by relation: {by_relation(trace)}")
    joined = {
        arm: attnshift.open_traces({str(seed): home(options.out, arm, seed) / "trace" for seed in seeds})
        for arm in everything
    }
    print(write_figure(fit(arms(joined, log_steps=True), SIZES["screen"]), options.out / "arms.html"))


if __name__ == "__main__":
    main()
