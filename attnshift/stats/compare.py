"""Two sides, paired: the same items at two checkpoints of a run, or in two runs, or in two sets of runs by seed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from attnshift.errors import AttnshiftError
from attnshift.stats.contributions import Contribution, contributions
from attnshift.stats.flips import Flips, label_flips
from attnshift.stats.hierarchy import seed_item_interval
from attnshift.stats.intervals import Interval, cluster_mean_interval
from attnshift.stats.inversion import InversionTest, inversion_test
from attnshift.stats.items import answer_labels
from attnshift.stats.noise import checkpoint_noise
from attnshift.stats.paired import McNemar, holm, mcnemar, sign_flip
from attnshift.stats.pairing import Pair, pair_items, paired_runs
from attnshift.stats.sides import Side, Traces, read_side, same_items, side_step

_LABELLED = ({"answer_label"}, {"counterfactual_accuracy", "parametric_accuracy"})


@dataclass(frozen=True)
class RunChange:
    """The change in one run (one seed), over the items that both sides have."""

    run: str
    steps: tuple[int, int]
    items: int
    before: float
    after: float
    mcnemar: McNemar | None
    """None for a measure that isn't 0 or 1 per item"""
    holm: float
    """its p-value, corrected for the other comparisons; NaN without one"""

    @property
    def change(self) -> float:
        """After less before, in the unit of the measure."""
        return self.after - self.before


@dataclass(frozen=True)
class Change:
    """From the first side to the second, at one place; in the unit of the measure."""

    place: str
    """where the two sides are compared: peak, end, or ``peak → end`` for two checkpoints"""
    before: float
    """mean over items, and over runs where there are several"""
    after: float
    low: float
    """95 % interval of the change, for other items (and runs) of the same kind; checkpoints are taken as they are"""
    high: float
    sign_flip: float
    """p-value by flipping whole clusters, or whole runs where there are several"""
    noise: float
    """how far a change strays by checkpoint noise alone (95 %); NaN where that can't be told"""
    runs: tuple[RunChange, ...]
    flips: Flips | None
    """None where the traces have neither labels nor both accuracies"""
    contributions: tuple[Contribution, ...]

    @property
    def change(self) -> float:
        """After less before."""
        return self.after - self.before


@dataclass(frozen=True)
class Comparison:
    """What differs between two sides, and how sure that is."""

    names: tuple[str, str]
    measure: str
    unit: str
    by: str
    changes: tuple[Change, ...]
    clusters: int
    """how many clusters the paired items come in, over all runs"""
    falls: tuple[tuple[str, InversionTest], ...]
    """each series' fall from its peak, on the paired items, tested against checkpoint noise; by run and side"""
    notes: tuple[str, ...]
    """what a reader has to know"""
    assumptions: str


def compare(
    a: Traces,
    b: Traces,
    measure: str = "counterfactual_accuracy",
    by: str = "stratum",
    known: bool = False,
    window: int = 1,
    at: tuple[str | int, str | int] | None = None,
    seed: int = 0,
) -> Comparison:
    """Compare two runs (or sets of runs by seed) at their peak and at their end, or two checkpoints, item by item.

    Each side is a trace: a directory, an open one, ``TRACE@STEP`` (or ``@start``, ``@peak``, ``@end``), a directory of
    seeds, ``NAME=TRACE,NAME=TRACE``, or a mapping of names to traces; ``at`` names the two checkpoints instead of @.
    Runs are paired by name, items by id. ``measure`` is per step and item (``answer_label`` counts ``context``);
    ``by`` groups items for the contributions: stratum, conflict_type, cluster or any variable per item; ``known``
    keeps the items that the base knew; flips are robust if they last for ``window`` checkpoints on either side.

    Raises AttnshiftError where the sides share no run or no item, or an id is two items, or a measure is missing.
    """
    sides = read_side(a), read_side(b)
    if at is not None:
        sides = replace(sides[0], at=str(at[0])), replace(sides[1], at=str(at[1]))
    places = _places(*sides)
    names, notes = paired_runs(*sides)
    pairs = [pair_items(name, sides[0].runs[one], sides[1].runs[two], measure, by, known) for name, one, two in names]
    notes += [note for pair in pairs for note in _item_notes(pair, known)]
    shared = all(same_items(pairs[0].traces[0], pair.traces[0]) for pair in pairs[1:])
    changes = _corrected([_change(place, pairs, shared, window, seed) for place in places])
    return Comparison(
        names=(sides[0].name, sides[1].name),
        measure=measure,
        unit=pairs[0].series[0].unit,
        by=by,
        changes=changes,
        clusters=len({(pair.run * (not shared), name) for pair in pairs for name in pair.series[0].clusters.tolist()}),
        falls=tuple(_falls(pairs, sides)),
        notes=tuple(notes + _change_notes(changes, places, pairs)),
        assumptions=_assumptions(len(pairs), shared, pairs[0].series[0].share),
    )


