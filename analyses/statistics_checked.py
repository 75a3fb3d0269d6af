"""What the statistics are worth, by simulation. The tables in docs/statistics.md come from here.

`python -m analyses.statistics_checked` simulates everything with fixed seeds and prints the tables;
`--write docs/statistics.md` puts them there, between the two marks. `--part inversion|intervals|hierarchy` does one
part. About ten minutes on one core.

Inversion test: series of checkpoints that never fall (false positives) and that do (power), in points, with Gaussian
noise of 1, 2 and 3 points, independent or correlated; heavy tails; noise that vanishes at 0 %; items in clusters.
Intervals: how often the 95 % interval holds the true share. Hierarchy: the same for means over seeds and items.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from math import exp, lgamma, log
from pathlib import Path

import numpy as np

from attnshift.stats.hierarchy import seed_item_interval
from attnshift.stats.intervals import cluster_mean_interval, cluster_wilson, wilson
from attnshift.stats.inversion import inversion_test
from attnshift.stats.items import ItemSeries
from attnshift.stats.noise import correlated

MARKS = "<!-- tables: made by python -m analyses.statistics_checked -->", "<!-- end of tables -->"
CHECKPOINTS = (7, 10, 14, 28, 50)
NOISES = (1.0, 2.0, 3.0)
SERIES, FLAT_SERIES = 2000, 10_000
POWER_SERIES = 500
Trend = Callable[[np.ndarray], np.ndarray]

RISING: dict[str, Trend] = {
    "flat": lambda x: 40 + 0 * x,
    "linear": lambda x: 20 + 40 * x,
    "saturating": lambda x: 20 + 40 * (1 - np.exp(-6 * x)),
    "saturating in log steps": lambda x: 20 + 40 * np.log1p(300 * x) / np.log(301),
    "one step": lambda x: 20 + 40.0 * (x > 0.3),
}
PEAKS = {"slow": (0.3, 1.0), "late": (0.6, 1.0), "sharp": (0.3, 0.5)}
"""when in training the peak comes, and when the fall is over"""


def hill(shape: str, fall: float, checkpoints: int) -> np.ndarray:
    """From 20 to 60 at the peak, ever slower, then straight down by so many points."""
    x = np.linspace(0, 1, checkpoints)
    peak, end = PEAKS[shape]
    return 20 + 40 * np.sin(np.pi / 2 * np.clip(x / peak, 0, 1)) - fall * np.clip((x - peak) / (end - peak), 0, 1)


def rng_of(*cell: object) -> np.random.Generator:
    """Random numbers of one cell of a table, whatever else is simulated."""
    return np.random.default_rng([*map(ord, "|".join(map(str, cell)))])


def rates(series: Iterator[np.ndarray | ItemSeries]) -> dict[str, float]:
    """Percent of series with p ≤ .05, with the cautious p ≤ .05, and with a warning."""
    tests = [inversion_test(one) for one in series]
    return {
        "p": 100 * np.mean([one.p_value <= 0.05 for one in tests]),
        "cautious": 100 * np.mean([one.p_correlated <= 0.05 for one in tests]),
        "warned": 100 * np.mean([one.warning is not None for one in tests]),
    }


def noisy(trend: np.ndarray, noise: float, count: int, rho: float, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Series of a trend with noise."""
    yield from trend + noise * correlated(rng.standard_normal((count, len(trend))), rho)


def upper(percent: float, count: int) -> float:
    """Upper end of the 95 % interval of a simulated percentage."""
    return float(100 * np.asarray(wilson(round(percent * count / 100), count).high))


def table(head: tuple[str, ...], rows: Iterator[tuple[object, ...]]) -> list[str]:
    """A Markdown table."""
    return [
        "| " + " | ".join(head) + " |",
        "|" + "---|" * len(head),
        *("| " + " | ".join(map(str, row)) + " |" for row in rows),
        "",
    ]


def false_positives() -> list[str]:
    """Series that never fall, independent noise; then correlated noise."""
    columns = tuple(f"{count} checkpoints" for count in CHECKPOINTS)
    worst: list[tuple[float, float]] = []

    def cells(name: str, noise: float, rho: float, shown: str) -> Iterator[str]:
        for count in CHECKPOINTS:
            trend = RISING[name](np.linspace(0, 1, count))
            series = FLAT_SERIES if name == "flat" else SERIES
            found = rates(noisy(trend, noise, series, rho, rng_of("fp", name, noise, rho, count)))
            worst.append((found["p"], upper(found["p"], series)))
            yield " / ".join(f"{found[key]:.1f}" for key in shown.split())

    lines = [
        f"**False positives**, percent of {SERIES:,} series (flat: {FLAT_SERIES:,}) with p ≤ .05, independent noise:",
        "",
    ]
    lines += table(
        ("series", "noise", *columns),
        ((name, f"{noise:g}", *cells(name, noise, 0.0, "p")) for name in RISING for noise in NOISES),
    )
    highest, end = max(worst)
    lines += [f"The highest is {highest:.1f} %; the 95 % interval of that simulation ends at {end:.1f} %.", ""]
    lines += [
        "**Noise of 2 points whose neighbours correlate by .5**: percent with p ≤ .05 / with the cautious p ≤ .05 /",
        "with the warning. The plain p fails here, which is why the cautious one stands beside it:",
        "",
    ]
    return lines + table(("series", *columns), ((name, *cells(name, 2.0, 0.5, "p cautious warned")) for name in RISING))


