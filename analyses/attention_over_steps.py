"""Attention to the context and to the question over steps (figure 3b of the paper).

Attention mass of the last prompt token on all tokens of the context and of the question, as a mean over layers, heads
and conflict items. Below, how far the context's mass is beyond its share of the visible tokens, which the paper doesn't
show: a longer context gets more mass from any head. Mass isn't effect.
"""

from __future__ import annotations

import plotly.graph_objects as go

from analyses.drawing import Arguments, draw


def main(arguments: Arguments = None) -> go.Figure:
    """Draw it, write it."""
    return draw(__file__, __doc__, ("attention",), arguments, log_steps=True)


if __name__ == "__main__":
    main()