def _places(a: Side, b: Side) -> list[tuple[str, str]]:
    if (a.at is None) != (b.at is None):
        named, bare = (a, b) if a.at is not None else (b, a)
        raise AttnshiftError(
            f"{named.name} names a checkpoint and {bare.name} doesn't",
            expected="TRACE@STEP twice, or no checkpoint at all",
            remedy=f"{bare.name}@end",
        )
    if a.at is not None and b.at is not None:
        if a.is_same(b) and a.at == b.at:
            raise AttnshiftError(f"both sides are {a.name}", expected="two different checkpoints, or two runs")
        return [(a.at, b.at)]
    if a.is_same(b):
        raise AttnshiftError(
            f"both sides are {a.name}",
            expected="two traces, or two checkpoints of one",
            remedy=f"{a.name}@peak and {b.name}@end, or at=('peak', 'end')",
        )
    return [("peak", "peak"), ("end", "end")]


def _change(place: tuple[str, str], pairs: Sequence[Pair], shared: bool, window: int, seed: int) -> Change:
    at = [_steps(pair, place) for pair in pairs]
    befores = [pair.series[0].values[one] for pair, (one, _) in zip(pairs, at, strict=True)]
    afters = [pair.series[1].values[two] for pair, (_, two) in zip(pairs, at, strict=True)]
    runs = tuple(_run_change(*row) for row in zip(pairs, at, befores, afters, strict=True))
    interval, p_value = _sure(pairs, befores, afters, shared, seed)
    return Change(
        place=place[0] if place[0] == place[1] else " → ".join(place),
        before=float(np.mean([run.before for run in runs])),
        after=float(np.mean([run.after for run in runs])),
        low=float(interval.low),
        high=float(interval.high),
        sign_flip=p_value,
        noise=_noise(pairs),
        runs=runs,
        flips=_flips(pairs, at, window),
        contributions=_contributions(pairs, befores, afters),
    )


def _steps(pair: Pair, place: tuple[str, str]) -> tuple[int, int]:
    measure = pair.series[0].measure
    return side_step(pair.traces[0], place[0], measure), side_step(pair.traces[1], place[1], measure)


def _run_change(
    pair: Pair, at: tuple[int, int], before: Float[np.ndarray, "item"], after: Float[np.ndarray, "item"]
) -> RunChange:
    both = np.isfinite(before) & np.isfinite(after)
    if not both.any():
        raise AttnshiftError(
            f"{pair.series[0].measure} was measured for no item on both sides{f' of {pair.run}' * bool(pair.run)}",
            expected="checkpoints that were measured",
        )
    tested = mcnemar(before[both] / 100, after[both] / 100) if pair.series[0].share else None
    steps = tuple(int(series.steps[place]) for series, place in zip(pair.series, at, strict=True))
    return RunChange(
        run=pair.run,
        steps=(steps[0], steps[1]),
        items=int(both.sum()),
        before=float(before[both].mean()),
        after=float(after[both].mean()),
        mcnemar=tested,
        holm=float("nan") if tested is None else tested.p_value,
    )


def _sure(
    pairs: Sequence[Pair], befores: Sequence[np.ndarray], afters: Sequence[np.ndarray], shared: bool, seed: int
) -> tuple[Interval, float]:
    """Interval of the change, and the p-value by sign flips."""
    changes = [after - before for before, after in zip(befores, afters, strict=True)]
    clusters = pairs[0].series[0].clusters
    if len(pairs) == 1:
        interval = cluster_mean_interval(changes[0], clusters, seed=seed)
        return interval, sign_flip(befores[0], afters[0], clusters, seed=seed)
    means = np.array([np.nanmean(one) for one in changes])
    interval = seed_item_interval(changes, clusters if shared else None, seed=seed)
    return interval, sign_flip(np.zeros(len(means)), means, np.arange(len(means)), seed=seed)


def _falls(pairs: Sequence[Pair], sides: tuple[Side, Side]) -> Iterator[tuple[str, InversionTest]]:
    count = 1 if sides[0].is_same(sides[1]) else 2
    for pair in pairs:
        for which, side, series in list(zip(("first", "second"), sides, pair.series, strict=True))[:count]:
            where = side.name if side.at is None else side.name.removesuffix(f"@{side.at}")
            if len(pairs) > 1:
                where = f"{pair.run}, {which} side" if count > 1 else pair.run
            yield where, inversion_test(series)


