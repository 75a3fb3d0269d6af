"""Whose answer every conflict item gets at every checkpoint (new).

A row per item, a column per checkpoint: the answer asserts the context's, the memorised one, both or neither. A mean
that falls may be many items that flip once or few that flip often; the raster tells which.
"""

from __future__ import annotations

import plotly.graph_objects as go

from analyses.drawing import Arguments, draw


def main(arguments: Arguments = None) -> go.Figure:
    """Draw it, write it."""
    return draw(__file__, __doc__, ("labels",), arguments)


if __name__ == "__main__":
    main()
