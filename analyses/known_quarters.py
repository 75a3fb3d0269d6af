"""Loss by how well an example's answer was known before finetuning (new).

The examples with a context in quarters of their loss without it at the first step; mean loss with and, below, without
the context. The paper's non-critical examples are the first quarter.
"""

from __future__ import annotations

import plotly.graph_objects as go

from analyses.drawing import Arguments, draw


def main(arguments: Arguments = None) -> go.Figure:
    """Draw it, write it."""
    return draw(__file__, __doc__, ("quartiles",), arguments, log_steps=True)


if __name__ == "__main__":
    main()
