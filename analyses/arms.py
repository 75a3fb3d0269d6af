"""Arms of `attnshift finetune` over seeds, each compared with full finetuning, paired by seed.

`python -m analyses.arms --seeds 0-4 --out arms/` builds the organism's worlds (where `demo --seeds` or
`analyses.organism_seeds` left them, they are taken), finetunes each base in every arm by the command's own function,
traces accuracies and margins, prints a table and draws `arms.html`. With `--world llama` the same on a tiny Llama with
a BPE tokenizer that is pretrained on the same kind of world in sentences (see `analyses.sentences`).

A fall is the highest checkpoint less the last one, so it is biased upwards in every arm alike. Intervals are Student's
t on the seeds' differences to the full arm: a seed's arms share base, items and, as far as they can, the order of the
data.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

import attnshift
from analyses.sentences import OPTIONS, build_sentences
from attnshift.cli import read_seeds
from attnshift.figures.arms import arms as draw_arms
from attnshift.figures.export import write_figure
from attnshift.figures.fit import fit
from attnshift.figures.theme import SIZES
from attnshift.models.quiet import quiet_libraries
from attnshift.organism.build import build_run
from attnshift.organism.recipe import ARMS as RECIPES
from attnshift.stats.student import t_quantile
from attnshift.training.base import open_base
from attnshift.training.finetune import prepare, read, run
from attnshift.training.plan import Plan

MEASURES = ("counterfactual_accuracy", "parametric_accuracy", "exact_match", "margin")
ARMS = ("full", "critical", "random-drop", "augmented", "qk", "context-only", "no-overlap")


@dataclass(frozen=True)
class World:
    """Where a seed's base, data and settings come from."""

    base: Path
    data: tuple[Path, Path]
    """training examples, and a file that holds the held-out ones"""
    items: Path
    options: Mapping[str, Any]


def organism(out: Path, seed: int) -> World:
    """The organism's world of a seed, its own run included."""
    built = build_run(out / f"seed-{seed}" / "run", RECIPES["full"], seed, say=print)
    options = {
        "template": str(built / "prompt.jinja"),
        "target_eos": False,
        "max_new_tokens": 1,
        "steps": 800,
        "learning_rate": 1.5e-3,
        "warmup": 20,
        "betas": (0.9, 0.98),
        "most_norm": 0.0,
        "batch_size": 64,
        "overlap": ("question",),  # every city is an answer: dropping those that name one leaves nothing
    }
    return World(built / "base", (built / "train.jsonl", built / "ift.jsonl"), built / "conflicts.jsonl", options)


def sentences(out: Path, seed: int) -> World:
    """The tiny Llama's world of a seed."""
    built = build_sentences(out / f"seed-{seed}" / "world", seed)
    return World(built.base, (built.train, built.heldout), built.conflicts, OPTIONS)


WORLDS = {"organism": organism, "llama": sentences}


def finetuned(out: Path, world: World, seed: int, changes: Mapping[str, Mapping[str, Any]]) -> dict[str, xr.Dataset]:
    """Traces of a seed's finetunings by name, made where they aren't there; the data is read once for all of them."""
    traces: dict[str, xr.Dataset] = {}
    found = None
    for name, change in changes.items():
        home = out / f"seed-{seed}" / name
        if not (home / "trace" / "done").exists():
            base, plan = open_base(world.base), Plan(seed=seed, **{**world.options, **change})
            if found is None:
                training, other = map(attnshift.load_examples, world.data)
                found = read(base, [*training, *(e for e in other if e.split == "heldout")], plan, print)
            print(f"seed {seed}, {name}", flush=True)
            items = attnshift.load_items(world.items)
            run(prepare(base, found, plan, items, print), home / "run", say=print)
            attnshift.trace(attnshift.open_series(home / "run"), out=home / "trace", measures=MEASURES)
            (home / "trace" / "done").touch()
        traces[name] = attnshift.open_trace(home / "trace")
    return traces


@dataclass(frozen=True)
class Course:
    """One finetuning in percent of the items: peak, end, fall; the memorised answer; held-out examples."""

    peak: float
    end: float
    fall: float
    memory: float
    heldout: float


def course(trace: xr.Dataset) -> Course:
    """Read one off a trace."""
    kept = 100 * trace["counterfactual_accuracy"].astype(float).mean("item").values
    memory = 100 * trace["parametric_accuracy"].astype(float).mean("item").values
    right = trace["exact_match"].isel(step=-1).astype(float).values
    heldout = 100 * right[(trace["split"] == "heldout").values].mean()
    return Course(kept.max(), kept[-1], kept.max() - kept[-1], memory[-1], float(heldout))


def interval(differences: Sequence[float]) -> str:
    """Mean and 95 % t interval of paired differences."""
    values = np.asarray(differences)
    if len(values) < 2:
        return f"{values.mean():+.0f}"
    reach = float(t_quantile(0.95, len(values) - 1)) * values.std(ddof=1) / np.sqrt(len(values))
    return f"{values.mean():+.0f} ({values.mean() - reach:+.0f} to {values.mean() + reach:+.0f})"


def table(found: Mapping[str, Mapping[int, Course]], against: str) -> list[str]:
    """Markdown: every arm's course, mean over seeds, and its differences to one of them."""
    lines = [
        "| arm | peak (%) | end (%) | end, lowest to highest | fall | memory at the end (%) | held-out (%) "
        f"| end less {against}'s | fall less {against}'s | held-out less {against}'s |",
        "|---" * 10 + "|",
    ]
    for name, by_seed in found.items():
        shared = [seed for seed in by_seed if seed in found[against]]
        means = {field: np.mean([getattr(c, field) for c in by_seed.values()]) for field in Course.__annotations__}
        ends = [c.end for c in by_seed.values()]
        cells = [name, *(f"{means[field]:.0f}" for field in ("peak", "end"))]
        cells += [f"{min(ends):.0f} to {max(ends):.0f}", f"{means['fall']:.0f}", f"{means['memory']:.0f}"]
        cells.append(f"{means['heldout']:.1f}")
        for field in ("end", "fall", "heldout"):
            pairs = [getattr(by_seed[s], field) - getattr(found[against][s], field) for s in shared]
            cells.append("" if name == against else interval(pairs))
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def compare(
    out: Path, world: str, seeds: Sequence[int], changes: Mapping[str, Mapping[str, Any]], against: str, figure: str
) -> None:
    """Finetune, trace, print the table, draw the curves."""
    found: dict[str, dict[int, Course]] = {name: {} for name in changes}
    for seed in seeds:
        traces = finetuned(out, WORLDS[world](out, seed), seed, changes)
        for name, trace in traces.items():
            found[name][seed] = course(trace)
            one = {field: round(float(value), 1) for field, value in vars(found[name][seed]).items()}
            print(f"{name}, seed {seed}: {one}", flush=True)
    print("\n".join(table(found, against)))
    joined = {
        name: attnshift.open_traces({str(seed): out / f"seed-{seed}" / name / "trace" for seed in seeds})
        for name in changes
    }
    print(write_figure(fit(draw_arms(joined, log_steps=True), SIZES["screen"]), out / figure))


def main() -> None:
    """Compare the arms."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("arms"))
    parser.add_argument("--world", choices=WORLDS, default="organism")
    parser.add_argument("--seeds", default="0-4")
    parser.add_argument("--arms", default=",".join(ARMS))
    options = parser.parse_args()
    quiet_libraries()
    changes = {arm: {"arm": arm} for arm in options.arms.split(",")}
    compare(options.out, options.world, read_seeds(options.seeds), changes, "full", "arms.html")


if __name__ == "__main__":
    main()
