"""Do ReDeEP's two scores follow the rise and the fall, and do they tell which items are answered from the context?

`python -m analyses.redeep --seeds 0-9 --out organism/ --results redeep/` takes the runs that
`attnshift demo --seeds 0-9 --out organism/` leaves (`seed-N/run`), measures what isn't in `redeep/` yet and prints a
table: over seeds the mean, its 95 % bootstrap interval and the range. The external context score is the mean over
heads. Its change from the peak to the end is taken apart: by the end's states at the tokens that heads attended to at
the peak, and by the peak's states at those attended to at the end. AUC is over items at one checkpoint, those answered
from the context against all others: 1 where the score is higher for every one of them, .5 where it says nothing, below
where it is lower. The peak is the checkpoint of highest accuracy.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
import xarray as xr

import attnshift
from analyses.parts_organism import over_seeds
from attnshift.cli import read_seeds
from attnshift.data.roles import CONTEXT_ROLES
from attnshift.models.quiet import quiet_libraries

MEASURES = ("counterfactual_accuracy", "attention_mass", "external_context_score", "parametric_knowledge_score")


class Seed:
    """One run of the organism: by checkpoint and item whether the context wins, and what the scores are."""

    def __init__(self, seed: int, out: Path, results: Path) -> None:
        self.series = attnshift.open_series(out / f"seed-{seed}" / "run")
        self.trace = attnshift.trace(self.series, out=results / f"seed-{seed}", measures=MEASURES)
        self.wins = self.trace["counterfactual_accuracy"].values.astype(bool)
        self.reliance = self.wins.mean(-1)
        self.ends = {"start": 0, "peak": int(np.argmax(self.reliance)), "end": len(self.wins) - 1}

    def scores(self) -> dict[str, np.ndarray]:
        """By name and by checkpoint and item."""
        mass = self.trace["attention_mass"].sel(role=list(CONTEXT_ROLES)).sum("role").mean(("layer", "head"))
        found = {"external context": self.trace["external_context_score"].mean(("layer", "head")).values}
        knowledge = self.trace["parametric_knowledge_score"].transpose("layer", "step", "item").values
        found |= {f"parametric knowledge, layer {layer}": values for layer, values in enumerate(knowledge)}
        return found | {"context mass": mass.values}

    def exchanged(self) -> tuple[float, float, float]:
        """The score's fall from the peak to the end: whole, by the states alone, by what is attended to alone."""
        before, after = (_read(self.series, self.trace, self.ends[end]) for end in ("peak", "end"))
        peak = _cosines(before[0], before[1])
        stored = float(self.trace["external_context_score"][self.ends["peak"]].mean())
        if abs(peak - stored) > 1e-4:
            raise SystemExit(f"the trace says {stored}, plain attention and states {peak}")
        return tuple(_cosines(*pair) - peak for pair in (after, (after[0], before[1]), (before[0], after[1])))


def _read(series: attnshift.Series, trace: xr.Dataset, place: int) -> tuple[torch.Tensor, torch.Tensor]:
    """States behind the final norm by item and position; the context token that a head attends to most."""
    prompts = torch.from_numpy(trace["token_ids"].values.astype(np.int64))
    roles = trace["token_role"].values[:, (prompts != -1).all(0).numpy()]
    prompts = prompts[:, (prompts != -1).all(0)]
    names = trace["token_role"].attrs["flag_meanings"].split()
    (context,) = np.flatnonzero(np.isin(roles[0], [names.index(role) for role in CONTEXT_ROLES])).reshape(1, -1)
    model = series[int(trace["step"][place])].model()
    model.set_attn_implementation("eager")
    with torch.no_grad():
        seen = model(prompts, output_attentions=True, output_hidden_states=True)
    weights = torch.stack([one[:, :, -1, context] for one in seen.attentions], 1).flatten(1, 2)  # item head key
    return seen.hidden_states[-1], torch.from_numpy(context)[weights.argmax(-1)]


def _cosines(states: torch.Tensor, attended: torch.Tensor) -> float:
    """Mean over items and heads; a context of fewer than twenty tokens is attended to at one."""
    pooled = states[torch.arange(len(states))[:, None], attended]
    return float(torch.cosine_similarity(pooled, states[:, None, -1], dim=-1).mean())


def auc(scores: np.ndarray, wins: np.ndarray) -> float:
    """Probability that one of those that win has the higher score; ties count half. NaN where all win, or none."""
    if wins.all() or not wins.any():
        return np.nan
    pairs = scores[wins][:, None] - scores[~wins]
    return float(((pairs > 0) + (pairs == 0) / 2).mean())


def rows(seeds: Sequence[Seed]) -> list[str]:
    """The table's lines."""

    def line(told: str, value: Callable[[Seed], float], percent: bool = False) -> str:
        return f"| {told} | {over_seeds((value(seed) for seed in seeds), percent)} |"

    lines = [line(f"reliance at the {end}, %", lambda s, e=end: s.reliance[s.ends[e]], True) for end in seeds[0].ends]
    for name in seeds[0].scores():
        for end in seeds[0].ends:
            lines.append(line(f"{name}: {end}", lambda s, n=name, e=end: s.scores()[n][s.ends[e]].mean()))
        lines.append(line(f"{name}: end less peak", lambda s, n=name: np.diff(s.scores()[n][_peak_end(s)].mean(-1))[0]))
        told = f"{name}: correlation with reliance over checkpoints, the base left out"
        lines.append(line(told, lambda s, n=name: np.corrcoef(s.scores()[n][1:].mean(-1), s.reliance[1:])[0, 1]))
        for end in ("peak", "end"):
            told = f"{name}: AUC at the {end}"
            lines.append(line(told, lambda s, n=name, e=end: auc(s.scores()[n][s.ends[e]], s.wins[s.ends[e]])))
    apart = {seed: seed.exchanged() for seed in seeds}
    for place, told in enumerate(("whole", "by the states alone", "by what is attended to alone")):
        lines.append(line(f"external context, end less peak: {told}", lambda s, p=place: apart[s][p]))
    return ["| quantity | mean over seeds | range |", "|---|---|---|", *lines]


def _peak_end(seed: Seed) -> list[int]:
    return [seed.ends["peak"], seed.ends["end"]]


def main() -> None:
    """Measure what isn't there, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("organism"))
    parser.add_argument("--results", type=Path, default=Path("redeep"))
    parser.add_argument("--seeds", default="0-9")
    options = parser.parse_args()
    quiet_libraries()
    print("\n".join(rows([Seed(seed, options.out, options.results) for seed in read_seeds(options.seeds)])))


if __name__ == "__main__":
    main()
