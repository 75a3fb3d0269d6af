"""Which parts of the model restore the peak in the end? Patches, grafts and knock-outs over seeds of the organism.

`python -m analyses.parts_organism --seeds 0-9 --out organism/ --results parts/` takes the runs and traces that
`attnshift demo --seeds 0-9 --out organism/` leaves (`seed-N/run`, `seed-N/trace`), computes what isn't in `parts/` yet
and prints the tables. Source is the checkpoint of highest counterfactual accuracy, target the last one. Intervals are
95 % bootstrap intervals of the mean over seeds; the range over seeds stands behind them.

- *patch*: activations of the peak at the answer row, layer by layer;
- *graft*: weights of the peak: parts alone, all but a part, sets of parts, layers, and the smallest set found;
- *knock-out*: what heads lose of context mass from the peak to the end, and of the effect of seeing the context.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import xarray as xr

import attnshift
from attnshift.cli import read_seeds
from attnshift.interventions.stored import open_result
from attnshift.models.quiet import quiet_libraries
from attnshift.stats.heads import by_head, mass_against_effect, rank_correlation, top_overlap
from attnshift.stats.intervals import cluster_mean_interval

SETS = {
    "q,k": "QK",
    "v,o": "VO",
    "q,k,v,o": "attention: QKVO",
    "q,k,embed": "QK and embeddings",
    "mlp": "MLPs",
    "v,o,mlp": "VO and MLPs",
    "embed,unembed,norm,final_norm": "embeddings, unembedding, norms",
    "embed,v,o,mlp,norm,final_norm,unembed": "everything but QK",
    "embed,q,k,v,o,norm,final_norm,unembed": "everything but the MLPs",
}
"""Sets of parts and what they are called."""

HEADS = ("counterfactual_accuracy", "attention_mass", "knockout_effect")
ITEMS = 100
"""Conflict items that heads are knocked out on, at every checkpoint."""


class Seed:
    """One run of the organism, and the results that belong to it."""

    def __init__(self, seed: int, out: Path, results: Path) -> None:
        self.seed, self.home, self.results = seed, out / f"seed-{seed}", results / f"seed-{seed}"
        self.ends = {"run": self.home / "run", "trace": self.home / "trace"}

    def patch(self) -> xr.Dataset:
        """Activations of the peak in the end."""
        place = self.results / "patch.nc"
        if not place.is_file():
            attnshift.patch("peak", "end", **self.ends, by=("layer", "role", "head"), out=place)
        return open_result(place)

    def graft(self) -> xr.Dataset:
        """Weights of the peak in the end, with a search."""
        place = self.results / "graft.nc"
        if not place.is_file():
            attnshift.graft("peak", "end", **self.ends, search=True, out=place)
        return open_result(place)

    def sets(self) -> xr.Dataset:
        """Sets of parts."""
        place = self.results / "sets.nc"
        if not place.is_file():
            attnshift.graft("peak", "end", **self.ends, by=(), sets=tuple(SETS), out=place)
        return open_result(place)

    def heads(self) -> xr.Dataset:
        """Attention and knock-out at every checkpoint."""
        series = attnshift.open_series(self.home / "run")
        return attnshift.trace(series, out=self.results / "heads", measures=HEADS, limit=ITEMS)


def over_seeds(values: Iterable[float], percent: bool = True) -> str:
    """Mean, interval and range."""
    array = np.array(list(values), np.float64) * (100 if percent else 1)
    found = cluster_mean_interval(array, np.arange(len(array)))
    digits = 0 if percent else 3
    mean, low, high = (f"{float(each):.{digits}f}" for each in (found.estimate, found.low, found.high))
    return f"{mean} ({low} to {high}) | {np.nanmin(array):.{digits}f} to {np.nanmax(array):.{digits}f}"


def patch_table(seeds: Sequence[Seed]) -> list[str]:
    """What activations restore at the answer row, at the answer inside the context, and everywhere."""
    results = [seed.patch() for seed in seeds]
    lines = ["| activation of the peak | tokens | margin restored, % | range | answers restored, % | range |"]
    lines.append("|---|---|---|---|---|---|")
    for part in results[0]["part"].values:
        for layer in results[0]["layer"].values:
            for role in ("last_row", "context_answer", "all"):
                cells = [one.sel(part=part, layer=layer, role=role) for one in results]
                told = (
                    over_seeds(float(cell[name]) for cell in cells) for name in ("restoration", "answer_restoration")
                )
                lines.append(f"| {part}, layer {layer} | {role.replace('_', ' ')} | {' | '.join(told)} |")
    for layer, head in np.ndindex(results[0].sizes["layer"], results[0].sizes["head"]):
        cells = [one.isel(layer=layer, head=head).sel(role="last_row") for one in results]
        told = over_seeds(float(cell["restoration_by_head"]) for cell in cells)
        lines.append(f"| z, layer {layer}, head {head} | last row | {told} | | |")
    read = over_seeds(
        float(
            (one["source_readout_margin"] - one["target_margin"]).mean()
            / (one["source_margin"] - one["target_margin"]).mean()
        )
        for one in results
    )
    return [*lines, f"| the peak's final norm and unembedding | | {read} | | |"]


def graft_table(seeds: Sequence[Seed]) -> list[str]:
    """What weights restore, and what that costs on held-out examples."""
    columns = ("margin restored, %", "range", "answers restored, %", "range", "held-out loss, nats", "range")
    lines = [f"| weights of the peak | {' | '.join(columns)} |", "|---|---|---|---|---|---|---|"]
    results = [seed.graft() for seed in seeds]
    chosen = [
        str(name)
        for name, kind in zip(results[0]["graft"].values, results[0]["kind"].values, strict=True)
        if kind in ("unit", "part", "without_part", "layer", "all")
    ]
    rows = {name: [one.sel(graft=name) for one in results] for name in chosen}
    sets = [seed.sets() for seed in seeds]
    rows |= {told: [one.sel(graft=f"set {parts}") for one in sets] for parts, told in SETS.items()}
    for name, cells in rows.items():
        told = [
            over_seeds(float(cell[f"restoration_{which}"]) for cell in cells)
            for which in ("margin", "counterfactual_accuracy")
        ]
        told.append(over_seeds((float(cell["loss_change"]) for cell in cells), percent=False))
        lines.append(f"| {name} | {' | '.join(told)} |")
    return lines


def search_table(seeds: Sequence[Seed]) -> list[str]:
    """The set that each seed's search found."""
    lines = [
        "| seed | peak → end | smallest set found | margin, answers restored, % (items not searched on) | loss, nats |"
    ]
    lines.append("|---|---|---|---|---|")
    for seed in seeds:
        result = seed.graft()
        done, found = json.loads(result.attrs["manifest"]), result.sel(graft="found")
        restored = (
            100 * float(found[f"restoration_{name}_confirmed"]) for name in ("margin", "counterfactual_accuracy")
        )
        reached = "" if done["search"]["reached"] else " (not reached)"
        ends = " → ".join(
            f"{100 * float(result[f'{end}_counterfactual_accuracy'].mean()):.0f}" for end in ("source", "target")
        )
        lines.append(
            f"| {seed.seed} | {ends} | {', '.join(done['search']['found'])}{reached} | "
            f"{', '.join(f'{share:.0f}' for share in restored)} | {float(found['loss_change']):+.3f} |"
        )
    return lines