def odd_noise() -> list[str]:
    """Heavy tails, noise that vanishes at the floor, and items in clusters."""

    def heavy(count: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
        yield from 40 + 2 * rng.standard_t(3, (SERIES, count)) / np.sqrt(3)

    def floor(count: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
        logit = np.interp(np.arange(count), [0, 0.4 * count, 0.4 * count + 2, count], [-6, -6, 0.4, 0.4])
        yield from 100 / (1 + np.exp(-(logit + 0.12 * rng.standard_normal((SERIES, count)))))

    def items(count: int, rng: np.random.Generator) -> Iterator[ItemSeries]:
        names, clusters = np.arange(300), np.repeat(np.arange(60), 5).astype(str)
        for _ in range(SERIES // 4):
            ease = rng.normal(0, 1.2, 300) + rng.normal(0, 0.8, 60).repeat(5)
            shift = 0.06 * rng.standard_normal((count, 1)) + 0.5 * rng.standard_normal((count, 300))
            yield ItemSeries("made", "points", np.arange(count), names, 100.0 * (ease + shift > 0.3), clusters)

    kinds = {
        "flat, heavy-tailed noise (Student, 3 df) of 2 points": heavy,
        "0 % for long, then a plateau at 60 %; noise as p(1−p), 3 points at 50 %": floor,
        "flat, 300 items in 60 clusters, which flip by themselves and together": items,
    }

    def rows() -> Iterator[tuple[object, ...]]:
        for name, made in kinds.items():
            yield (name, *(f"{rates(made(count, rng_of('odd', name, count)))['p']:.1f}" for count in CHECKPOINTS))

    lines = ["**Other noise**, percent of series with p ≤ .05, none of which falls:", ""]
    return lines + table(("series", *(f"{count} checkpoints" for count in CHECKPOINTS)), rows())


def power() -> list[str]:
    """Series that fall."""

    def rows() -> Iterator[tuple[object, ...]]:
        for shape in PEAKS:
            for fall in (5, 10, 20, 30):
                for noise in NOISES:
                    cells = []
                    for count in CHECKPOINTS:
                        rng = rng_of("power", shape, fall, noise, count)
                        found = rates(noisy(hill(shape, fall, count), noise, POWER_SERIES, 0.0, rng))
                        cells.append(" / ".join(f"{found[key]:.0f}" for key in ("p", "cautious", "warned")))
                    yield (shape, fall, f"{noise:g}", *cells)

    lines = [
        f"**Power**, percent of {POWER_SERIES} series with p ≤ .05 / with the cautious p ≤ .05 / with the warning;",
        "each rises from 20 to 60 first. *slow*: up over the first 30 % of the checkpoints, then down; *late*:",
        "up over 60 %, then down; *sharp*: up over 30 %, down over the next 20 %, then flat:",
        "",
    ]
    return lines + table(("fall", "points", "noise", *(f"{count} checkpoints" for count in CHECKPOINTS)), rows())


def exact_wilson(share: float, items: int) -> float:
    """Percent of samples whose Wilson interval holds the share: a sum over the binomial, no simulation."""
    hits = np.arange(items + 1)
    found = wilson(hits, items)
    held = (np.asarray(found.low) <= share) & (share <= np.asarray(found.high))
    logs = [
        lgamma(items + 1) - lgamma(k + 1) - lgamma(items - k + 1) + k * log(share) + (items - k) * log(1 - share)
        for k in hits.tolist()
    ]
    return 100 * sum(exp(one) for one, inside in zip(logs, held, strict=True) if inside)


def coverage() -> list[str]:
    """Intervals of a share: how often they hold it."""
    shares = (0.01, 0.05, 0.1, 0.3, 0.5, 0.9, 0.95)
    lines = ["**Wilson, items of their own**: percent of 95 % intervals that hold the true share (exact):", ""]
    lines += table(
        ("items", *(f"{share:g}" for share in shares)),
        ((items, *(f"{exact_wilson(share, items):.1f}" for share in shares)) for items in (50, 100, 300, 1000)),
    )
    every = np.linspace(0.05, 0.95, 181)
    for items in (300, 1000):
        held = [exact_wilson(float(share), items) for share in every]
        lines += [f"{items} items, 181 shares from .05 to .95: {min(held):.1f} to {max(held):.1f} %.", ""]
    lines += [
        "**Items that share clusters**: percent of 1,000 intervals that hold the true share, Wilson's by clusters /",
        "the bootstrap of the mean. Rates of clusters are drawn from a beta distribution; *alike* is the correlation",
        "of two items of a cluster; *uneven* sizes are drawn from a gamma distribution (shape 1.5):",
        "",
    ]
    return lines + table(
        ("items", "clusters", "sizes", "alike", *(f"{share:g}" for share in shares[1:])), clustered(shares[1:])
    )


def clustered(shares: tuple[float, ...]) -> Iterator[tuple[object, ...]]:
    """A row per design, a cell per share."""
    for items, clusters in ((300, 40), (300, 100), (1000, 40), (300, 20), (100, 20)):
        for uneven in (False, True):
            for alike in (0.0, 0.1, 0.3):
                cells = []
                for share in shares:
                    rng = rng_of("coverage", items, clusters, uneven, alike, share)
                    weights = rng.gamma(1.5, size=clusters) if uneven else np.ones(clusters)
                    sizes = 1 + rng.multinomial(items - clusters, weights / weights.sum())
                    if not uneven:
                        sizes = np.full(clusters, items // clusters) + (np.arange(clusters) < items % clusters)
                    shape = (1000, clusters)
                    odds = share * (1 / alike - 1) if alike else 1.0
                    drawn = rng.beta(odds, odds * (1 - share) / share, shape) if alike else np.full(shape, share)
                    values = (rng.random((1000, items)) < drawn.repeat(sizes, axis=1)).astype(float)
                    labels = np.arange(clusters).repeat(sizes)
                    held = [
                        100 * np.mean((np.asarray(one.low) <= share) & (share <= np.asarray(one.high)))
                        for one in (cluster_wilson(values, labels), cluster_mean_interval(values, labels))
                    ]
                    cells.append(" / ".join(f"{one:.1f}" for one in held))
                yield (items, clusters, "uneven" if uneven else "even", f"{alike:g}", *cells)


def hierarchy() -> list[str]:
    """Means over seeds and items."""

    def cell(runs: int, by_run: float, by_cluster: float, by_item: float, shared: bool) -> str:
        rng, held = rng_of("hierarchy", runs, by_run, by_cluster, by_item, shared), []
        clusters = np.arange(40).repeat(5)
        for _ in range(500):
            common = rng.normal(0, by_cluster, 40).repeat(5)
            own = common if shared else rng.normal(0, by_cluster, (runs, 40)).repeat(5, axis=1)
            values = rng.normal(0, by_run, (runs, 1)) + own + rng.normal(0, by_item, (runs, 200))
            found = seed_item_interval(list(values), clusters if shared else None, draws=1000)
            held.append(found.low <= 0 <= found.high)
        return f"{100 * np.mean(held):.1f}"

    designs = [(5, 3), (5, 10), (1, 10), (0, 10)]
    lines = [
        "**Seeds and items**: percent of 500 intervals of a mean over runs that hold the true one; 200 items in 40",
        "clusters, noise of 30 per item. A column's two numbers are the standard deviations of runs and of clusters:",
        "",
    ]
    heads = tuple(f"{by_run:g}, {by_cluster:g}" for by_run, by_cluster in designs)
    return lines + table(
        ("runs", "items", *heads),
        (
            (
                runs,
                "the same in all runs" if shared else "each run's own",
                *(cell(runs, *one, 30, shared) for one in designs),
            )
            for shared in (True, False)
            for runs in (2, 3, 5, 10)
        ),
    )


PARTS: dict[str, tuple[Callable[[], list[str]], ...]] = {
    "inversion": (false_positives, odd_noise, power),
    "intervals": (coverage,),
    "hierarchy": (hierarchy,),
}


def main() -> None:
    """Simulate, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=PARTS, action="append")
    parser.add_argument("--write", type=Path)
    options = parser.parse_args()
    lines: list[str] = []
    for part in options.part or PARTS:
        for made in PARTS[part]:
            told = made()
            print("\n".join(told), flush=True)
            lines += told
    if options.write:
        text = options.write.read_text(encoding="utf-8")
        before, _, rest = text.partition(MARKS[0])
        _, _, after = rest.partition(MARKS[1])
        options.write.write_text(
            f"{before}{MARKS[0]}\n\n" + "\n".join(lines) + f"\n{MARKS[1]}{after}", encoding="utf-8"
        )


if __name__ == "__main__":
    main()
