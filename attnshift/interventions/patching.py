"""Group after group of items: the source's activations are caught, then every cell of the target is run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from jaxtyping import Float, Int8
from numpy.typing import NDArray

from attnshift.data.batches import length_batches
from attnshift.errors import CheckpointError
from attnshift.interventions.cells import Cell, Grid, read_parts, token_sets
from attnshift.interventions.controls import Controls, no_op_cells, stream_cell, writers_cell
from attnshift.interventions.patched import Cost, Target, Writer, catch, read_out
from attnshift.interventions.setup import Bench, Models
from attnshift.interventions.sites import PARTS, Site, has_middle
from attnshift.models.anatomy import anatomy
from attnshift.models.contrast import Contrast
from attnshift.scoring.labels import LABELS, label_answer
from attnshift.tracing.observe import generated_texts


@dataclass(frozen=True)
class Patches:
    """What was read, of the items whose answers part; NaN or -1 until a group of items is run."""

    grid: Grid
    grid_by_head: Grid | None
    source: Float[np.ndarray, "item"]
    """margins; nats"""
    target: Float[np.ndarray, "item"]
    source_readout: Float[np.ndarray, "item"]
    """of the target's stream, read by the source's final norm and unembedding"""
    patched: Float[np.ndarray, "cell item"]
    """by the cells of ``grid``, then those of ``grid_by_head``"""
    source_label: Int8[np.ndarray, "item"]
    """place in LABELS of whose answer is given; all -1 where nothing was generated"""
    target_label: Int8[np.ndarray, "item"]
    patched_label: Int8[np.ndarray, "cell item"]
    controls: Controls = field(default_factory=Controls)
    cost: Cost = field(default_factory=Cost)

    @property
    def cells(self) -> list[Cell]:
        """Of both grids."""
        return [*self.grid, *(self.grid_by_head or ())]

    @property
    def generated(self) -> bool:
        """Whether answers were generated and labelled."""
        return bool((self.source_label >= 0).all())

    @classmethod
    def unknown(cls, grid: Grid, by_head: Grid | None, items: int) -> Patches:
        """Nothing is read yet."""
        cells = len([*grid, *(by_head or ())])
        rows, labels = (np.full((cells + 3, items), fill) for fill in (np.nan, np.int8(-1)))
        return cls(grid, by_head, rows[0], rows[1], rows[2], rows[3:], labels[0], labels[1], labels[3:])


@dataclass(frozen=True)
class Patching:
    """One run over all items with one token budget."""

    bench: Bench
    models: Models
    places: Sequence[int]
    """of the items whose answers part, among all"""
    contrasts: Sequence[Contrast]
    token_budget: int

    def run(self, parts: Sequence[str], axes: frozenset[str], generate: bool, say: Callable[[str], None]) -> Patches:
        """Run every control and every cell; raises AttnshiftError where a control fails."""
        model = self.models.target()
        structure, middle = anatomy(model), has_middle(model, anatomy(model))
        found = Patches.unknown(*self._grids(parts, axes, middle, len(structure.blocks)), len(self.contrasts))
        sites = {Site(part, layer) for part in PARTS for layer in range(len(structure.blocks))}
        sites -= set() if middle else {site for site in sites if site.part == "resid_mid"}
        captured = min(self.bench.captured_budget, self.token_budget)
        groups = length_batches([len(c) + 1 for c in self.contrasts], captured)
        say(f"{len(found.cells)} cells, {len(self.contrasts)} items in {len(groups)} groups")
        for number, group in enumerate(groups, 1):
            self._group(group, found, sites, generate)
            if len(groups) > 1:
                say(
                    f"group {number} of {len(groups)}: {found.cost.sequences} prompts in {found.cost.forwards} forwards"
                )
        if not np.isfinite(found.patched).all():
            raise CheckpointError("patched margins are not numbers", expected="finite weights")
        dtypes = [self.models.target().dtype, self.models.source().dtype]
        found.controls.require(np.stack([found.source, found.target]), dtypes)
        return found

    def _grids(self, parts: Sequence[str], axes: frozenset[str], middle: bool, layers: int) -> tuple[Grid, Grid | None]:
        by_layer = tuple((layer,) for layer in range(layers)) if "layer" in axes else (tuple(range(layers)),)
        tokens = token_sets(self.contrasts, "role" in axes)
        heads = range(int(self.models.target().config.get_text_config().num_attention_heads))
        by_head = Grid(("z",), by_layer, tokens, tuple(heads)) if "head" in axes else None
        return Grid(read_parts(parts, middle), by_layer, tokens), by_head

    def _group(self, group: NDArray[np.intp], found: Patches, sites: set[Site], generate: bool) -> None:
        contrasts = [self.contrasts[i] for i in group]
        source = Target(self.models.source(), anatomy(self.models.source()), self.token_budget, found.cost)
        given = catch(source.model, source.parts, contrasts, sites)
        found.source[group] = self._clean(source, contrasts, found.controls)[1]
        if generate:
            found.source_label[group] = self._unpatched_labels(source.model, group)
        target = Target(self.models.target(), anatomy(self.models.target()), self.token_budget, found.cost)
        final, margins = self._clean(target, contrasts, found.controls)
        found.target[group] = margins
        self._no_op(target, contrasts, margins, sites, found.controls)
        layers = len(target.parts.blocks)
        full = {
            "full_stream": target.patched_rows(contrasts, given, stream_cell(layers)),
            "full_writers": target.patched_rows(contrasts, given, writers_cell(layers)),
        }
        patched = target.margins(contrasts, given, found.cells)
        found.patched[:, group] = np.where(np.isnan(patched), margins, patched)  # no such token: nothing is replaced
        if generate:
            found.target_label[group] = self._unpatched_labels(target.model, group)
            found.patched_label[:, group] = self._labels(target, group, contrasts, given, found)
        source = Target(self.models.source(), anatomy(self.models.source()), self.token_budget, found.cost)
        for name, rows in full.items():
            read = read_out(source.model, source.parts, rows, contrasts)
            found.controls.see(name, read - found.source[group])
        found.source_readout[group] = read_out(source.model, source.parts, final, contrasts)

    def _clean(self, model: Target, contrasts: Sequence[Contrast], controls: Controls) -> tuple[Any, np.ndarray]:
        """The stream behind the last layer and the margins, with the lens held against them."""
        final, margins = model.clean_rows(contrasts)
        controls.see("clean", read_out(model.model, model.parts, final, contrasts) - margins)
        return final, margins

    def _no_op(
        self, target: Target, contrasts: Sequence[Contrast], margins: np.ndarray, sites: set[Site], controls: Controls
    ) -> None:
        own = catch(target.model, target.parts, contrasts, sites)
        middle = any(site.part == "resid_mid" for site in sites)
        controls.see("no_op", target.margins(contrasts, own, no_op_cells(len(target.parts.blocks), middle)) - margins)

    def _unpatched_labels(self, model: Any, group: NDArray[np.intp]) -> Int8[np.ndarray, "item"]:
        written = self._writer(model).write(self._prompts(group), self.token_budget)
        return np.array([self._label(i, text) for i, text in zip(group, written, strict=True)], np.int8)

    def _labels(
        self, target: Target, group: NDArray[np.intp], contrasts: Sequence[Contrast], given: Any, found: Patches
    ) -> Int8[np.ndarray, "cell item"]:
        labels = np.tile(found.target_label[group], (len(found.cells), 1))
        written = target.continuations(contrasts, self._prompts(group), given, found.cells, self._writer(target.model))
        for (cell, item), text in written.items():
            labels[cell, item] = self._label(group[item], text)
        return labels

    def _writer(self, model: Any) -> Writer:
        job = self.bench.job

        def write(prompts: Sequence[NDArray[np.integer]], budget: int) -> list[str]:
            return generated_texts(model, job.tokenizer, prompts, replace(job.settings, token_budget=budget))

        return Writer(write, job.settings.max_new_tokens)

    def _prompts(self, group: NDArray[np.intp]) -> list[NDArray[np.integer]]:
        return [self.bench.job.inputs.item_tokens[self.places[i]].prompt.ids for i in group]

    def _label(self, contrast: int, text: str) -> int:
        item = self.bench.job.inputs.items[self.places[contrast]]
        answers = (item.context_answer, item.parametric_answer, item.context_aliases, item.parametric_aliases)
        return LABELS.index(label_answer(text, *answers))
