"""What may mitigate the fall: counterfactual augmentation, and training W_Q and W_K alone (figures 5a and 5b).

`python -m analyses.mitigations standard=A/trace augmented=B/trace qk=C/trace`, of runs by `attnshift finetune --arm`.
In the paper augmentation helps conflicts of its own type, and QK-only some sets at a cost in benchmarks. The organism
never learns to follow its context with W_Q and W_K alone: its QK-only curve stays near zero.
"""

from __future__ import annotations

import plotly.graph_objects as go

from analyses.drawing import Arguments, overlay

ARMS = {"standard": "full", "augmented": "augmented", "QK only": "qk"}


def main(arguments: Arguments = None) -> go.Figure:
    """Draw it, write it."""
    return overlay(__file__, __doc__, ARMS, arguments, log_steps=True)


if __name__ == "__main__":
    main()
