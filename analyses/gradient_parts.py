"""Which parts of the model the critical examples' gradient lies on (new).

Percent of the squared gradient norm by layer and kind of part, a map per checkpoint; the parts are a partition, so they
sum to 100 %. A norm says where training could move much, not where it moves.
"""

from __future__ import annotations

import plotly.graph_objects as go

from analyses.drawing import Arguments, draw


def main(arguments: Arguments = None) -> go.Figure:
    """Draw it, write it."""
    return draw(__file__, __doc__, ("parts",), arguments)


if __name__ == "__main__":
    main()
