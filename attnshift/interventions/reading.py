"""What a grafted model answers and loses, each set of units measured once."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from attnshift.interventions.setup import Bench
from attnshift.interventions.units import Grafts, Unit
from attnshift.measures.catalogue import choose_measures
from attnshift.models.skeleton import Skeleton
from attnshift.tracing.budget import TokenBudget
from attnshift.tracing.observe import needs_of, observe


@dataclass
class Reader:
    """Measures of a trace, taken of one model with any units grafted."""

    bench: Bench
    skeleton: Skeleton
    grafts: Grafts
    budget: TokenBudget
    evaluations: int = 0
    """models that were measured"""
    _known: dict[frozenset[Unit], dict[str, np.ndarray]] = field(default_factory=dict)

    def read(self, units: Collection[Unit], names: Sequence[str]) -> dict[str, np.ndarray]:
        """Measures by name, each per item or example; what is known already isn't measured again."""
        known = self._known.setdefault(frozenset(units), {})
        if lacking := [name for name in names if name not in known]:
            self.grafts.graft(units)
            known |= measure(self.bench, self.skeleton, lacking, self.budget)
            self.evaluations += 1
        return {name: known[name] for name in names}


def measure(bench: Bench, skeleton: Skeleton, names: Sequence[str], budget: TokenBudget) -> dict[str, np.ndarray]:
    """Measures of the model as it is now."""
    job, measures = bench.job, choose_measures(names)
    seen = budget.run(
        lambda tokens: observe(
            skeleton, job.tokenizer, job.inputs, needs_of(measures), replace(job.settings, token_budget=tokens)
        )
    )
    return {one.name: np.asarray(one.compute(seen), np.float64) for one in measures}
