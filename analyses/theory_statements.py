"""The paper's theoretical statements, one by one, on the exact one-layer model.

``python -m analyses.theory_statements`` prints them as a table.

Each line is a statement, what the model gives, and whether they agree. The homogeneous golden setting, unless the line
says otherwise; heterogeneous lines are means over 64 seeds (spread .7, attention spread .15). The last lines are the
caveat: with many points the inversion needs something that the simplest model doesn't have.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from attnshift.theory import Setting, Trajectory, crowded_plateau, flip_attention, late, plateau, simulate, start_push

GOLDEN = Setting()
VARIED = Setting(spread=0.7, attention_spread=0.15)
MANY = Setting(n_critical=1000, n_non_critical=1000, n_test=1)


@dataclass(frozen=True)
class Statement:
    """A claim and what the model says of it."""

    claim: str
    found: str
    holds: bool


def course(run: Trajectory) -> str:
    """Reliance at the start, the peak and the end."""
    top = run.reliance[run.peak]
    return f"M {run.reliance[0]:.3f} → {top:.3f} at step {run.peak} → {run.reliance[-1]:.3f}"


def falls(run: Trajectory) -> float:
    """How far reliance falls from its peak."""
    return float(run.reliance.max() - run.reliance[-1])


def attention_first() -> Statement:
    """Early in training the attention moves to the context."""
    run = simulate(GOLDEN)
    told = f"attention {run.attention[0]:.3f} → {run.attention.max():.3f}; push at step 0 {start_push(GOLDEN):+.3f}"
    return Statement("more attention to the context at first", told, bool(run.push[0] > 0))


def attention_later() -> Statement:
    """Later it moves back to the subject."""
    run = simulate(GOLDEN)
    told = f"attention {run.attention.max():.3f} → {run.attention[-1]:.3f}; push changes sign at step {turn(run)}"
    return Statement("less attention to the context later", told, bool(run.attention[-1] < run.attention.max() - 0.1))


def turn(run: Trajectory) -> int:
    """The first step at which the push is negative."""
    return int(np.flatnonzero(run.push < 0)[0])


def inversion() -> Statement:
    """Reliance inverts while the loss falls."""
    run = simulate(GOLDEN)
    first, last = run.context_wins or (-1, -1)
    told = f"{course(run)}; context wins for t = {first}…{last}, above an attention of {flip_attention(GOLDEN):.3f}"
    return Statement(
        "reliance rises and falls while the loss falls", told, falls(run) > 0.1 and bool((np.diff(run.loss) < 0).all())
    )


def gradients_cross() -> Statement:
    """Critical points dominate the gradient at first, non-critical ones later."""
    run = simulate(GOLDEN)
    ratio = run.gradient_critical / np.abs(run.gradient_non_critical)
    told = f"|critical| / |non-critical| {ratio[0]:.2f} → {ratio.min():.2f} → {ratio[-1]:.2f}"
    return Statement(
        "critical points pull harder at first, non-critical ones after the peak",
        told,
        bool(ratio[0] > 1 > ratio[turn(run)]),
    )


def critical_only() -> Statement:
    """Without non-critical points there is no fall."""
    run = simulate(replace(GOLDEN, n_non_critical=0))
    return Statement("critical points alone: monotone", course(run), bool((np.diff(run.reliance) > 0).all()))


def over_seeds(change: dict[str, float]) -> tuple[float, float]:
    """Mean peak and mean end over heterogeneous seeds."""
    runs = [simulate(replace(VARIED, seed=seed, **change)) for seed in range(64)]
    return float(np.mean([run.reliance.max() for run in runs])), float(np.mean([run.reliance[-1] for run in runs]))


def heterogeneous() -> Iterator[Statement]:
    """What mitigates, over 64 seeds of points that differ."""
    peak, end = over_seeds({})
    base = peak - end
    yield Statement("points that differ: it inverts all the same", f"M peak {peak:.3f} → {end:.3f}", base > 0.1)
    cases = {
        "filtering the best-known 25 % weakens the fall": {"filtered": 0.25},
        "dropping a random half of the non-critical points does, too": {"n_non_critical": 5},
        "two counterfactual points among 22 weaken it": {"n_counterfactual": 2},
    }
    for claim, change in cases.items():
        peak, end = over_seeds(change)
        yield Statement(claim, f"M peak {peak:.3f} → {end:.3f}", peak - end < base and end > 0.521)
    peak, end = over_seeds({"n_recall": 10})
    yield Statement("ten recall points push to memory", f"M peak {peak:.3f} → {end:.3f}", peak < 0.7)


def which_matrix() -> Iterator[Statement]:
    """Training W_V, alone or with W_KQ."""
    run = simulate(replace(GOLDEN, trained="v"))
    yield Statement(
        "W_V alone: conflicts about unnamed answers don't move", course(run), bool(np.ptp(run.reliance) == 0)
    )
    run = simulate(replace(GOLDEN, trained="both"))
    yield Statement(
        "both trained: values fit the loss, no inversion on unnamed answers", course(run), falls(run) < 0.01
    )


def closed_forms() -> Statement:
    """The attention in the end, without simulation."""
    run = simulate(GOLDEN)
    return Statement(
        "the plateau in closed form",
        f"{plateau(GOLDEN):.3f}; step 600 {run.attention[-1]:.3f}",
        abs(run.attention[-1] - (plateau(GOLDEN) or 0)) < 0.01,
    )


def caveat() -> Iterator[Statement]:
    """Many points."""
    run = simulate(MANY)
    yield Statement(
        "CAVEAT 1,000 points each, ρ = 0: no inversion", course(run), bool((np.diff(run.reliance) > 0).all())
    )
    run = simulate(replace(MANY, known=0.1))
    yield Statement("CAVEAT 1,000 points each, ρ = .1: inversion", course(run), falls(run) > 0.1)
    more = replace(MANY, n_non_critical=1800)
    run, level, asymptote = simulate(more), crowded_plateau(more), late(more)
    told = f"{course(run)}, attention {run.attention.max():.3f} → {run.attention[-1]:.3f}"
    if level is not None and asymptote is not None:
        told += f"; infinitely many would stay at {level:.3f}, these drift by {asymptote.drift:+.3f} per e-fold"
    claim = "CAVEAT 1,800 non-critical points to 1,000 critical ones, ρ = 0: inversion"
    yield Statement(claim, told, falls(run) > 0.01 and bool(run.reliance.max() > run.reliance[0] + 0.01))


def statements() -> Iterator[Statement]:
    """All of them."""
    single: list[Callable[[], Statement]] = [
        attention_first,
        attention_later,
        inversion,
        gradients_cross,
        critical_only,
        closed_forms,
    ]
    yield from (statement() for statement in single)
    yield from which_matrix()
    yield from caveat()
    yield from heterogeneous()


def main() -> None:
    """Print a line per statement."""
    print("| statement | the model | holds |\n|---|---|---|")
    for each in statements():
        print(f"| {each.claim} | {each.found} | {'yes' if each.holds else 'NO'} |", flush=True)


if __name__ == "__main__":
    main()
