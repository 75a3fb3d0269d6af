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
# # Quickstart, on the organism
#
# `make demo` leaves `demo/run` and `demo/trace`; where they are missing they are built here, in two minutes or so.
# Nothing is downloaded. Any run directory of yours will do as well.

# %%
import os
from pathlib import Path

import attnshift

demo = Path(os.environ.get("ATTNSHIFT_DEMO", "../demo"))
if not demo.exists():
    attnshift.demo(demo)
series = attnshift.open_series(demo / "run")
series

# %% [markdown]
# A trace is an `xarray.Dataset`. What is missing is computed; what is there is kept.

# %%
trace = attnshift.trace(series, out=demo / "trace")
trace[["margin", "counterfactual_accuracy", "attention_mass", "gradient_norm"]]

# %% [markdown]
# What happened, in words, and as a figure.

# %%
print("\n".join(attnshift.verdict(trace).sentences()))

# %%
attnshift.plot(trace, "inversion", log_steps=True)

# %% [markdown]
# Every item at every checkpoint: whose answer it gets.

# %%
attnshift.plot(trace, "labels")

# %% [markdown]
# One checkpoint as a plain transformers model, and the attention of its last token on the first half of a prompt, by
# layer and head.

# %%
import torch

model = series[series.steps[-1]].model()
prompt = f"{trace.item_context.values[0]} {trace.item_question.values[0]}"
ids = torch.tensor([series.tokenizer(prompt)["input_ids"]])
first_half = (torch.arange(ids.shape[1]) < ids.shape[1] // 2)[None, None]
mass = attnshift.attention_mass(model, ids, first_half)
mass[0, :, :, 0, 0]
