"""The one-layer model drawn: what a setting goes through, and where the inversion comes at all."""

from __future__ import annotations

from typing import Final

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float, Int
from plotly.subplots import make_subplots

from attnshift.figures.series import Series, StepAxis, draw, panels
from attnshift.figures.theme import COLOURS, LEGEND, REFERENCE, TEMPLATE, WIDTH, titled
from attnshift.stats.intervals import Interval
from attnshift.theory import PHASES, PhaseDiagram, Setting, Trajectory, flip_attention, phase_diagram, simulate

_TITLES: Final = (
    "share of conflicts",
    "attention to the context<br>(probability)",
    "gradient<br>(nats per unit of gap)",
)

_LOOKS: Final = {
    "no rise": (COLOURS["parametric"], "x-thin-open"),
    "monotone": (COLOURS["context"], "circle"),
    "plateau": (COLOURS["no_context"], "diamond"),
    "inversion": (COLOURS["non_critical"], "square"),
}


def theory(log_steps: bool = True) -> go.Figure:
    """The paper's one-layer model at its reference setting: reliance, attention and gradients over steps.

    `attnshift theory` draws it for any other setting.
    """
    return trajectory(simulate(Setting()), log_steps)


def theory_phases() -> go.Figure:
    """When the one-layer model inverts: by share of non-critical points, memory strength and known direction.

    `attnshift theory --phases` draws it for any other setting.
    """
    return phases(phase_diagram(Setting()))


def trajectory(run: Trajectory, log_steps: bool = True) -> go.Figure:
    """Context reliance, attention, and the pull of critical and non-critical points over the steps of the theory.

    First row: M = sigmoid(d), and the share of test conflicts with d > 0. Second row: attention of test conflicts and
    of both groups to their contexts, and the attention at which the preference flips. Third row: each group's part of
    the gradient on the attention gap; towards the context above 0.
    """
    axis = StepAxis(run.step, log_steps)
    figure = panels(axis, _TITLES, "The one-layer theory", describe(run.setting))
    draw(
        figure,
        axis,
        [
            _series("context reliance M", "context", run.reliance),
            _series("context wins", "faint", run.counterfactual_accuracy),
        ],
    )
    draw(
        figure,
        axis,
        [
            _series("test conflicts", "context", run.attention),
            _series("critical", "critical", run.attention_critical),
            _series("non_critical", "non_critical", run.attention_non_critical),
        ],
        row=2,
    )
    draw(
        figure,
        axis,
        [
            _series("critical", "critical", run.gradient_critical),
            _series("non_critical", "non_critical", run.gradient_non_critical),
            _series("push on test conflicts", "neutral", run.push),
        ],
        row=3,
    )
    figure.update_traces(mode="lines")
    if (flip := flip_attention(run.setting)) is not None:
        figure.add_hline(flip, row=2, line=REFERENCE, annotation={"text": "preference flips", "yshift": 8})
    figure.add_hline(0, row=3, line=REFERENCE)
    for row in (1, 2):
        figure.update_yaxes(range=[0, 1.02], row=row)
    return figure


def phases(diagram: PhaseDiagram) -> go.Figure:
    """Inversion, plateau, monotone rise or no rise: by share of non-critical points, memory strength and (panels) ρ."""
    columns = len(diagram.known)
    figure = make_subplots(1, columns, shared_yaxes=True, subplot_titles=[f"ρ = {rho:g}" for rho in diagram.known])
    n = diagram.setting.n_critical + diagram.setting.n_non_critical
    subtitle = f"{n:,} points, δ<sub>C</sub> = {diagram.setting.delta_context:g}, {diagram.setting.steps:,} steps"
    figure.update_layout(template=TEMPLATE, title_text=titled("When must the inversion come?", subtitle))
    figure.update_layout(width=WIDTH, height=430, margin={"t": 112, "b": 62, "l": 64, "r": 20})
    figure.layout.legend = LEGEND | {"y": 1.09}
    size = max(3.0, 0.8 * min(560 / columns / len(diagram.share), 250 / len(diagram.delta_memory)))
    for column in range(columns):
        for number, phase in enumerate(PHASES):
            rows, places = np.nonzero(diagram.phase[column] == number)
            colour, symbol = _LOOKS[phase]
            figure.add_trace(
                go.Scatter(
                    x=diagram.share[places].tolist(),
                    y=diagram.delta_memory[rows].tolist(),
                    name=phase,
                    legendgroup=phase,
                    showlegend=bool(rows.size) and _first(diagram, column, number),
                    mode="markers",
                    marker={"color": colour, "symbol": symbol, "size": size, "line": {"color": colour, "width": 1}},
                    hovertext=_told(diagram, column, rows, places),
                    hovertemplate=f"<b>{phase}</b><br>%{{hovertext}}<extra></extra>",
                ),
                row=1,
                col=column + 1,
            )
    figure.update_xaxes(range=[-0.05, 1.05])
    figure.update_xaxes(title_text="share of non-critical points", col=columns // 2 + 1)  # once for all panels
    figure.update_yaxes(range=[-0.03, 1.03])
    for column in range(1, columns + 1):
        figure.update_yaxes(title_text="memory strength δ<sub>M</sub>" if column == 1 else "", col=column)
    return figure


def describe(setting: Setting) -> str:
    """A setting in a line."""
    counts = {
        "critical": setting.n_critical,
        "non-critical": setting.n_non_critical,
        "counterfactual": setting.n_counterfactual,
        "recall": setting.n_recall,
    }
    told = ", ".join(f"{count:,} {kind}" for kind, count in counts.items() if count)
    filtered = f", {setting.filtered:.0%} filtered" * (setting.filtered > 0)
    deltas = f"δ<sub>C</sub> = {setting.delta_context:g}, δ<sub>M</sub> = {setting.delta_memory:g}"
    return f"{told} points{filtered}; {deltas}, ρ = {setting.known:g}; trained: {_MATRICES[setting.trained]}"


_MATRICES: Final = {"qk": "W<sub>KQ</sub>", "v": "W<sub>V</sub>", "both": "W<sub>KQ</sub> and W<sub>V</sub>"}


def _series(name: str, meaning: str, values: Float[np.ndarray, "step"]) -> Series:
    return Series(name, meaning, Interval.bare(values))


def _first(diagram: PhaseDiagram, column: int, number: int) -> bool:
    """Whether no panel further left shows the phase: the legend names it once."""
    return not (diagram.phase[:column] == number).any()


def _told(diagram: PhaseDiagram, column: int, rows: Int[np.ndarray, "at"], places: Int[np.ndarray, "at"]) -> list[str]:
    """Hover texts of the settings at some places."""
    numbers = zip(
        diagram.share[places],
        diagram.delta_memory[rows],
        diagram.rise[column, rows, places],
        diagram.fall[column, rows, places],
        strict=True,
    )
    return [f"share {at:.2f}, δ_M {m:.2f}<br>rises by {rise:.2f}, falls by {fall:.2f}" for at, m, rise, fall in numbers]
