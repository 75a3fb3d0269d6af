"""Full data, examples with a context, critical examples, and as many drawn at random (figure 4b of the paper).

Without the examples that memory answers the fall goes; dropping as many at random, the control that the paper lacks,
doesn't do it. `python -m analyses.critical_only full=A/trace context-only=B/trace critical=C/trace random=D/trace`, of
runs by `attnshift finetune --arm`. All of the organism's examples have a context, so its full arm is context-only too.
"""

from __future__ import annotations

import plotly.graph_objects as go

from analyses.drawing import Arguments, overlay

ARMS = {"full": "full", "random drop": "random-drop", "critical": "critical"}


def main(arguments: Arguments = None) -> go.Figure:
    """Draw it, write it."""
    return overlay(__file__, __doc__, ARMS, arguments, log_steps=True)


if __name__ == "__main__":
    main()
