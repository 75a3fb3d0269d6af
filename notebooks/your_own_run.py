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
# # Your own run
#
# A finetuning from start to end: train, look into the run directory, see what a trace would do, trace, draw. The base
# is the small model that `make demo` has pretrained, and training takes seconds; put your own
# model and data in its place.

# %%
import os
import tempfile
from pathlib import Path

import attnshift

demo = Path(os.environ.get("ATTNSHIFT_DEMO", "../demo")) / "run"
items = attnshift.load_items(demo / "conflicts.jsonl")
examples = attnshift.load_examples(demo / "train.jsonl")[::10]
print(f"{len(items)} conflict items, {len(examples)} examples; the first: {examples[0].context} {examples[0].question}")

# %% [markdown]
# `attnshift finetune` on the command line. A run that the HF Trainer, TRL, axolotl or LLaMA-Factory left needs none of
# this: name its directory.

# %%
run = attnshift.finetune(
    demo / "base",
    examples,
    Path(tempfile.mkdtemp()) / "run",
    items=items[:80],
    template=str(demo / "prompt.jinja"),
    target_eos=False,
    max_new_tokens=1,
    steps=96,
    batch_size=64,
    saves=6,
    learning_rate=1.5e-3,
)
series = attnshift.open_series(run)
series

# %% [markdown]
# What is wrong with the data, before a model sees them: how many items have a defect, what it does to the numbers,
# what to do. `attnshift doctor RUN` looks at the machine, the checkpoints and the tokenizer as well.

# %%
attnshift.lint(items, tokenizer=series.tokenizer, template=str(demo / "prompt.jinja"))

# %% [markdown]
# What a trace would compute, as `attnshift trace --dry-run` says it: prompts with their roles, memory, time, disk. No
# weight is loaded.

# %%
from attnshift.console.trace import preview_text
from attnshift.tracing.job import prepare
from attnshift.tracing.preview import preview

measures = ["attention_mass", "margin", "counterfactual_accuracy", "parametric_accuracy", "loss", "gradient_norm"]
facts = preview(prepare(series, measures=measures, limit=80))
print(preview_text(facts | {"run": "run", "out": "run/trace"}))

# %%
trace = attnshift.trace(series, measures=measures, limit=80)
print("\n".join(attnshift.verdict(trace).sentences()))

# %%
attnshift.plot(trace, "inversion", log_steps=True)

# %%
attnshift.plot(trace, "gradients", log_steps=True)
