# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # A figure for a paper, from start to end
#
# The inversion of a traced run in one column: the numbers for the text, the figure, the files. Here the demo's trace;
# put your own in its place.

# %%
import os
import tempfile
from pathlib import Path

import attnshift
from attnshift import AttnshiftError

trace = attnshift.open_trace(Path(os.environ.get("ATTNSHIFT_DEMO", "../demo")) / "trace")
folder = Path(tempfile.mkdtemp())

# %% [markdown]
# What the text may say: peak, end, and whether the fall is more than neighbouring checkpoints jump anyway.

# %%
print("\n".join(attnshift.verdict(trace).sentences()))

# %% [markdown]
# The figure, exactly one column (3.25 inches) wide. Its title is left to the caption.

# %%
figure = attnshift.plot(trace, "inversion", width="one", log_steps=True)
figure

# %% [markdown]
# As a file. A pdf (fonts embedded) or svg needs Chrome or Chromium; the numbers drawn are a csv in any case, and belong
# beside the figure.

# %%
try:
    attnshift.plot(trace, "inversion", folder / "inversion.pdf", width="one", log_steps=True)
except AttnshiftError as error:
    print(error)
attnshift.plot(trace, "inversion", folder / "inversion.csv", width="one", log_steps=True)
for file in sorted(folder.iterdir()):
    print(file.name, f"{file.stat().st_size / 1000:.0f} kB")
print((folder / "inversion.csv").read_text().partition("\n")[0])

# %% [markdown]
# Every figure of the paper has such a script: `python -m analyses.accuracy_over_steps TRACE -o fig.pdf --width one`;
# the table is in `analyses/README.md`. An axis of your own is a line, as figures are plotly's:

# %%
figure.layout.yaxis.title.text = "% of items"
figure
