# ---
# jupyter:
#   jupytext:
#     formats: py:percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # A first look at a run
#
# `make demo` has written `demo/run` and `demo/trace`; any run of yours will do as well.

# %%
import os
from pathlib import Path

import attnshift

demo = Path(os.environ.get("ATTNSHIFT_DEMO", "../demo"))
series = attnshift.open_series(demo / "run")
series

# %% [markdown]
# A trace is an `xarray.Dataset`. What is missing is computed; what is there is kept.

# %%
trace = attnshift.trace(series, out=demo / "trace")
trace

# %%
attnshift.plot(trace, "inversion", log_steps=True)

# %% [markdown]
# What happened, in words.

# %%
print("\n".join(attnshift.verdict(trace).sentences()))

# %% [markdown]
# One checkpoint as a plain transformers model, and the attention of its last token on the first half of a prompt.

# %%
import torch

model = series[series.steps[-1]].model()
prompt = f"{trace.item_context.values[0]} {trace.item_question.values[0]}"
ids = torch.tensor([series.tokenizer(prompt)["input_ids"]])
first_half = (torch.arange(ids.shape[1]) < ids.shape[1] // 2)[None, None]
mass = attnshift.attention_mass(model, ids, first_half)
mass[0, :, :, 0, 0]
