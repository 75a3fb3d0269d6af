"""Context reliance against accuracy on the finetuning task (figure 4c of the paper).

The paper finetunes on SQuAD, where every example needs its context, and still sees context reliance fall while SQuAD
accuracy rises. Trace a run that was finetuned on SQuAD with `--ift squad.json`, part of it held out: the x axis is the
exact match on the held-out examples. The organism stands in with its own task: half of its examples need their context.
"""

from __future__ import annotations

import plotly.graph_objects as go

from analyses.drawing import Arguments, draw


def main(arguments: Arguments = None) -> go.Figure:
    """Draw it, write it."""
    return draw(__file__, __doc__, ("heldout",), arguments)


if __name__ == "__main__":
    main()
