"""The paper's one-layer model of context-parametric inversion, exact and in numpy: play with it, or fit it to a run.

``simulate(Setting())`` runs the homogeneous golden setting; docs/theory.md has every symbol, its source and what the
model doesn't say.
"""

from attnshift.theory.closed_form import (
    Late,
    crowded_plateau,
    flip_attention,
    invariant,
    late,
    plateau,
    start_push,
)
from attnshift.theory.homogeneous import Gaps, follow_gaps
from attnshift.theory.phases import PHASES, PhaseDiagram, phase_diagram, phase_of
from attnshift.theory.setting import Setting
from attnshift.theory.simulation import Trajectory, simulate

__all__ = [
    "PHASES",
    "Gaps",
    "Late",
    "PhaseDiagram",
    "Setting",
    "Trajectory",
    "crowded_plateau",
    "flip_attention",
    "follow_gaps",
    "invariant",
    "late",
    "phase_diagram",
    "phase_of",
    "plateau",
    "simulate",
    "start_push",
]
