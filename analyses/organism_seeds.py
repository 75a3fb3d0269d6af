"""The organism over seeds: rise, fall and what goes with them, seed by seed. The numbers in the README come from here.

`python -m analyses.organism_seeds --seeds 0-9 --out organism/` builds and traces what isn't there yet, then prints a
table: counterfactual accuracy at start, peak and end, the fall, how much of it the memorised answer gains, context
mass, held-out accuracy, the critical examples' part of the loss and the ratio of gradient norms.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from attnshift.cli import read_seeds
from attnshift.demonstration import demo_seeds
from attnshift.models.quiet import quiet_libraries
from attnshift.stats.verdict import Verdict

COLUMNS = (
    "seed",
    "counterfactual accuracy (%): start → peak (step) → end",
    "fall",
    "to memory",
    "context mass: start → highest (step) → end",
    "held-out (%): peak → end",
    "critical part of the loss (%): start, peak, end",
    "gradient-norm ratio: start, peak, end",
)


def row(name: str, found: Verdict) -> str:
    """One seed as a row of a Markdown table."""
    cf, mass, held = found.counterfactual, found.context_mass, found.heldout
    part, ratio = found.loss_share, found.gradient_ratio
    if mass is None or found.highest_mass is None or held is None or part is None or ratio is None:
        raise SystemExit(f"seed {name}: its trace lacks measures; delete it and run again")
    cells = (
        name,
        f"{cf.start:.0f} → {cf.peak:.0f} ({found.steps[1]}) → {cf.end:.0f}",
        f"{found.fall:.0f}",
        f"{found.to_memory:.0f} %",
        f"{mass.start:.2f} → {found.highest_mass[1]:.2f} ({found.highest_mass[0]}) → {mass.end:.2f}",
        f"{held.peak:.1f} → {held.end:.1f}",
        f"{part.start:.0f}, {part.peak:.0f}, {part.end:.0f}",
        f"{ratio.start:.2g}, {ratio.peak:.2g}, {ratio.end:.2g}",
    )
    return "| " + " | ".join(cells) + " |"


def summary(found: list[Verdict]) -> list[str]:
    """Means and ranges over seeds, as lines."""
    falls = np.array([one.fall for one in found])
    memory = np.array([one.to_memory for one in found])
    held = np.array([one.heldout.end - one.heldout.peak for one in found if one.heldout])
    peaks, ends = (np.array([getattr(one.counterfactual, at) for one in found]) for at in ("peak", "end"))
    masses = [(one.context_mass, one.highest_mass) for one in found if one.context_mass and one.highest_mass]
    rise = np.array([highest[1] - mass.start for mass, highest in masses])
    drop = np.array([highest[1] - mass.end for mass, highest in masses])

    def told(name: str, values: np.ndarray, form: str) -> str:
        return f"{name}: mean {values.mean():{form}}, range {values.min():{form}} to {values.max():{form}}"

    return [
        told("peak (%)", peaks, ".0f"),
        told("end (%)", ends, ".0f"),
        told("fall (points)", falls, ".0f"),
        f"falls of at least 30 points: {(falls >= 30).sum()} of {len(falls)}; at least 15: {(falls >= 15).sum()}",
        told("part of the fall that memory gains (%)", memory, ".0f"),
        told("rise of context mass to its highest", rise, ".3f"),
        told("its fall from there", drop, ".3f"),
        told("held-out accuracy, end less peak (points)", held, "+.1f"),
    ]


def main() -> None:
    """Build, trace, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("organism"))
    parser.add_argument("--seeds", default="0-9")
    parser.add_argument("--arm", default="full")
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    quiet_libraries()
    shown = demo_seeds(options.out, read_seeds(options.seeds), options.arm, options.workers, say=print)
    print("| " + " | ".join(COLUMNS) + " |\n" + "|---" * len(COLUMNS) + "|")
    for seed, one in shown.items():
        print(row(str(seed), one.verdict))
    print()
    print("\n".join(summary([one.verdict for one in shown.values()])))


if __name__ == "__main__":
    main()
