"""Does the one-layer theory forecast a run? Signs of the next change and the peak, against simpler forecasts.

`python -m analyses.forecast --seeds 20-29 --out organism/` builds and traces what isn't there yet (`--arm` picks the
arm), or `--traces DIR ...` takes traces that are; prints the table and writes it, with every single forecast, to
`forecast.json`.

From every checkpoint on, beginning with the fifth, each method sees the checkpoints up to there and says whether the
next one will be higher or lower, and at which checkpoint the quantity is highest over the whole run. Compared are the
theory (`attnshift.forecast`), *last change persists*, *quadratic in log step* and, for the peak, *it is behind us*:
the highest checkpoint so far. Intervals of 95 % resample seeds, with all their forecasts.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import xarray as xr

import attnshift
from attnshift.cli import read_seeds
from attnshift.data.roles import CONTEXT_ROLES
from attnshift.demonstration import demo_seeds
from attnshift.models.quiet import quiet_libraries
from attnshift.stats.forecast import BASELINES, QUANTITIES, Said, accuracy_of, forecast
from attnshift.stats.intervals import Interval, cluster_mean_interval
from attnshift.stats.readings import attention_by_roles

FIRST = 5
"""checkpoints seen by the earliest forecast"""

THEORY, BEHIND = "one-layer theory", "it is behind us"
METHODS = (THEORY, *BASELINES, BEHIND)


@dataclass(frozen=True)
class Outcome:
    """A forecast, and what came."""

    seed: str
    seen: int
    quantity: str
    method: str
    right: float
    """1 where the sign of the next change is right, 0 where it isn't; NaN where nothing changes or nothing is said"""
    error: int
    """checkpoints between the forecast peak and the measured one"""
    before: bool
    """whether the peak was still ahead"""


def outcomes(seed: str, trace: xr.Dataset) -> Iterator[Outcome]:
    """Every forecast of a run."""
    steps = trace["step"].values.astype(np.int64)
    measured = {
        "margin": trace["margin"].mean("item").values.astype(np.float64),
        "counterfactual_accuracy": accuracy_of(trace),
        "context_mass": attention_by_roles(trace, {"context": CONTEXT_ROLES})["context"].mean(-1),
    }
    for seen in range(FIRST, len(steps)):
        theory = forecast(trace, upto=int(steps[seen - 1]))
        for quantity in QUANTITIES:
            values = measured[quantity]
            said = {THEORY: theory.said[quantity]}
            said |= {name: method(steps, values[:seen]) for name, method in BASELINES.items()}
            said[BEHIND] = Said(np.nan, int(values[:seen].argmax()))
            change, peak = values[seen] - values[seen - 1], int(values.argmax())
            for method, one in said.items():
                right = np.nan if not change or np.isnan(one.change) else float(np.sign(one.change) == np.sign(change))
                yield Outcome(seed, seen, quantity, method, right, abs(one.peak - peak), seen <= peak)


def table(found: list[Outcome]) -> list[str]:
    """A row per quantity and method."""
    heads = ("of", "said by", "signs right", "peak off by (checkpoints)", "the same, peak still ahead")
    lines = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    for quantity in QUANTITIES:
        for method in METHODS:
            cells = [_told(interval) for interval in _columns(found, quantity, method)]
            lines.append(f"| {quantity} | {method} | {' | '.join(cells)} |")
    return lines


def differences(found: list[Outcome]) -> list[str]:
    """The theory less each other method, forecast by forecast."""
    heads = ("of", "theory less", "signs right", "peak off by (checkpoints)", "the same, peak still ahead")
    lines = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    for quantity in QUANTITIES:
        for method in METHODS[1:]:
            cells = [_told(interval, "+.2f") for interval in _columns(found, quantity, THEORY, method)]
            lines.append(f"| {quantity} | {method} | {' | '.join(cells)} |")
    return lines


def _columns(found: list[Outcome], quantity: str, method: str, less: str | None = None) -> list[Interval]:
    """Signs right, error of the peak, the same where it was still ahead; seeds are the clusters."""
    ours, theirs = (
        [one for one in found if one.quantity == quantity and one.method == which] for which in (method, less)
    )
    seeds = np.array([one.seed for one in ours])
    before = np.array([one.before for one in ours])
    right, error = (
        np.array([getattr(one, name) for one in ours], np.float64)
        - (np.array([getattr(one, name) for one in theirs], np.float64) if less else 0)
        for name in ("right", "error")
    )
    return [
        cluster_mean_interval(right, seeds),
        cluster_mean_interval(error, seeds),
        cluster_mean_interval(error[before], seeds[before]),
    ]


def _told(interval: Interval, form: str = ".2f") -> str:
    if np.isnan(interval.estimate):
        return ""
    return f"{interval.estimate:{form}} ({interval.low:{form}} to {interval.high:{form}})"


def main() -> None:
    """Build where asked to, forecast, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("organism"))
    parser.add_argument("--seeds", default="20-29")
    parser.add_argument("--arm", default="full")
    parser.add_argument("--traces", type=Path, nargs="*", help="traces to take instead")
    parser.add_argument("--json", type=Path, default=Path("forecast.json"), help="where every forecast is written")
    options = parser.parse_args()
    quiet_libraries()
    traces = options.traces or [
        done.trace for done in demo_seeds(options.out, read_seeds(options.seeds), options.arm).values()
    ]
    found: list[Outcome] = []
    for path in traces:
        found += outcomes(str(path), attnshift.open_trace(path))
        print(
            f"{path}: forecast from {len({one.seen for one in found if one.seed == str(path)})} checkpoints", flush=True
        )
    lines = [*table(found), "", *differences(found)]
    print("\n" + "\n".join(lines))
    options.json.write_text(json.dumps([asdict(one) for one in found], indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
