"""Counterfactual and parametric accuracy over steps (figures 3a and 11 of the paper).

Shares of the conflict items whose greedy answer contains the context's answer and the memorised one, with Wilson's 95 %
intervals; below, the attention mass that goes with them where it was traced. Peaks and ends of epochs are marked. For
figure 3a trace the memo-trap items (`--conflicts` reads them as they are), for figure 11 multiple-choice items.
"""

from __future__ import annotations

import plotly.graph_objects as go

from analyses.drawing import Arguments, draw


def main(arguments: Arguments = None) -> go.Figure:
    """Draw it, write it."""
    return draw(__file__, __doc__, ("inversion",), arguments, log_steps=True)


if __name__ == "__main__":
    main()
