"""`attnshift theory`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from attnshift.cli.app import DebugFlag, JsonFlag, app, note, show

if TYPE_CHECKING:
    from attnshift.theory import PhaseDiagram, Trajectory


@app.command()
def theory(
    n_critical: Annotated[int, typer.Option(help="Points that need their context.")] = 10,
    n_non_critical: Annotated[
        int, typer.Option("--n-noncritical", "--n-non-critical", help="Points whose context repeats memory.")
    ] = 10,
    n_recall: Annotated[int, typer.Option(help="Points without a context.")] = 0,
    n_counterfactual: Annotated[int, typer.Option(help="Points whose context contradicts memory.")] = 0,
    n_test: Annotated[int, typer.Option(help="Unseen conflicts.")] = 200,
    n_answers: Annotated[int, typer.Option(help="K_A.")] = 200,
    n_subjects: Annotated[int, typer.Option(help="K_S.")] = 40,
    delta_context: Annotated[float, typer.Option(help="What the context alone gives its answer.")] = 0.1,
    delta_memory: Annotated[float, typer.Option(help="What memory alone gives its answer.")] = 0.5,
    answer_logit: Annotated[float, typer.Option(help="o_c.")] = 0.5,
    relation_logit: Annotated[float, typer.Option(help="o_r.")] = 0.1,
    known: Annotated[float, typer.Option("--known", "--rho", help="ρ, direction that known subjects share.")] = 0.0,
    spread: Annotated[float, typer.Option(help="Spread of the points' log-odds; 0 is homogeneous.")] = 0.0,
    attention_spread: Annotated[float, typer.Option(help="Spread of the conflicts' attention at the start.")] = 0.0,
    filtered: Annotated[
        float, typer.Option(help="Part of the points with context that is dropped, best known first.")
    ] = 0.0,
    trained: Annotated[str, typer.Option(help="qk, v or both.")] = "qk",
    learning_rate: Annotated[float, typer.Option(help="Of full-batch gradient descent.")] = 1.0,
    steps: Annotated[int, typer.Option(help="Updates.")] = 600,
    seed: Annotated[int, typer.Option(help="Of what is drawn where there is a spread.")] = 0,
    phases: Annotated[bool, typer.Option("--phases", help="Where the inversion comes at all, instead.")] = False,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="fig.html, .pdf, .svg, .png, .json or .csv.")] = None,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Run the paper's one-layer theory: when the inversion must come, and when it can't."""
    from attnshift.console.theory import phases_facts, phases_text, theory_facts, theory_text
    from attnshift.theory import Setting, Trajectory, phase_diagram, simulate

    setting = Setting(
        n_critical=n_critical,
        n_non_critical=n_non_critical,
        n_recall=n_recall,
        n_counterfactual=n_counterfactual,
        n_test=n_test,
        n_answers=n_answers,
        n_subjects=n_subjects,
        delta_context=delta_context,
        delta_memory=delta_memory,
        answer_logit=answer_logit,
        relation_logit=relation_logit,
        known=known,
        spread=spread,
        attention_spread=attention_spread,
        filtered=filtered,
        trained=trained,  # type: ignore[arg-type]  # a wrong one is refused
        learning_rate=learning_rate,
        steps=steps,
        seed=seed,
    )
    run = phase_diagram(setting) if phases else simulate(setting)
    if out is not None or not as_json:
        note(f"drawn: {_draw(run, out or Path('theory.html'))}")
    if isinstance(run, Trajectory):
        show(theory_facts(run), theory_text, as_json)
    else:
        show(phases_facts(run), phases_text, as_json)


def _draw(run: Trajectory | PhaseDiagram, out: Path) -> Path:
    from attnshift.figures import theory as figures
    from attnshift.figures.export import write_figure
    from attnshift.theory import Trajectory

    return write_figure(figures.trajectory(run) if isinstance(run, Trajectory) else figures.phases(run), out)
