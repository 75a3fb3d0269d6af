"""Set after set of weights is grafted and measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool

from attnshift.errors import AttnshiftError
from attnshift.interventions.plan import Graft, candidates, plan_grafts
from attnshift.interventions.reading import Reader, measure
from attnshift.interventions.save import save_grafted
from attnshift.interventions.search import Goal, Search, Wanted, search
from attnshift.interventions.setup import RELIANCE, Bench
from attnshift.interventions.units import Grafts, choose_units, tensors_of, views_of
from attnshift.tracing.budget import TokenBudget

Say = Callable[[str], None]


@dataclass(frozen=True)
class Grafted:
    """Everything that grafting gave."""

    planned: Sequence[Graft]
    values: Sequence[Mapping[str, np.ndarray]]
    """by graft, the measures by name"""
    source: Mapping[str, np.ndarray]
    target: Mapping[str, np.ndarray]
    judged: Bool[np.ndarray, "item"]
    """the items that a search saw"""
    search: Search | None
    wanted: Wanted | None
    evaluations: int
    """models that were measured"""


@dataclass(frozen=True)
class Grafting:
    """A model that is the target, ready to be grafted on."""

    reader: Reader
    names: tuple[str, ...]
    """of the measures"""
    source: Mapping[str, np.ndarray]
    """what they are of the source itself"""

    @classmethod
    def of(cls, bench: Bench) -> Grafting:
        """Measure the source and keep its weights; then load the target."""
        skeleton, tokens = bench.skeleton(bench.pair.target), bench.job.inputs.item_tokens
        names = (*RELIANCE, "loss") if bench.job.inputs.examples else RELIANCE
        longest = max(len(t.prompt) for t in tokens) + bench.job.settings.max_new_tokens
        budget = TokenBudget(bench.job.settings.token_budget, longest)
        skeleton.load(bench.pair.source.checkpoint)
        itself = measure(bench, skeleton, names, budget)
        live = tensors_of(skeleton.model, skeleton.adapter_tensors())
        kept = {name: tensor.detach().clone() for name, tensor in live.items()}
        skeleton.load(bench.pair.target.checkpoint)
        built = skeleton.model, skeleton.adapter_tensors()  # loading may have made another model
        grafts = Grafts(tensors_of(*built), kept, views_of(*built))
        return cls(Reader(bench, skeleton, grafts, budget), names, itself)

    def run(
        self,
        parts: Sequence[str],
        axes: Sequence[str],
        sets: Sequence[str],
        wanted: Wanted | None,
        save: str | Path | None,
        say: Say,
    ) -> Grafted:
        """Graft all that is planned, search, save; the controls are seen to."""
        reader, grafts = self.reader, self.reader.grafts
        units = choose_units(grafts.units, parts)
        planned, found = plan_grafts(units, axes, sets), None
        target = reader.read((), self.names)
        judged = np.zeros(len(target["margin"]), np.bool_)
        self._check_full()
        if wanted is not None:
            judged = self._half(wanted.seed)
            found = search(self._goal(target, wanted, judged, say), candidates(units, axes))
            planned += _searched(found)
        values = []
        for number, each in enumerate(planned, 1):
            values.append(reader.read(each.units, self.names))
            if number % 10 == 0 or number == len(planned):
                say(f"{number} of {len(planned)} grafts")
        if save is not None:
            chosen = frozenset(units) if found is None else found.found
            grafts.graft(chosen)
            save_grafted(reader.bench, reader.skeleton, chosen, Path(save))
            say(f"saved: {save}")
        self._check_undone(target)
        return Grafted(tuple(planned), values, self.source, target, judged, found, wanted, reader.evaluations)

    def _check_full(self) -> None:
        """Raise AttnshiftError unless the target with everything grafted is the source."""
        whole = self.reader.read(self.reader.grafts.units, ("margin",))["margin"]
        if not np.array_equal(whole, self.source["margin"], equal_nan=True):
            raise AttnshiftError(
                "the target with all of the source's weights isn't the source: "
                f"margins differ by up to {np.nanmax(np.abs(whole - self.source['margin'])):.2g} nats",
                expected="a model whose parameters are all that its checkpoints differ in",
                remedy="report its family",
            )

    def _check_undone(self, target: Mapping[str, np.ndarray]) -> None:
        reader = self.reader
        reader.grafts.graft(())
        again = measure(reader.bench, reader.skeleton, ("margin",), reader.budget)["margin"]
        assert np.array_equal(again, target["margin"], equal_nan=True), "the target didn't come back"  # noqa: S101

    def _half(self, seed: int) -> Bool[np.ndarray, "item"]:
        """The items of a random half of the clusters; all where there is one cluster."""
        items = self.reader.bench.job.inputs.items
        clusters, code = np.unique([str(item.cluster) for item in items], return_inverse=True)
        if len(clusters) == 1:
            return np.ones(len(code), np.bool_)
        chosen = np.random.default_rng(seed).permutation(len(clusters)) < len(clusters) / 2
        return np.asarray(chosen[code])

    def _goal(
        self, target: Mapping[str, np.ndarray], wanted: Wanted, judged: Bool[np.ndarray, "item"], say: Say
    ) -> Goal:
        """What a search is after; a criterion by which nothing was lost is left out, aloud."""
        kept = []
        for name in wanted.criteria:
            if np.nanmean(self.source[name][judged]) == np.nanmean(target[name][judged]):
                say(f"{name} is the same in source and target: nothing to restore")
            else:
                kept.append(name)
        if not kept:
            raise AttnshiftError(
                "there is nothing to search for: source and target are the same by every criterion",
                expected="a reliance that changed",
            )
        read = self.reader.read
        return Goal(lambda units, name: read(units, (name,))[name], self.source, target, kept, wanted.share, judged)


def _searched(found: Search) -> list[Graft]:
    grown = [Graft("search", f"search {n}", units, layer=n) for n, units in enumerate(found.path, 1)]
    return [*grown, Graft("found", "found", found.found)]