def _noise(pairs: Sequence[Pair]) -> float:
    """How far the mean change strays by the checkpoint noise of both sides' series, with 95 %."""
    variances = [checkpoint_noise(series).sd ** 2 for pair in pairs for series in pair.series]
    return float(1.96 * np.sqrt(np.sum(variances)) / len(pairs))


def _flips(pairs: Sequence[Pair], at: Sequence[tuple[int, int]], window: int) -> Flips | None:
    if not all(
        any(needed <= set(map(str, trace.data_vars)) for needed in _LABELLED) for p in pairs for trace in p.traces
    ):
        return None
    found = []
    for pair, (one, two) in zip(pairs, at, strict=True):
        names = np.array([f"{pair.run}/{item}" if len(pairs) > 1 else str(item) for item in pair.series[0].items])
        labels = [answer_labels(trace) for trace in pair.traces]
        same = np.array_equal(labels[0], labels[1])
        found.append(label_flips(names, (labels[0], one), (labels[1], two), window, same))
    return Flips(
        to_memory=tuple(flip for one in found for flip in one.to_memory),
        to_context=tuple(flip for one in found for flip in one.to_context),
        items=sum(one.items for one in found),
        window=window,
    )


def _contributions(
    pairs: Sequence[Pair], befores: Sequence[np.ndarray], afters: Sequence[np.ndarray]
) -> tuple[Contribution, ...]:
    """Mean over runs of each stratum's contribution in a run; a stratum's own means are over all its items."""
    of_runs = [contributions(*row) for row in zip(befores, afters, [pair.strata for pair in pairs], strict=True)]
    names = sorted({one.stratum for run in of_runs for one in run})
    found = []
    for name in names:
        parts = [one for run in of_runs for one in run if one.stratum == name]
        items = sum(one.items for one in parts)
        before, after = (sum(one.items * getattr(one, side) for one in parts) / items for side in ("before", "after"))
        found.append(Contribution(name, items, before, after, sum(one.contribution for one in parts) / len(pairs)))
    return tuple(sorted(found, key=lambda one: (-abs(one.contribution), one.stratum)))


def _corrected(changes: Sequence[Change]) -> tuple[Change, ...]:
    """All McNemar tests of a comparison corrected together (Holm)."""
    adjusted = iter(holm([run.holm for change in changes for run in change.runs]))
    return tuple(
        replace(change, runs=tuple(replace(run, holm=next(adjusted)) for run in change.runs)) for change in changes
    )


def _item_notes(pair: Pair, known: bool) -> list[str]:
    kept, where = len(pair.series[0].items), f" of {pair.run}" * bool(pair.run)
    if known:
        return [f"{kept} items{where} that the base knew, on both sides, of {pair.held[0]} and {pair.held[1]}."]
    if pair.held != (kept, kept):
        return [f"Paired on the {kept} items{where} that both sides have, of {pair.held[0]} and {pair.held[1]}."]
    return []


def _change_notes(changes: Sequence[Change], places: Sequence[tuple[str, str]], pairs: Sequence[Pair]) -> list[str]:
    notes = []
    if any("peak" in place for place in places):
        notes.append("A peak is a maximum over checkpoints, so it is biased upwards.")
    for change in changes:
        if np.isfinite(change.noise) and abs(change.change) <= change.noise:
            notes.append(
                f"The change at {change.place} lies within checkpoint noise (±{change.noise:.3g} "
                f"{pairs[0].series[0].unit}): another checkpoint nearby may not show it."
            )
    last = {tuple(run.steps) for run in changes[-1].runs}
    if places[-1] == ("end", "end") and any(one != two for one, two in last):
        notes.append(
            "The two sides end at different steps: " + ", ".join(f"{one:,} and {two:,}" for one, two in last) + "."
        )
    if len(pairs) == 1 and len(places) > 1:
        notes.append("One run a side: the interval says nothing of how seeds vary.")
    return notes


def _assumptions(runs: int, shared: bool, share: bool) -> str:
    drawn, flipped = "clusters of items", "cluster"
    if runs > 1:
        drawn, flipped = ("runs and clusters of items" if shared else "runs (each has items of its own)"), "run"
    return (
        f"Intervals draw {drawn} by chance; sign flips assume that a {flipped}'s change could as well have gone the "
        "other way. Checkpoints are taken as they are."
        + " McNemar is exact for items that change independently, too sure where they share clusters."
        * share
    )
