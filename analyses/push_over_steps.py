"""Where one step of SGD on each group of examples would push the model (new).

First-order change of the mean margin and of the mean context mass per unit learning rate. In the one-layer theory the
total changes sign at the peak; on real runs that is a hypothesis, which `analyses.push` tests on the organism: there it
doesn't foretell the next change.
"""

from __future__ import annotations

import plotly.graph_objects as go

from analyses.drawing import Arguments, draw


def main(arguments: Arguments = None) -> go.Figure:
    """Draw it, write it."""
    return draw(__file__, __doc__, ("push",), arguments, log_steps=True)


if __name__ == "__main__":
    main()
