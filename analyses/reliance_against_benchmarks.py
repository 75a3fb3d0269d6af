"""Context reliance against what else is learnt (figures 1, 2, 6 to 10, 12 and 13 of the paper).

Counterfactual and parametric accuracy against the mean of the benchmarks, checkpoint after checkpoint: if the curve
turns back while it moves to the right, the model gets better at everything but its context. Benchmarks come into a
trace by `attnshift trace --benchmarks` or `--benchmark-csv`. A trace without any, as the organism's, is drawn against
the accuracy on held-out finetuning examples. The paper's figures are this one for other models, data (6 to 10),
prompts (12) and full finetuning (13): name the trace of such a run.
"""

from __future__ import annotations

import plotly.graph_objects as go

from analyses.drawing import Arguments, draw


def main(arguments: Arguments = None) -> go.Figure:
    """Draw it, write it."""
    return draw(__file__, __doc__, ("benchmark", "heldout"), arguments)


if __name__ == "__main__":
    main()