def heads_table(seeds: Sequence[Seed]) -> list[str]:
    """From the peak to the end: change of mass and of effect by head, and how heads keep their ranks."""
    lines = ["| quantity | mean over seeds | range |", "|---|---|---|"]
    traces = [seed.heads() for seed in seeds]
    changes, ranks, steps, overlap = [], [], [], []
    for trace in traces:
        peak = int(np.argmax(trace["counterfactual_accuracy"].mean("item").values))
        mass, effect = (by_head(trace, name) for name in ("attention_mass", "knockout_effect"))
        ends = [peak, len(mass) - 1]
        changes.append(
            np.stack([np.diff(mass[ends], axis=0)[0], np.diff(effect[ends], axis=0)[0], effect[peak], effect[-1]])
        )
        ranks.append(float(mass_against_effect(mass[ends], effect[ends])[0]))
        steps.append(float(np.nanmean(mass_against_effect(mass, effect)[1:])))
        overlap.append((float(top_overlap(effect, 1)[peak, -1]), float(rank_correlation(effect)[peak, -1])))
    table = np.array(changes)
    heads = traces[0].sizes["head"]
    for head in range(table.shape[2]):
        name = f"layer {head // heads}, head {head % heads}"
        lines.append(f"| {name}: change of context mass | {over_seeds(table[:, 0, head], False)} |")
        lines.append(f"| {name}: change of effect, nats | {over_seeds(table[:, 1, head], False)} |")
        lines.append(f"| {name}: effect at the peak, nats | {over_seeds(table[:, 2, head], False)} |")
    lines.append(f"| rank correlation over heads, peak to end | {over_seeds(ranks, False)} |")
    lines.append(f"| rank correlation over heads, checkpoint to checkpoint, mean | {over_seeds(steps, False)} |")
    pooled = [np.corrcoef(one[0], one[1])[0, 1] for one in changes]
    lines.append(f"| correlation over heads, peak to end | {over_seeds(pooled, False)} |")
    lines.append(
        f"| strongest head of the peak is the strongest at the end | {over_seeds(one[0] for one in overlap)} |"
    )
    lines.append(f"| rank correlation of effects, peak with end | {over_seeds((one[1] for one in overlap), False)} |")
    return lines


def main() -> None:
    """Compute what isn't there, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("organism"))
    parser.add_argument("--results", type=Path, default=Path("parts"))
    parser.add_argument("--seeds", default="0-9")
    options = parser.parse_args()
    quiet_libraries()
    seeds = [Seed(seed, options.out, options.results) for seed in read_seeds(options.seeds)]
    for table in (patch_table, graft_table, search_table, heads_table):
        print("\n".join(table(seeds)) + "\n", flush=True)


if __name__ == "__main__":
    main()
