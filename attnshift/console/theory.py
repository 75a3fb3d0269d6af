"""The one-layer theory, as `attnshift theory` tells it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from attnshift.theory import PhaseDiagram, Trajectory

_COLUMNS = (
    "step",
    "attention",
    "reliance",
    "counterfactual_accuracy",
    "gradient_critical",
    "gradient_non_critical",
    "loss",
    "gradient_counterfactual",
    "gradient_recall",
    "push",
    "attention_critical",
    "attention_non_critical",
)


def theory_facts(run: Trajectory) -> dict[str, Any]:
    """A trajectory as plain data: a list per quantity, and what has a closed form."""
    from attnshift.theory import PHASES, crowded_plateau, flip_attention, late, phase_of, plateau, start_push

    asymptote = late(run.setting)
    return {
        "setting": asdict(run.setting),
        **{name: _plain(getattr(run, name)) for name in _COLUMNS},
        "summary": {
            "phase": PHASES[int(phase_of(run.reliance, run.ceiling))],
            "start": float(run.reliance[0]),
            "peak": float(run.reliance[run.peak]),
            "peak_step": run.peak,
            "end": float(run.reliance[-1]),
            "context_wins": None if run.context_wins is None else list(run.context_wins),
        },
        "closed_form": {
            "flip_attention": flip_attention(run.setting),
            "start_push": start_push(run.setting),
            "late_drift": None if asymptote is None else asymptote.drift,
            "late_constant": None if asymptote is None else asymptote.constant,
            "plateau_attention": plateau(run.setting),
            "crowded_plateau_attention": crowded_plateau(run.setting),
        },
    }


def theory_text(facts: Mapping[str, Any]) -> str:
    """A trajectory as lines."""
    told, closed = facts["summary"], facts["closed_form"]
    wins = told["context_wins"]
    lines = [
        f"phase      {told['phase']}",
        f"reliance   {told['start']:.3f} -> {told['peak']:.3f} at step {told['peak_step']} -> {told['end']:.3f}",
        f"attention  {facts['attention'][0]:.3f} -> {max(facts['attention']):.3f} -> {facts['attention'][-1]:.3f}",
        f"loss       {facts['loss'][0]:.3f} -> {facts['loss'][-1]:.3f} nats",
        f"context    {'never wins' if wins is None else f'wins from step {wins[0]} to {wins[1]}'}",
    ]
    names = {
        "flip_attention": "attention at which the preference flips",
        "start_push": "push at step 0; above 0 attention to the context rises at first",
        "late_drift": "change of the attention gap per e-fold of steps, in the end",
        "plateau_attention": "attention in the end",
        "crowded_plateau_attention": "attention in the end if there were very many points",
    }
    said = [f"{closed[key]:+.3f}     {text}" for key, text in names.items() if closed[key] is not None]
    return "\n".join([*lines, "", "in closed form:", *said]) if said else "\n".join(lines)


def phases_facts(diagram: PhaseDiagram) -> dict[str, Any]:
    """A phase diagram as plain data; ``phase`` is by ρ, memory strength and share, in words."""
    from attnshift.theory import PHASES

    return {
        "setting": asdict(diagram.setting),
        "known": diagram.known.tolist(),
        "delta_memory": diagram.delta_memory.tolist(),
        "share_non_critical": diagram.share.tolist(),
        "phase": np.array(PHASES)[diagram.phase].tolist(),
        "rise": diagram.rise.tolist(),
        "fall": diagram.fall.tolist(),
    }


def phases_text(facts: Mapping[str, Any]) -> str:
    """A phase diagram as a letter per setting."""
    blocks = ["share of non-critical points from left to right; n no rise, m monotone, p plateau, i inversion"]
    for rho, grid in zip(facts["known"], facts["phase"], strict=True):
        rows = [
            f"  δ_M {memory:.2f}  {''.join(phase[0] for phase in row)}"
            for memory, row in zip(facts["delta_memory"], grid, strict=True)
        ]
        blocks.append("\n".join([f"ρ = {rho:g}", *reversed(rows)]))
    return "\n\n".join(blocks)


def _plain(values: np.ndarray) -> list[Any]:
    """Numbers as JSON knows them: nothing where there is none."""
    return [None if value != value else value for value in values.tolist()]
