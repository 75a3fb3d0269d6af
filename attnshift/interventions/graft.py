"""Weights of one checkpoint put into another: which of them brought what was lost?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import xarray as xr

from attnshift.data.items import Example, Item
from attnshift.interventions.fit import refuse_ungraftable
from attnshift.interventions.graft_result import graft_dataset
from attnshift.interventions.grafting import Grafting
from attnshift.interventions.pair import find_pair
from attnshift.interventions.plan import read_axes
from attnshift.interventions.save import refuse_existing
from attnshift.interventions.search import CRITERIA, SHARE, Wanted
from attnshift.interventions.setup import set_up
from attnshift.interventions.stored import write_result
from attnshift.interventions.units import ALL_PARTS


def graft(
    source: str | int | Path,
    target: str | int | Path,
    *,
    run: str | Path | None = None,
    base: str | None = None,
    trace: str | Path | None = None,
    items: Sequence[Item] | None = None,
    examples: Sequence[Example] | None = None,
    parts: Sequence[str] = (ALL_PARTS,),
    by: Sequence[str] = ("unit", "part", "layer"),
    sets: Sequence[str] = (),
    search: bool = False,
    criteria: Sequence[str] = CRITERIA,
    share: float = SHARE,
    save: str | Path | None = None,
    out: str | Path | None = None,
    say: Callable[[str], None] | None = None,
    **options: Any,
) -> xr.Dataset:
    """Put weights of one checkpoint into another and see how much of the difference comes back, and what it costs.

    Units are parts in layers (``0.q``, ``3.mlp``, ``embed``, …; fused matrices are split) and, for adapters, adapted
    modules. Each set of units is measured whole: ``margin`` and greedy answers of the conflict items, ``loss`` of the
    held-out examples. ``restoration_margin`` is (grafted - target) / (source - target) of the mean margins. Grafting
    everything gives the source bit for bit; that it gives the source's margins is checked in every run, and that the
    target is itself again at the end.

    Parameters
    ----------
    source, target, run, base, trace
        As in `attnshift.interventions.pair.find_pair`. Two full checkpoints, or two adapters to one base.
    items, examples
        By default what the target's run names, else the sets that ship. Without examples the loss is left out.
    parts
        Which units: ``q``, ``mlp:3``, ``v:0-5+9``, ``embed``, ``all``; of adapters ``q_proj``, ``self_attn.q_proj``, …
    by
        What is grafted beside all of them together: each ``unit``, each ``part`` in all layers (and all but it), each
        ``layer`` (and all up to it, and all from it on).
    sets
        Sets of parts to graft together, such as ``q,k`` or ``v,o:0-3``.
    search, criteria, share
        Look for the smallest set that restores ``share`` of what was lost by every criterion (``margin``,
        ``counterfactual_accuracy``), by the finest axis of ``by``: greedily, so a smaller one may exist. It sees a
        random half of the clusters of items; ``restoration_…_confirmed`` is of the other half.
    save
        A folder to write the target with all the units (or, of a search, the found ones) to: an ordinary checkpoint.
    out, say
        A file (.nc) or a folder for the result (nothing is written by default); called with lines on what is done.
    options
        As in `attnshift.trace`: ``limit, seed, template, tokenizer, token_budget, max_new_tokens, dtype, device``.

    Raises
    ------
    AttnshiftError
        For checkpoints that aren't there or don't fit, parts that the model lacks, a folder that exists already.
    """
    say = say or (lambda line: None)
    axes, pair = read_axes(by), find_pair(source, target, run, base, trace)
    refuse_ungraftable(pair)
    refuse_existing(save)
    wanted = Wanted(tuple(criteria), share, options.get("seed", 0)) if search else None
    bench = set_up(pair, items=items, examples=examples, with_examples=True, **options)
    for note in bench.job.notes:
        say(note)
    result = graft_dataset(bench, Grafting.of(bench).run(parts, axes, sets, wanted, save, say))
    if out is not None:
        say(f"written: {write_result(result, out, 'graft')}")
    return result
