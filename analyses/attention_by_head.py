"""Attention to the context head by head, a map per checkpoint (new).

Mean over conflict items of the mass that the last prompt token puts on the context. Whether the heads that lose mass
are those that matter, `attnshift plot TRACE mass_against_effect` shows.
"""

from __future__ import annotations

import plotly.graph_objects as go

from analyses.drawing import Arguments, draw


def main(arguments: Arguments = None) -> go.Figure:
    """Draw it, write it."""
    return draw(__file__, __doc__, ("attention_heads",), arguments)


if __name__ == "__main__":
    main()
