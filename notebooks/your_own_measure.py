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
# # Your own measure
#
# A measure is a frozen dataclass: what it is called, its unit, its dims, what it needs to have observed, its formula.
# One pass over each checkpoint serves all measures that are asked for. The run is the demo's.

# %%
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import attnshift

out = Path(tempfile.mkdtemp()) / "trace"
series = attnshift.open_series(Path(os.environ.get("ATTNSHIFT_DEMO", "../demo")) / "run")


@dataclass(frozen=True)
class Surprise(attnshift.Measure):
    """-log p of the context's answer, in bits."""

    name, unit, dims, needs = "surprise", "bits", ("item",), frozenset({"context_answer"})

    def compute(self, seen):
        return -np.nansum(seen.context_answer.logprob, -1) / np.log(2)


trace = attnshift.trace(series, measures=["margin", Surprise()], limit=80, out=out)
trace["surprise"]

# %% [markdown]
# It is a variable like any other: by step and item, with its unit, kept with the trace, computed only where missing.

# %%
for step, bits in zip(trace.step.values, trace["surprise"].mean("item").values, strict=True):
    print(f"step {step:4}: {bits:6.2f} bits")

# %% [markdown]
# Asked again with one measure more, the trace is extended: what is there is kept. The two agree, since both come
# from the same observation.

# %%
trace = attnshift.trace(series, measures=["logprob_context_answer", Surprise()], limit=80, out=out)
bits = -trace["logprob_context_answer"] / np.log(2)
print(f"largest difference: {float(abs(bits - trace['surprise']).max()):.0e} bits")
