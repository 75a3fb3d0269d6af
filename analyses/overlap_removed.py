"""Full data against data without what the evaluation is about (figure 4a of the paper).

`attnshift finetune --arm no-overlap` drops examples that name an entity of the conflict items; the paper's fall
persists. `python -m analyses.overlap_removed full=A/trace no-overlap=B/trace`. The organism's evaluation subjects never
occur in its finetuning data: its one curve is the one without overlap, and it falls.
"""

from __future__ import annotations

import plotly.graph_objects as go

from analyses.drawing import Arguments, overlay


def main(arguments: Arguments = None) -> go.Figure:
    """Draw it, write it."""
    return overlay(__file__, __doc__, {"overlap removed": "full"}, arguments, log_steps=True)


if __name__ == "__main__":
    main()
