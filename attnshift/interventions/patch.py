"""Activations of one checkpoint put into another: where is what was lost?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import xarray as xr

from attnshift.data.items import Item
from attnshift.interventions.cells import read_axes, read_parts
from attnshift.interventions.pair import find_pair
from attnshift.interventions.patch_result import patch_dataset
from attnshift.interventions.patching import Patching
from attnshift.interventions.setup import Models, set_up
from attnshift.interventions.stored import write_result
from attnshift.models.contrast import item_contrasts
from attnshift.tracing.budget import TokenBudget

PATCHED = ("resid", "attn", "mlp", "z")
"""What is patched unless something else is asked for."""


def patch(
    source: str | int | Path,
    target: str | int | Path,
    *,
    run: str | Path | None = None,
    base: str | None = None,
    trace: str | Path | None = None,
    items: Sequence[Item] | None = None,
    parts: Sequence[str] = PATCHED,
    by: Sequence[str] = ("layer", "role"),
    generate: bool = True,
    out: str | Path | None = None,
    say: Callable[[str], None] | None = None,
    **options: Any,
) -> xr.Dataset:
    """Put activations of one checkpoint into another and see how much of the difference comes back.

    The same prompts go through both, so positions align. ``patched_margin`` is the target's margin (at the first token
    in which the two answers differ, as ``margin_first_token``) with one part replaced in one layer at the tokens of one
    role, everything after it computed by the target; ``restoration`` is (patched - target) / (source - target) of the
    means. Generated answers are patched in the prompt alone. In every run: unpatched the lens equals the models' own
    margins, the target's own activations change nothing, all of the source's activations give its margin; the largest
    deviations are stored, and more than rounding is refused.

    Parameters
    ----------
    source, target, run, base, trace
        As in `attnshift.interventions.pair.find_pair`.
    items
        Conflict items; by default what the target's run names, else the set that ships.
    parts
        ``resid`` (``resid_pre``, ``resid_mid``, ``resid_post``), ``attn``, ``mlp``, ``z``.
    by
        Axes to tell apart: ``layer`` (else all layers at once), ``role`` (else all tokens at once), ``head`` (adds
        ``z`` head by head).
    generate
        Whether answers are generated too, and labelled by `attnshift.label_answer`.
    out
        A file (.nc) or a folder; nothing is written by default.
    say
        Called with lines on what is being done.
    options
        ``limit, seed, template, tokenizer, token_budget, max_new_tokens, dtype, device`` as in `attnshift.trace`.

    Raises
    ------
    AttnshiftError
        For checkpoints that aren't there or don't fit, a part that the model lacks, items whose answers never part, a
        control that fails.
    """
    say = say or (lambda line: None)
    axes, _ = read_axes(by), read_parts(parts, middle=True)  # before anything is loaded
    bench = set_up(find_pair(source, target, run, base, trace), items=items, **options)
    for note in bench.job.notes:
        say(note)
    models, tokens = Models.of(bench), bench.job.inputs.item_tokens
    longest = max(len(t.prompt) for t in tokens) + bench.job.settings.max_new_tokens
    places, contrasts = item_contrasts(tokens)
    budget = TokenBudget(bench.job.settings.token_budget, longest)
    found = budget.run(lambda size: Patching(bench, models, places, contrasts, size).run(parts, axes, generate, say))
    result = patch_dataset(bench, places, found, axes)
    if out is not None:
        say(f"written: {write_result(result, out, 'patch')}")
    return result
